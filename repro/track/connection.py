"""The door to MLflow: experiments, runs, rows and artifacts by their ids."""

import logging
import os
import re
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock

from repro.errors import UserError, redacted
from repro.record.failpoints import reach
from repro.track import projection, store, views
from repro.track.notes import line, report_note
from repro.track.projection import Point

#: seconds in which a server has to answer: beside a training, and where a run's end would be lost to a slow one
PROBE_S, ANSWER_S = 1.0, 10.0
SILENT_S = 60.0  # after it let that long a wait pass, it is asked for a moment only
CHUNK = 500  # a REST request may hold 1,000 metrics and 1 MB
_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # the default blocks a call for four minutes when the server is gone
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}

_NOTE, _OURS = "mlflow.note.content", "repro.note"  # the second one: digest of the note that we wrote
_LOG = logging.getLogger(__name__)

Logged = dict[int, dict[str, tuple[int, float]]]  # epoch -> metric -> (time, value)


class TrackingError(UserError):
    """MLflow did not take or give something; what was trained is unharmed and can be projected again."""


def import_mlflow() -> Any:
    """Import mlflow with our environment defaults; raises UserError where it is missing."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    os.environ["MLFLOW_ENABLE_ASYNC_LOGGING"] = "false"  # else what a store refuses looks as if it were written
    try:
        import mlflow
        import mlflow.entities
    except ImportError as error:
        raise UserError(
            f"mlflow cannot be imported ({error}); pip install 'mlflow>=3.17,<4', or use --offline"
        ) from error
    return mlflow


def migrate(path: Path) -> None:
    """Make a whole, empty MLflow store at a path that nobody else knows yet."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    for chatty in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    made = SqlAlchemyStore(f"sqlite:///{path}", (path.parent / "artifacts").as_uri())
    made.engine.dispose()


