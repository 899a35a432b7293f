"""Tracker: runs found or made by their key, whole records shown, experiments summarised over their seeds."""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from repro.errors import UserError
from repro.record import Journal, RunRecord, check_sound
from repro.record.failpoints import reach
from repro.record.share import share
from repro.track import owner, projection, summary
from repro.track.found import Found
from repro.track.judged import Judged
from repro.track.live import Live
from repro.track.notes import line
from repro.track.projection import RunInfo, digest

_ABOVE = "mlflow.parentRunId"


class Tracker(Found):
    """Shows runs in MLflow: `<prefix>/<report>`, a parent run an experiment, a child run a seed.

    `draw`: what draws a run's figures, most of the time that showing a record takes.
    """

    draw: projection.Draw = staticmethod(projection.pictures)

    @cached_property
    def folder(self) -> str:
        """What runs are marked with as those of this state folder, on whichever host and at whichever path."""
        return digest(share(self.home).encode())

    def create_parent(self, exp_id: str, report: str, experiment: str, start: int, notes: Mapping[str, Any]) -> str:
        """Create an experiment's parent run; returns its id. Needs the lock."""
        tags = summary.parent_tags(report, experiment, notes) | owner.tags()
        return self.client.create_run(exp_id, start, tags, experiment).info.run_id

    def create(self, info: RunInfo, held: bool, replaces: str = "") -> str:
        """Create a run under its experiment's parent; returns its id. Needs the lock.

        `held`: as in `project`. `replaces`: the run in whose place it comes, noted so that the other is found where
        this process dies.
        """
        exp_id = self.experiment_id(info.report, info.profile, info.notes)
        tags = self._marks(info, held) | ({"repro.replaces": replaces} if replaces else {})
        reach("mlflow.parent")
        run_id = self.client.create_run(exp_id, projection.milliseconds(info.started), tags, info.name).info.run_id
        reach("mlflow.run")
        self._describe(run_id, info)
        return run_id

    def _marks(self, info: RunInfo, held: bool) -> dict[str, str]:
        """Return the tags of a run that is being written, below its experiment's parent, made or woken for it."""
        exp_id, name = self.experiment_id(info.report, info.profile, info.notes), info.experiments[0]
        if (parent := self.parent(exp_id, name)) is None:
            above = self.create_parent(exp_id, info.report, name, projection.milliseconds(info.started), info.notes)
        else:
            above = parent.info.run_id
            if parent.info.status != "RUNNING" and "repro.summary" not in parent.data.tags:
                self.client.update_run(above, status="RUNNING")
        # Only who holds the run in the state folder writes it for that: the next one to hold it goes on with it.
        folder = self.folder if held else ""
        return projection.tags(info) | owner.tags() | {owner.FOLDER: folder, _ABOVE: above}

    def _describe(self, run_id: str, info: RunInfo) -> None:
        """Log params and datasets; doing it again changes nothing."""
        entities = self.mlflow.entities
        self.write(run_id, [], params=projection.params(info))
        self.client.log_inputs(run_id, [
            entities.DatasetInput(
                entities.Dataset(name, digest, "local", json.dumps({"uri": name})),
                [entities.InputTag("mlflow.data.context", context)],
            )
            for name, digest, context in projection.datasets(info)
        ])  # fmt: skip

    def start(self, info: RunInfo) -> Live:
        """Go on with the unfinished MLflow run of this key and env_class, or begin one (also beside a finished one).

        The caller holds the run in this state folder (its lock). What another host, or a living process, has RUNNING
        for another state folder is left to it.
        """
        with self.door(f"starting {info.name}"), self.lock:
            return self._begin(info, self.matching(info), held=True)

    def _begin(self, info: RunInfo, matching: Sequence[Any], held: bool) -> Live:
        replaced = {run.data.tags.get("repro.replaces") for run in matching}
        for run in [run for run in matching if run.info.run_id in replaced]:
            self.client.delete_run(run.info.run_id)
        matching = [run for run in matching if run.info.run_id not in replaced]
        for run in reversed(matching):
            taken = run.info.status == "RUNNING" and owner.taken(run.data.tags, self.folder if held else "")
            if run.info.status != "FINISHED" and "repro.record" not in run.data.tags and not taken:
                return self._go_on(info, run, held)
        return Live(self, info, self.create(info, held), {}, held)

    def _go_on(self, info: RunInfo, run: Any, held: bool) -> Live:
        run_id = run.info.run_id
        self.client.update_run(run_id, status="RUNNING")
        # All of them again: the process that made the run may have died between its calls.
        self.write(run_id, [], self._marks(info, held))
        self._describe(run_id, info)
        return Live(self, info, run_id, self.logged(run_id, run.data.metrics), held)

    def project(
        self,
        record: RunRecord,
        extras: Mapping[str, Path] | None = None,
        notes: Mapping[str, Any] | None = None,
        live: Live | None = None,
        held: bool = False,
    ) -> str:
        """Show a record in MLflow and return the run's id; a run that already shows these bytes is left alone.

        Times come from the journal among the extras, else from the record itself. `live`: the run
        where this process has logged its epochs, which then is not looked for. `held`: the caller holds the run in
        this state folder, as in `start`; else a run of this key that is in training is left to its process.
        """
        check_sound(record, f"record {record.run_key}")
        info, data = RunInfo.of(record, notes), record.to_bytes()
        if live is None:
            with self.door(f"projecting {info.name}"), self.lock:
                matching = self.matching(info)
                same = next((r for r in matching if r.data.tags.get("repro.record") == digest(data)), None)
                if same and same.info.status != "RUNNING" and self.download(same.info.run_id, "record.json") == data:
                    return same.info.run_id
                live = self._go_on(info, same, held) if same else self._begin(info, matching, held)
        entries = Journal(extras["journal.jsonl"]).read() if extras and "journal.jsonl" in extras else []
        if not live.agrees(record):
            live.replace()
        live.log(entries if len(entries) == record.epochs_done else ())
        live.finish(record, extras)
        return live.run_id

    def summarise(
        self,
        report: str,
        experiment: str,
        profile: str,
        records: Sequence[RunRecord],
        notes: Mapping[str, Any] | None = None,
        judged: Judged | None = None,
    ) -> str:
        """Write an experiment's mean curves, `summary/*` and verdicts on its parent run; returns the parent's id.

        `notes` as RunInfo's, and optionally the `protocol` (last) and `metric` (acc_pct) to summarise. `judged`: what
        is said of its claims, None where nothing is. A parent that shows just this is left alone.
        """
        if not records:
            raise UserError(f"{report}/{experiment}: nothing to summarise; no record was given")
        notes, records = dict(notes or {}), sorted(records, key=lambda r: (r.seed, r.fold or 0, r.run_key))
        known = json.dumps([summary.VERSION, notes, judged.stamp if judged else None], sort_keys=True).encode()
        stamp = digest(b"".join([*(r.to_bytes() for r in records), known]))
        with self.door(f"summarising {experiment}"), self.lock:
            exp_id = self.experiment_id(report, profile, notes)
            every = list(self.parents(exp_id, experiment))
            parent = next(
                (run for run in every if run.data.tags.get("repro.summary") == stamp), every[0] if every else None
            )
            old = parent.data.tags.get("repro.summary") if parent else None
            if parent and old == stamp and parent.info.status == "FINISHED" and len(every) == 1:
                return parent.info.run_id
            made = summary.over_seeds(experiment, records, notes, judged)
            if parent and old in (None, stamp):
                run_id = parent.info.run_id
            else:
                # Other runs or verdicts: rows cannot be taken back, so the parent is replaced and its children moved.
                run_id = self.create_parent(exp_id, report, experiment, made.start, notes)
            self._adopt(exp_id, experiment, run_id)
            for other in every:
                if other.info.run_id != run_id:
                    reach("mlflow.replace_parent")
                    self.client.delete_run(other.info.run_id)
            # First the stamp: a summary cut short is gone on with by the same records and replaced for others.
            self.client.set_tag(run_id, "repro.summary", stamp)
            reach("mlflow.summary")
            self.write(run_id, made.points, made.tags, made.params)
            self.upload(run_id, made.files)
            self.client.set_terminated(run_id, "FINISHED", made.end)
            return run_id

    def _adopt(self, exp_id: str, experiment: str, parent: str) -> None:
        """Put every run of an experiment below a parent, also those whose own one somebody has deleted."""
        for child in self.search([exp_id], kind="run", experiment=experiment):
            if child.data.tags.get(_ABOVE) != parent:
                self.client.set_tag(child.info.run_id, _ABOVE, parent)

    def clear(self, report: str, experiment: str, profile: str, notes: Mapping[str, Any]) -> None:
        """Take an experiment's summary away, of which no run is left: rows cannot be taken back, so its parent goes.

        `notes` as RunInfo's. A parent without a summary is ended where no run of it is in training.
        """
        with self.door(f"clearing {experiment}"), self.lock:
            found = self.client.get_experiment_by_name(self.experiment_name(report, profile))
            if found is None or found.lifecycle_stage == "deleted":
                return
            for old in list(self.parents(found.experiment_id, experiment)):
                if "repro.summary" in old.data.tags:
                    new = self.create_parent(found.experiment_id, report, experiment, old.info.start_time, notes)
                    self._adopt(found.experiment_id, experiment, new)
                    self.client.delete_run(old.info.run_id)
                    self.client.set_terminated(new, "FINISHED", old.info.end_time)
                else:
                    self._rest(old, "FINISHED", old.info.start_time)

    def rest(self, info: RunInfo, status: str) -> None:
        """End the parent of a run that has ended without a record, unless it has a summary or a run in training."""
        with self.lock:
            parent = self.parent(self.experiment_id(info.report, info.profile, info.notes), info.experiments[0])
            if parent is not None:
                self._rest(parent, status)

    def _rest(self, parent: Any, status: str, end: int | None = None) -> None:
        if parent.info.status == "RUNNING" and "repro.summary" not in parent.data.tags:
            below = self.search(
                [parent.info.experiment_id], kind="run", experiment=parent.data.tags["repro.experiment"]
            )
            if all(run.info.status != "RUNNING" for run in below):
                self.client.set_terminated(parent.info.run_id, status, end)

    def withdraw(self, why: Mapping[str, str]) -> None:
        """Say in tag `repro.withdrawn` of the runs that show these records (digest -> why) that they are withdrawn.

        Of a record without a reason the tag goes; runs of records that are not named stay as they are.
        """
        ids = [experiment.experiment_id for experiment in self.experiments()]
        with self.door("marking withdrawn runs"):
            for run in self.search(ids, kind="run"):
                held, stamp = run.data.tags.get("repro.withdrawn", ""), run.data.tags.get("repro.record", "")
                text = line(why.get(stamp, held))
                if text and text != held:
                    self.client.set_tag(run.info.run_id, "repro.withdrawn", text)
                elif held and not text:
                    self.client.delete_tag(run.info.run_id, "repro.withdrawn")

    def label(self, report: str, text: str) -> None:
        """Say of a report, in tag `repro.label` of its MLflow experiment, what its headline claims come to."""
        with self.door(f"labelling {report}"):
            found = self.client.get_experiment_by_name(self.experiment_name(report, "full"))
            if found is not None and found.lifecycle_stage != "deleted" and found.tags.get("repro.label") != line(text):
                self.client.set_experiment_tag(found.experiment_id, "repro.label", line(text))
