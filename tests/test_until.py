"""`repro run --until decided` and `repro status --next`, on a small report whose runs end as each test says."""

import json
from collections import Counter
from dataclasses import replace

import pytest
from command_line import SMALL, repro
from golden_demo import make

from repro import plots
from repro import run as runner
from repro.data import cifar10, sample
from repro.execute import local
from repro.judge.claims import judge
from repro.record import FULL_TEST, FULL_TRAIN, Journal
from repro.report import evidence
from repro.run import folder_of
from repro.spec.loading import load_all
from repro.track import Tracker
from repro.track.projection import digest

UNTIL = ("run", "tiny", "--until", "decided", "--device", "cpu", "--offline")
MORE = SMALL.replace(
    "claims:\n",
    "claims:\n"
    "  - {id: order, kind: order, higher: first, lower: second, where: Table 3}\n"
    "  - {id: other, kind: point, experiment: second, value: 60.0, decimals: 1, where: Table 3}\n",
)
#: of `acc` (50.0, margin 2.0): open with three seeds, with five and with eight
UNDECIDED = (50.3, 50.95, 51.6, 50.55, 51.55, 50.2, 51.9, 51.2)


@pytest.fixture
def ends(place, home, monkeypatch):
    """Return `ends(experiment, values)`: from then on a run of it ends at the value of its seed, untrained.

    An exception in place of a value is raised. `ends.made` lists the runs in their order.
    """
    (place / "experiments" / "tiny.yaml").write_text(MORE)
    data = sample.load()
    monkeypatch.setattr(cifar10, "load", lambda _home: replace(data, train=FULL_TRAIN, test=FULL_TEST))
    values, made = {}, []

    def execute(run, _dataset, options, _on_epoch, _on_step):
        made.append((run.experiments[0], run.seed))
        value = values[run.experiments[0]][run.seed]
        if isinstance(value, Exception):
            raise value
        record = make(load_all()["tiny"], run.experiments[0], run.seed, env_class=options.env_class)
        record = replace(record, run_key=run.key, finals={"last": {"acc_pct": value, "loss": 1.0}})
        (folder_of(run, home) / "record.json").write_bytes(record.to_bytes())
        return record

    monkeypatch.setattr(local.runner, "execute", execute)

    def set_(experiment, ends):
        values[experiment] = ends

    set_.made = made
    return set_


def word(home, place, name):
    report = load_all()["tiny"]
    claim = next(claim for claim in report.claims if claim.id == name)
    return judge(report, claim, evidence.read(home, place / "reports")).verdict.word


def test_it_stops_as_soon_as_all_is_decided(ends, home, place):
    """Points are decided with three seeds; the order needs five pairs; nothing is trained beyond."""
    ends("first", [50.0, 50.1, 49.9, 50.2, 49.8])
    ends("second", [60.0, 60.1, 59.9, 60.2, 59.8])
    out = repro(*UNTIL)
    assert Counter(name for name, _ in ends.made) == {"first": 5, "second": 5}
    assert set(ends.made) == {(name, seed) for name in ("first", "second") for seed in range(5)}
    assert "0 of 3 claims that these experiments decide are decided" in out
    assert "3 of 3 claims that these experiments decide are decided" in out
    assert "10 trained" in out
    assert [word(home, place, name) for name in ("acc", "other", "order")] == ["reproduced", "reproduced", "reversed"]
    assert "nothing to do" in repro(*UNTIL)
    assert len(ends.made) == 10


def test_the_headline_comes_first_and_each_line_says_why(ends):
    ends("first", [50.0, 50.1, 49.9, 50.2, 49.8])
    ends("second", [60.0, 60.1, 59.9, 60.2, 59.8])
    lines = [line for line in repro(*UNTIL).splitlines() if line.startswith("Next: ")]
    assert len(lines) == 10
    assert lines[0].startswith("Next: tiny/first s0 for acc 100 %")
    assert "(n 0 -> 3); " in lines[0]
    assert "on one H200 (estimate)" in lines[0]
    assert "by what runs took on such a machine" not in lines[0]