class Connection:
    """A connection to MLflow, tried when it is made; raises UserError where there is no usable store.

    `place`: another store than the one that the state folder or the environment names.
    """

    def __init__(self, home: Path, prefix: str = "cifar10", place: store.Store | None = None):
        self.home, self.prefix, self.store = Path(home).absolute(), prefix, place or store.locate(Path(home))
        self.mlflow = import_mlflow()
        self._experiments: dict[str, str] = {}
        self._silent_until = 0.0
        with self.door("opening the store"):
            store.ensure(self.store, migrate)
            # It would print the trace of what fails in the database, which `door` says in a sentence.
            logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
            self.lock = FileLock(self.store.lock)
            self.client = self.mlflow.MlflowClient(self.store.uri, registry_uri=self.store.uri)
            self.client.search_experiments(max_results=1)

    def answers(self, within_s: float = PROBE_S) -> bool:
        """Whether a tracking server answers in so many seconds; a database is taken to be there.

        One that was waited for in vain is not waited for again in the next minute, by each of many runs.
        """
        if not self.store.uri.startswith(("http://", "https://")):
            return True
        import requests

        within_s = within_s if time.monotonic() >= self._silent_until else min(within_s, PROBE_S)
        try:
            return requests.get(f"{self.store.uri.rstrip('/')}/health", timeout=within_s).status_code < 500
        except requests.exceptions.SSLError:  # somebody is there, and MLflow's own client knows how to talk to it
            return True
        except requests.exceptions.RequestException:
            if within_s > PROBE_S:
                self._silent_until = time.monotonic() + SILENT_S
            return False

    @contextmanager
    def door(self, doing: str) -> Iterator[None]:
        """Turn what MLflow, its database, its network or its artifact store raises into one TrackingError."""
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            # Every library below has a family of its own; a plain TypeError or KeyError is a mistake of ours.
            if type(error).__module__ == "builtins" and not isinstance(error, OSError | ImportError):
                raise
            said = line(redacted(_reason(str(error)), self.store.uri), 300)
            mend = "see that it is up and writable; `repro run --offline` does without it"
            if "out-of-date" in said:
                mend = "back it up and run `mlflow db upgrade` on it"
            if isinstance(error, ImportError):
                mend = "install that package; `repro run --offline` does without it"
            raise TrackingError(f"MLflow at {self.store.shown}: {doing} failed ({said}); {mend}") from error

    def experiment_name(self, report: str, profile: str) -> str:
        """Return `<prefix>/<report>`, with `/<profile>` for runs that do not count."""
        return f"{self.prefix}/{report}" + ("" if profile == "full" else f"/{profile}")

    def experiment_id(self, report: str, profile: str, notes: Mapping[str, Any] | None = None) -> str:
        """Find or create a report's MLflow experiment; raises UserError where one of that name was deleted."""
        name = self.experiment_name(report, profile)
        if name not in self._experiments:
            found = self.client.get_experiment_by_name(name) or self._create_experiment(name)
            if found.lifecycle_stage == "deleted":
                raise UserError(
                    f"MLflow at {self.store.shown}: experiment {name} was deleted, and its name stays taken; bring it "
                    f"back with `mlflow experiments restore --experiment-id {found.experiment_id}` or remove it for "
                    "good with `mlflow gc`"
                )
            self._experiments[name] = found.experiment_id
            self.open_well(found, report_note(report, profile, notes or {}), better="headline" in (notes or {}))
        return self._experiments[name]

    def _create_experiment(self, name: str) -> Any:
        tags = {"mlflow.experimentKind": "custom_model_development", "repro.kind": "report"}
        place = None
        if self.store.artifacts is not None:
            place = (self.store.artifacts / re.sub(r"[^A-Za-z0-9_-]", "_", name)).as_uri()
        try:
            self.client.create_experiment(name, artifact_location=place, tags=tags)
        except self.mlflow.MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # else another machine was faster, and its one is ours
                raise
        return self.client.get_experiment_by_name(name)

    def open_well(self, experiment: Any, note: str = "", better: bool = False) -> None:
        """Give an experiment its saved views, and a note where it has none or (`better`) an earlier one of ours.

        What somebody changed in MLflow's pages stays; a failure is logged and costs no run.
        """
        try:
            tags = views.missing(experiment.tags, experiment.creation_time) if self.views_work else {}
            held = experiment.tags.get(_NOTE, "")
            ours = better and projection.digest(held.encode()) == experiment.tags.get(_OURS)
            if note not in ("", held) and (ours or not held):
                tags |= {_NOTE: note, _OURS: projection.digest(note.encode())}
            for key, value in tags.items():
                self.client.set_experiment_tag(experiment.experiment_id, key, value)
        except Exception as error:  # decoration, in a format of MLflow's own
            _LOG.debug("experiment %s: no note or views (%s)", experiment.name, redacted(str(error)))

    @cached_property
    def views_work(self) -> bool:
        """Whether the pages that show this store are of a version whose saved views we know."""
        version = self.mlflow.__version__
        if self.store.uri.startswith(("http://", "https://")):  # the server's pages, not ours
            from mlflow.utils.credentials import get_default_host_creds
            from mlflow.utils.rest_utils import http_request

            version = http_request(get_default_host_creds(self.store.uri), "/version", "GET").text.strip()
        if not (known := views.supported(version)):
            _LOG.debug("MLflow %s: saved views are written for %s only", version, views.SEEN.pattern)
        return known

    def experiments(self) -> list[Any]:
        """Return our MLflow experiments, by name."""
        found, token = [], None
        with self.door("listing experiments"):
            while True:
                page = self.client.search_experiments(page_token=token, order_by=["name ASC"])
                found += [e for e in page if e.name.startswith(self.prefix + "/")]
                if not (token := page.token):
                    return found

    def search(self, experiment_ids: Sequence[str], **tags: str) -> Iterator[Any]:
        """Yield every run with the given `repro.*` tags, page by page, oldest first."""
        if any("'" in value for value in tags.values()):
            raise UserError(f"{tags}: a quote does not belong in a name")
        query, token = " and ".join(f"tags.`repro.{key}` = '{value}'" for key, value in tags.items()), None
        while experiment_ids:
            page = self.client.search_runs(
                list(experiment_ids), query, page_token=token, order_by=["attributes.start_time ASC"]
            )
            yield from page
            if not (token := page.token):
                return

    def logged(self, run_id: str, keys: Iterable[str]) -> Logged:
        """Return what a run holds of each epoch."""
        found: Logged = {}
        for key in keys:
            if not key.startswith(("step/", "final/")):
                for row in self.client.get_metric_history(run_id, key):
                    found.setdefault(row.step, {})[key] = (row.timestamp, row.value)
        return found

    def write(
        self,
        run_id: str,
        points: Sequence[Point],
        tags: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> None:
        """Log points, then params and tags, in chunks a server accepts."""
        entities = self.mlflow.entities
        rows = [entities.Metric(p.key, p.value, p.time, p.step) for p in points]
        for i in range(0, len(rows), CHUNK):
            reach("mlflow.write")
            self.client.log_batch(run_id, metrics=rows[i : i + CHUNK])
        if params:
            self.client.log_batch(run_id, params=[entities.Param(key, value) for key, value in params.items()])
        if tags:
            self.client.log_batch(run_id, tags=[entities.RunTag(key, value) for key, value in tags.items()])

    def upload(self, run_id: str, files: Mapping[str, bytes], extras: Mapping[str, Path] | None = None) -> None:
        """Put files into a run's artifacts; a file of that name is replaced."""
        for name in extras or {}:
            if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", name) or name in files:
                raise UserError(f"{name!r}: not a name for an extra artifact; give a plain, unused file name")
        with tempfile.TemporaryDirectory(prefix="repro-") as folder:
            for name, data in files.items():
                path = Path(folder, name)
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(data)
            reach("mlflow.upload")
            self.client.log_artifacts(run_id, folder)
            for name, source in (extras or {}).items():
                # By its own name in a folder of its own, for log_artifact takes the source's name.
                Path(folder, ".extra").mkdir(exist_ok=True)
                link = Path(folder, ".extra", name)
                link.symlink_to(source.absolute())
                self.client.log_artifact(run_id, str(link))

    def download(self, run_id: str, path: str) -> bytes | None:
        """Return an artifact's bytes, or None where the run has none of that name (top level only)."""
        if path not in {file.path for file in self.client.list_artifacts(run_id)}:
            return None
        with tempfile.TemporaryDirectory(prefix="repro-") as folder:
            return Path(self.client.download_artifacts(run_id, path, folder)).read_bytes()


def _reason(text: str) -> str:
    """Return what is behind an unreachable server in a few words: urllib3 wraps it in its own addresses and objects."""
    if "Max retries exceeded" not in text and "Connection aborted" not in text:
        return text
    cause = re.search(
        r"(?:\[Errno -?\d+\]|\(\d+, ?) ?['\"]?([A-Z][A-Za-z ]+)|(timed out|too many \d+ error responses)", text
    )
    return f"no answer: {cause[1] or cause[2]}" if cause else text
