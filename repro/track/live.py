"""Live: one MLflow run while it is written, epoch by epoch."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from repro.record import Entry, RunRecord
from repro.record.failpoints import reach
from repro.track import projection
from repro.track.connection import Logged
from repro.track.projection import RunInfo

if TYPE_CHECKING:
    from repro.track.tracker import Tracker


class Live:
    """One MLflow run while it is written. `held`: by who holds the run in the state folder."""

    def __init__(self, tracker: "Tracker", info: RunInfo, run_id: str, logged: Logged, held: bool):
        self.tracker, self.info, self.run_id, self.held = tracker, info, run_id, held
        self._logged = dict(logged)
        self._entries: dict[int, Entry] = {}
        self._diverged = False

    def agrees(self, record: RunRecord) -> bool:
        """Whether the epochs MLflow holds already are those of a record (times aside)."""
        return all(
            epoch <= len(record.curves[key]) and np.float32(value) == np.float32(record.curves[key][epoch - 1])
            for epoch, values in self._logged.items()
            for key, (_, value) in values.items()
            if key in record.curves and not key.startswith(projection.MACHINE)
        )

    def replace(self) -> None:
        """Begin a fresh MLflow run in place of this one, which goes to MLflow's trash."""
        with self.tracker.door(f"replacing {self.info.name}"), self.tracker.lock:
            old, self.run_id = self.run_id, self.tracker.create(self.info, self.held, replaces=self.run_id)
            reach("mlflow.replace")
            self.tracker.client.delete_run(old)
        self._logged = {}

    def log(self, entries: Iterable[Entry]) -> None:
        """Log epochs, one batch each; an epoch logged before is left alone. Raises TrackingError."""
        with self.tracker.door(f"logging {self.info.name}"):
            for entry in entries:
                self._log(entry)

    def _log(self, entry: Entry) -> None:
        known = self._logged.get(entry.epoch)
        if known is not None and any(time != entry.time for time, _ in known.values()):
            self.replace()
            for earlier in [self._entries[epoch] for epoch in sorted(self._entries) if epoch < entry.epoch]:
                self._log(earlier)
            known = None
        self._entries[entry.epoch] = entry
        if known is not None:
            return
        points, missing = projection.points(entry, self.info.recipe["budget"]["epochs"])
        tags = {} if self._diverged or not missing else {"repro.diverged": "true"}
        self.tracker.write(self.run_id, points, tags)
        self._diverged |= bool(missing)
        self._logged[entry.epoch] = {p.key: (p.time, p.value) for p in points if p.key != "step/loss"}

    def finish(self, record: RunRecord, extras: Mapping[str, Path] | None = None) -> None:
        """Log what is missing of the record's epochs, the final metrics and the artifacts; end the run.

        FINISHED, or KILLED for a record whose training was stopped before the end of its budget.
        """
        with self.tracker.door(f"finishing {self.info.name}"):
            missing = [entry for entry in projection.entries_of(record) if entry.epoch not in self._logged]
            if self._logged:
                # The record's step windows may be coarser than the journal's: the two do not share an axis.
                missing = [replace(entry, steps={}) for entry in missing]
            self.log(missing)
            files = projection.files(self.info, record, self.tracker.draw)
            self.tracker.upload(self.run_id, files, extras)
            lost = any(not isfinite(v) for values in record.finals.values() for v in values.values() if v is not None)
            tags = {"repro.state": record.state, "repro.record": projection.digest(files["record.json"])}
            tags |= {"mlflow.loggedArtifacts": projection.TABLE} if "per_class.json" in files else {}
            tags |= {"repro.diverged": "true"} if lost or record.state == "diverged" else {}
            # Last of all the tag that says "whole": a finish cut short is done again.
            self.tracker.write(self.run_id, projection.finals(record), tags)
            reach("mlflow.finish")
            status = "KILLED" if record.state == "stopped" else "FINISHED"
            self.tracker.client.set_terminated(self.run_id, status, projection.end_of(record))

    def end(self, status: str) -> None:
        """End the run without a record: KILLED or FAILED; its parent too where nothing else is shown there."""
        if status not in ("KILLED", "FAILED"):
            raise ValueError(f"status {status!r}: expected KILLED or FAILED")
        with self.tracker.door(f"ending {self.info.name}"):
            self.tracker.client.set_tag(self.run_id, "repro.state", status.lower())
            self.tracker.client.set_terminated(self.run_id, status)
            self.tracker.rest(self.info, status)