def test_an_open_claim_is_looked_at_with_3_5_and_8_seeds_and_then_left(ends, home, place):
    ends("first", UNDECIDED)
    out = repro("run", "tiny/first", *UNTIL[2:])
    assert ends.made == [("first", seed) for seed in range(8)]
    looks = [line.split("(")[1].split(")")[0] for line in out.splitlines() if line.startswith("Next: ")]
    assert looks == [f"n {n} -> {3 if n < 3 else 5 if n < 5 else 8}" for n in range(8)]
    assert "0 of 1 claims that these experiments decide are decided, 1 open after their last look, 0 open" in out
    assert "nothing to do" in repro("run", "tiny/first", *UNTIL[2:])


def test_a_decided_claim_is_never_trained_for(ends):
    ends("first", [50.0, 50.1, 49.9])
    assert "1 of 1 claims" in repro("run", "tiny/first", *UNTIL[2:])
    assert ends.made == [("first", 0), ("first", 1), ("first", 2)]


def test_claims_of_experiments_that_were_not_asked_for_are_left_alone(ends):
    ends("first", [50.0, 50.1, 49.9])
    assert "0 of 1 claims" in repro("run", "tiny", "--tier", "headline", *UNTIL[2:])
    assert {name for name, _ in ends.made} == {"first"}


def test_what_the_evidence_holds_is_not_trained_again(ends, home, place):
    ends("first", [50.0, 50.1, 49.9])
    repro("run", "tiny/first", *UNTIL[2:])
    folder = place / "reports" / "tiny" / "evidence"
    folder.mkdir(parents=True)
    for number, path in enumerate(sorted(home.glob("runs/*/record.json"))[:2]):
        path.rename(folder / f"first-{number}.json")
    there = {record.seed for record in evidence.committed(place / "reports")}
    before = len(ends.made)
    out = repro("run", "tiny/first", *UNTIL[2:])
    assert len(there) == 2
    assert "nothing to do" in out
    assert len(ends.made) == before


def test_a_run_that_fails_is_tried_once_and_the_others_go_on(ends):
    ends("first", [50.0, RuntimeError("the disk fell off"), 49.9])
    ends("second", [60.0, 60.1, 59.9])
    out = repro(*UNTIL, code=1)
    assert ends.made.count(("first", 1)) == 1
    assert {seed for name, seed in ends.made if name == "second"} == {0, 1, 2}
    assert "1 failed" in out
    assert "1 of 3 claims" in out


def test_what_would_be_withdrawn_is_not_trained(ends, place):
    ends("second", [60.0, 60.1, 59.9])
    (place / "reports").mkdir()
    entry = "{why: The flip was drawn twice., date: 2026-11-21, experiments: [tiny/first]}"
    (place / "reports" / "withdrawn.yaml").write_text(f"schema: 1\nwithdrawn:\n  - {entry}\n")
    assert "1 of 3 claims" in repro(*UNTIL)
    assert ends.made == [("second", seed) for seed in range(3)]


def test_a_run_without_a_value_leaves_its_claim_open_and_ends_the_training_for_it(ends):
    ends("first", [50.0, float("nan"), 49.9])
    assert "0 of 1 claims" in repro("run", "tiny/first", *UNTIL[2:])
    assert len(ends.made) == 3


def test_a_spent_budget_stops_before_the_next_run(ends):
    ends("first", [50.0, 50.1, 49.9])
    out = repro("run", "tiny/first", *UNTIL[2:], "--budget", "0s")
    assert ends.made == []
    assert "1 stopped" in out


def test_the_same_records_give_the_same_choices(ends, home):
    ends("first", UNDECIDED)
    ends("second", [58.0, 61.9, 60.1, 59.0, 60.4, 61.0, 58.8, 60.9])
    repro(*UNTIL)
    first = list(ends.made)
    for path in home.glob("runs/*/record.json"):
        path.unlink()
    ends.made.clear()
    repro(*UNTIL)
    assert ends.made == first


