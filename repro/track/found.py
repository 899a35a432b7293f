"""What MLflow holds of ours: parents, the runs of a key, the records that they show. No run is written here."""

from collections.abc import Collection, Iterator
from typing import Any

from repro.record import RunRecord
from repro.track.connection import Connection, TrackingError
from repro.track.projection import RunInfo, digest


class Found(Connection):
    """A connection that finds parents, runs and records."""

    def parent(self, experiment_id: str, experiment: str) -> Any | None:
        """Return the parent run of an experiment (an arm of a report), or None."""
        return next(self.parents(experiment_id, experiment), None)

    def parents(self, experiment_id: str, experiment: str) -> Iterator[Any]:
        """Yield an experiment's parent runs: one, or two where a process died while it replaced one by the other."""
        for run in self.search([experiment_id], kind="experiment"):
            if run.data.tags.get("repro.experiment") == experiment:
                yield run

    def matching(self, info: RunInfo) -> list[Any]:
        """Return the runs of a key and a class of environment, oldest first; makes their experiment if need be."""
        exp_id = self.experiment_id(info.report, info.profile, info.notes)
        found = self.search([exp_id], kind="run", run_key=info.run_key)
        return [run for run in found if run.data.tags.get("repro.env_class") == info.env_class]

    def find(self, record: RunRecord) -> str | None:
        """Return the id of the run that shows a record whole, or None."""
        info, stamp = RunInfo.of(record), digest(record.to_bytes())
        with self.door(f"finding {info.name}"):
            found = (run for run in self.matching(info) if run.data.tags.get("repro.record") == stamp)
            return next((run.info.run_id for run in found), None)

    def summarised(self, report: str, profile: str) -> set[str]:
        """Return the experiments of a report that have a parent run here; makes nothing."""
        with self.door(f"listing experiments of {report}"):
            found = self.client.get_experiment_by_name(self.experiment_name(report, profile))
            if found is None or found.lifecycle_stage == "deleted":
                return set()
            runs = self.search([found.experiment_id], kind="experiment")
            return {run.data.tags["repro.experiment"] for run in runs if "repro.experiment" in run.data.tags}

    def shown(self) -> set[str]:
        """Return the digests of the records whose runs are whole here."""
        ids = [experiment.experiment_id for experiment in self.experiments()]
        with self.door("listing runs"):
            runs = [run for run in self.search(ids, kind="run") if run.info.status != "RUNNING"]
        return {run.data.tags["repro.record"] for run in runs if "repro.record" in run.data.tags}

    def records(
        self, reports: Collection[str] | None = None, known: Collection[str] = ()
    ) -> Iterator[tuple[str, bytes]]:
        """Yield (`runs:/<id>/record.json`, bytes) of every run that has one, of some reports' or of all.

        Passed over are those whose digest is `known`.
        """
        ids = [experiment.experiment_id for experiment in self.experiments()]
        with self.door("reading records"):
            for run in self.search(ids, kind="run"):
                tags = run.data.tags
                if reports is not None and tags.get("repro.report") not in reports:
                    continue
                if "repro.record" in tags and tags["repro.record"] not in known:
                    name = f"runs:/{run.info.run_id}/record.json"
                    if (data := self.download(run.info.run_id, "record.json")) is None:
                        raise TrackingError(f"MLflow at {self.store.shown}: {name} is gone; project the record again")
                    if digest(data) != run.data.tags["repro.record"]:
                        raise TrackingError(
                            f"MLflow at {self.store.shown}: {name} is not the record that was put there"
                        )
                    yield name, data
