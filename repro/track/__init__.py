"""MLflow as a replayable projection of journals and records; the only place that imports mlflow.

Every row has the journal's or the record's time, so that writing it twice keeps one row. Where MLflow holds
something else for an epoch (a resumed run trained it again), the MLflow run is replaced, since rows cannot
be. The truth is the journal and the record: everything here can be done again from them.
"""

from repro.track.connection import TrackingError
from repro.track.judged import Judged
from repro.track.live import Live
from repro.track.projection import RunInfo
from repro.track.tracker import Tracker
from repro.track.ui import check_port, ui, ui_command, ui_env

__all__ = ["Judged", "Live", "RunInfo", "Tracker", "TrackingError", "check_port", "ui", "ui_command", "ui_env"]