def test_a_dry_run_says_the_steps_and_trains_nothing(ends, home):
    out = repro(*UNTIL, "--dry-run", "--budget", "1s")
    assert ends.made == []
    assert not list(home.glob("runs/*"))
    assert " 1. tiny/first s0 s1 s2" in out
    assert "The next look of every open claim: 6 runs, about" in out
    assert "--budget stops after 1 s" in out


def test_status_says_what_the_next_minutes_would_buy(ends):
    line = repro("status", "--next").splitlines()[-1]
    assert line.startswith("next: tiny/first s0 s1 s2")
    found = json.loads(repro("status", "--next", "--json"))
    assert [row["experiment"] for row in found["experiments"]] == ["first", "second"]
    assert "acc" in {claim["claim"] for claim in found["next"]["claims"]}
    assert found["next"]["minutes"] > 0
    ends("first", [50.0, 50.1, 49.9, 50.2, 49.8])
    ends("second", [60.0, 60.1, 59.9, 60.2, 59.8])
    repro(*UNTIL)
    assert repro("status", "--next").splitlines()[-1] == "next: no run would change a verdict"
    assert json.loads(repro("status", "--next", "--json"))["next"] is None


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--seeds", "0"), "leave out --seeds"),
        (("--profile", "quick"), "only full runs decide a verdict"),
        (("--devices", "cpu,cpu"), "leave out --devices, --concurrent and --executor"),
        (("--concurrent", "2"), "leave out --devices, --concurrent and --executor"),
        (("--force",), "leave out --force"),
    ],
)
def test_what_it_cannot_be_asked_with_is_refused_in_a_sentence(place, home, more, says):
    before = sorted(home.iterdir())
    out = repro("run", "tiny", "--until", "decided", *more, code=2)
    assert says in out
    assert len(out.splitlines()) == 1
    assert sorted(home.iterdir()) == before


def test_trained_runs_decide_claims_and_mlflow_shows_them(place, home, monkeypatch):
    """By the real path: small images that stand in for all of CIFAR-10, one epoch."""
    text = SMALL.replace("train: 45000, val: 5000", "train: 80, val: 20").replace("epochs: 2", "epochs: 1")
    (place / "experiments" / "tiny.yaml").write_text(text.replace("batch_size: 128", "batch_size: 16"))
    data = sample.load()
    few = replace(
        data, x_train=data.x_train[::15][:100], y_train=data.y_train[::15][:100], x_test=data.x_test[::12][:40],
        y_test=data.y_test[::12][:40], train=FULL_TRAIN, test=FULL_TEST,
    )  # fmt: skip
    monkeypatch.setattr(cifar10, "load", lambda _home: few)
    for name in ("confusion_png", "curves_png"):  # pictures take most of the time
        monkeypatch.setattr(plots, name, lambda *_: b"png")
    out = repro("run", "tiny/first", "--until", "decided", "--device", "cpu")
    assert runner.execute is local.runner.execute
    records = evidence.read(home, place / "reports")
    assert sorted(record.seed for record in records) == list(range(len(records)))
    assert len(records) in (3, 5, 8)
    assert all(record.counts for record in records)
    assert all(len(Journal(p / "journal.jsonl").read()) == 1 for p in (home / "runs").iterdir())
    assert f"{len(records)} trained" in out
    assert "not in MLflow yet" not in out
    tracker, stamps = Tracker(home), {digest(record.to_bytes()) for record in records}
    assert tracker.shown() == stamps
    lost = tracker.find(records[0])
    tracker.client.delete_run(lost)
    out = repro("run", "tiny/first", "--until", "decided", "--device", "cpu")  # what MLflow lacks is brought there
    assert "\n1 skipped\n" in out
    assert tracker.shown() == stamps
    assert "nothing to do" in repro("run", "tiny/first", "--until", "decided", "--device", "cpu")
