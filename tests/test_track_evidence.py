"""`repro ui` on a fresh clone: the committed evidence is in MLflow, once, and mistakes are one sentence."""

import dataclasses
import os
import socket
from contextlib import closing

import pytest
from click.testing import CliRunner
from filelock import FileLock

from repro.cli import main
from repro.record import write_atomically
from repro.report import evidence
from repro.spec.identity import recipe_hash
from repro.spec.loading import load_all
from repro.spec.withdrawn import Entry, Struck
from repro.suite.moving import import_bundle, show_evidence
from repro.suite.planning import notes_of
from repro.suite.summarising import _current, refresh, summarise
from repro.track import RunInfo, Tracker, owner


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    for name in ("confusion_png", "curves_png"):
        monkeypatch.setattr(f"repro.plots.{name}", lambda *_: b"png")


@pytest.fixture
def reports(tmp_path, make_record):
    """A reports folder: two seeds of a known experiment, one record of a report that has no spec here."""
    folder = tmp_path / "reports"
    for record in (
        make_record(epochs=3, images=200),
        make_record(epochs=3, images=200, seed=1),
        make_record(epochs=3, images=200, seed=7, report="unheard2030", experiments=["first"]),
    ):
        write_atomically(folder / record.report / "evidence" / record.file_name, record.to_bytes())
    return folder


def names(tracker, kind):
    ids = [e.experiment_id for e in tracker.experiments()]
    return sorted(run.info.run_name for run in tracker.search(ids, kind=kind))


def test_the_evidence_is_shown_once(home, reports, monkeypatch):
    assert show_evidence(home, reports) == (3, 3)
    tracker = Tracker(home)
    assert [e.name for e in tracker.experiments()] == ["cifar10/chen2024", "cifar10/unheard2030"]
    assert names(tracker, "run") == ["s0 resnet68", "s1 resnet68", "s7 first"]
    assert names(tracker, "experiment") == ["first", "resnet68"]
    (parent,) = [r for r in tracker.search(["1"], kind="experiment")]
    assert parent.data.metrics["summary/n_seeds"] == 2
    assert parent.data.metrics["summary/published"] == 90.14
    assert len({data for _, data in tracker.records()}) == 3
    assert not (home / "runs").exists()  # shown, but not counted as trained here
    monkeypatch.setattr(Tracker, "project", lambda *_, **__: pytest.fail("shown again"))
    monkeypatch.setattr("repro.track.summary.over_seeds", lambda *_: pytest.fail("summarised again"))
    assert show_evidence(home, reports) == (0, 3)


def test_runs_of_this_machine_and_the_evidence_are_summarised_together(home, reports, make_record):
    mine = make_record(epochs=3, images=200, seed=2)
    theirs = make_record(epochs=3, images=200)
    again = dataclasses.replace(theirs, started="2026-02-02T00:00:00+00:00", command="again")
    for record in (mine, again):
        write_atomically(home / "runs" / record.run_key / "record.json", record.to_bytes())
    (home / "runs" / mine.run_key / "journal.jsonl").write_bytes(b"")
    assert show_evidence(home, reports) == (5, 5)
    tracker = Tracker(home)
    (parent,) = [r for r in tracker.search(["1"], kind="experiment")]
    assert parent.data.metrics["summary/n_seeds"] == 3  # one record a run key: `again` stands beside
    assert names(tracker, "run").count("s0 resnet68") == 2


def test_what_other_machines_have_brought_to_a_server_is_summarised_too(home, tmp_path, make_record, monkeypatch):
    """Two machines, each with a seed of its own: the parent is the same whichever came last, and as `report` has it."""
    mine, theirs, other = (make_record(epochs=3, images=200, seed=seed) for seed in range(3))
    away = make_record(epochs=3, images=200, seed=3, report="unheard2030", experiments=["first"])
    write_atomically(home / "runs" / mine.run_key / "record.json", mine.to_bytes())
    write_atomically(home / "runs" / other.run_key / "record-0123abcd.json", other.to_bytes())  # it came with a bundle
    tracker = Tracker(home)
    for record in (mine, theirs, away):
        tracker.project(record)
    reports, empty, said = load_all(), tmp_path / "none", []

    def seeds():
        assert summarise(reports, home, empty, [mine], tracker, said.append)
        (parent,) = tracker.search(["1"], kind="experiment")
        return parent.data.metrics["summary/n_seeds"]

    assert seeds() == 1  # the file is this machine's alone
    monkeypatch.setattr(tracker, "store", dataclasses.replace(tracker.store, artifacts=None))
    assert seeds() == 2
    tracker.project(other)
    assert seeds() == 3
    assert said == []


def test_an_experiment_whose_runs_are_all_withdrawn_keeps_its_words_and_ends(home, make_record):
    record = make_record(epochs=3, images=200)
    reports, tracker = load_all(), Tracker(home)
    notes = notes_of(reports[record.report], record.experiments[0])
    tracker.project(record, notes=notes)
    tracker.summarise(record.report, record.experiments[0], "full", [record], notes)

    def parent():
        (found,) = tracker.search(["1"], kind="experiment")
        return found

    before = parent()
    struck = [Struck(record, Entry(why="at fault", date="2026-01-01", run_keys=(record.run_key,)))]
    refresh(reports, [], home / "reports", tracker, struck=struck)
    cleared = parent()
    assert "repro.summary" in before.data.tags
    assert "repro.summary" not in cleared.data.tags
    assert cleared.data.metrics == {}
    assert {key: cleared.data.tags[key] for key in ("repro.published", "repro.protocol", "mlflow.note.content")} == {
        key: before.data.tags[key] for key in ("repro.published", "repro.protocol", "mlflow.note.content")
    }


def test_a_parent_that_was_never_summarised_is_ended_with_its_last_run_withdrawn(home, make_record):
    record = make_record(epochs=3, images=200)
    tracker = Tracker(home)
    tracker.project(record)
    (begun,) = tracker.search(["1"], kind="experiment")
    assert begun.info.status == "RUNNING"
    struck = [Struck(record, Entry(why="at fault", date="2026-01-01", run_keys=(record.run_key,)))]
    refresh({}, [], home / "reports", tracker, struck=struck)
    (ended,) = tracker.search(["1"], kind="experiment")
    assert (ended.info.run_id, ended.info.status) == (begun.info.run_id, "FINISHED")


def test_a_bundle_is_shown_with_its_files(home, tmp_path, make_record):
    from repro import bundle

    record, extra = make_record(epochs=3, images=200), tmp_path / "probabilities.npz"
    extra.write_bytes(b"probabilities")
    bundle.export([(record, {"probabilities.npz": extra})], tmp_path / "bundle")
    assert import_bundle(home, tmp_path / "bundle", tmp_path / "reports") == (1, 0)
    assert import_bundle(home, tmp_path / "bundle", tmp_path / "reports") == (0, 1)
    assert [p.read_bytes() for p in home.glob("artifacts/**/probabilities.npz")] == [b"probabilities"]
    assert names(Tracker(home), "experiment") == ["resnet68"]


@pytest.fixture
def run_ui(home, reports, monkeypatch):
    """Call `repro ui`; a server it would become is noted instead."""
    monkeypatch.setenv("REPRO_HOME", str(home))
    became = []
    monkeypatch.setattr(os, "execvpe", lambda *args: became.append(args))

    def call(*arguments):
        result = CliRunner().invoke(main, ["ui", "--reports", str(reports), *arguments])
        return result, became

    return call


def free_port():
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_ui_shows_then_serves(run_ui):
    port = free_port()
    result, became = run_ui("--port", str(port))
    assert result.exit_code == 0, result.output
    assert "3 finished runs, 3 of them new in MLflow" in result.output
    assert f"Published beside ours: http://127.0.0.1:{port}/#/experiments/1/runs" in result.output
    ((program, command, environment),) = became
    assert command[command.index("--port") + 1] == str(port)
    assert command[command.index("--workers") + 1] == "1"
    assert command[0] == program
    assert environment["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"


def refused(result, became):
    assert result.exit_code == 2
    assert became == []
    (sentence,) = result.stderr.splitlines()
    return sentence


def test_a_port_in_use_is_one_sentence(run_ui, home):
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        sentence = refused(*run_ui("--port", str(port)))
    assert f"--port {port}: cannot be opened on 127.0.0.1" in sentence
    assert Tracker(home).experiments() == []


def test_a_server_in_the_environment_is_refused_as_before(run_ui, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    assert "is a server already" in refused(*run_ui())


def test_a_broken_evidence_file_is_named(run_ui, reports):
    (reports / "chen2024" / "evidence" / "broken.json").write_text('{"schema": 1, ')
    assert "broken.json: not a run record" in refused(*run_ui("--port", str(free_port())))


def test_without_evidence_there_is_nothing_to_show(run_ui, tmp_path):
    result, became = run_ui("--port", str(free_port()), "--reports", str(tmp_path / "none"))
    assert "0 finished runs" in result.output
    assert len(became) == 1


def test_a_parents_means_are_of_todays_recipe(make_record):
    """Runs of an earlier YAML stay in MLflow, but the mean over the seeds is not of two recipes."""
    reports = load_all()
    (report, spec), *_ = reports.items()
    name = next(iter(spec.experiments))
    now = make_record(report=report, experiments=[name], recipe_hash=recipe_hash(spec.experiments[name].recipe))
    now = dataclasses.replace(now, profile="smoke")
    old = dataclasses.replace(now, recipe_hash="0" * 64, run_key="1" * 16)
    assert _current(reports, report, name, [old, now], "smoke") == [now]
    assert _current(reports, report, name, [old], "smoke") == [old]  # better than none
    assert _current({}, report, name, [old], "smoke") == [old]


def test_what_another_process_has_in_training_or_at_its_end_is_left_to_it(home, reports, make_record, monkeypatch):
    """`repro ui` beside `repro run`: a key that the evidence has may be in training here, and a record may be new."""
    theirs, mine = evidence.committed(reports)[0], make_record(epochs=3, images=200, seed=5)
    folder = home / "runs" / mine.run_key
    write_atomically(folder / "record.json", mine.to_bytes())
    parent = dataclasses.replace(owner.mine(), pid=os.getppid(), began=owner.began(os.getppid()))
    with monkeypatch.context() as other:
        other.setattr(owner, "mine", lambda: parent)
        tracker = Tracker(home)
        training = {tracker.start(RunInfo.of(record)).run_id for record in (theirs, mine)}
    with FileLock(folder / "lock"):
        show_evidence(home, reports)
        assert {tracker.client.get_run(run_id).info.status for run_id in training} == {"RUNNING"}
        assert tracker.find(theirs) not in {None, *training}
        assert tracker.find(mine) is None
    show_evidence(home, reports)
    assert tracker.find(mine) in training  # nobody holds it any more
