"""Bundles carry records whole, take nothing unchecked and overwrite nothing."""

import dataclasses
import json
from hashlib import sha256

import pytest
from golden_demo import demo, make

from repro.bundle import export, import_into, load
from repro.errors import UserError
from repro.record import RunRecord, drift
from repro.report import machines
from repro.report.figures import arms
from repro.suite.moving import import_bundle


@pytest.fixture
def members(make_record, tmp_path):
    """Two records, the first with a journal and probabilities."""
    files = {}
    for name in ("journal.jsonl", "probabilities.npz"):
        files[name] = tmp_path / name
        files[name].write_bytes(name.encode() * 3)
    return [(make_record(epochs=2, images=200), files), (make_record(epochs=2, images=200, seed=1), {})]


@pytest.fixture
def bundle(members, tmp_path):
    export(members, tmp_path / "bundle")
    return tmp_path / "bundle"


def tree(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def relist(bundle, change):
    listed = json.loads((bundle / "bundle.json").read_text())
    change(listed)
    (bundle / "bundle.json").write_text(json.dumps(listed))


def test_what_goes_in_comes_out(bundle, members):
    out = list(load(bundle))
    assert [record.to_bytes() for record, _ in out] == [record.to_bytes() for record, _ in members]
    assert {name: path.read_bytes() for name, path in out[0][1].items()} == {
        name: path.read_bytes() for name, path in members[0][1].items()
    }
    assert out[1][1] == {}
    key = members[0][0].run_key[:8]
    names = {members[0][0].file_name, members[1][0].file_name, f"{key}-journal.jsonl", f"{key}-probabilities.npz"}
    assert set(tree(bundle)) == {"bundle.json"} | names


def test_exporting_again_gives_the_same_folder(bundle, members):
    before = tree(bundle)
    assert export(members + members[:1], bundle) == 2
    assert tree(bundle) == before


def test_an_export_leaves_other_folders_alone(tmp_path, members):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="holds other files"):
        export(members, tmp_path)
    with pytest.raises(UserError, match=r"not model\.pt"):
        export([(members[0][0], {"model.pt": tmp_path / "mine.txt"})], tmp_path / "new")


def test_import_is_idempotent(bundle, members, tmp_path):
    home = tmp_path / "home"
    assert import_into(bundle, home) == (2, 0)
    before = tree(home)
    assert import_into(bundle, home) == (0, 2)
    assert tree(home) == before
    first = members[0][0]
    assert before[f"runs/{first.run_key}/record.json"] == first.to_bytes()
    assert before[f"runs/{first.run_key}/journal.jsonl"] == members[0][1]["journal.jsonl"].read_bytes()


def test_another_record_of_a_key_goes_beside(make_record, tmp_path):
    home, ours = tmp_path / "home", make_record(epochs=2, images=200)
    others = [make_record(epochs=2, images=200, env_class="cpu"), make_record(epochs=2, images=200, seconds=1.0)]
    place = home / "runs" / ours.run_key
    export([(ours, {})], tmp_path / "a")
    export([(ours, {}), *((record, {}) for record in others)], tmp_path / "b")
    assert import_into(tmp_path / "a", home) == (1, 0)
    assert import_into(tmp_path / "b", home) == (2, 1)
    assert import_into(tmp_path / "b", home) == (0, 3)
    assert (place / "record.json").read_bytes() == ours.to_bytes()
    for record in others:
        data = record.to_bytes()
        assert (place / f"record-{sha256(data).hexdigest()[:8]}.json").read_bytes() == data


@pytest.mark.parametrize("begun", ["journal.jsonl", "attempts.json"])  # the second before its first epoch is done
def test_a_run_that_trains_here_keeps_its_place(bundle, members, tmp_path, begun):
    place = tmp_path / "home" / "runs" / members[0][0].run_key
    place.mkdir(parents=True)
    (place / begun).write_bytes(b"ours")
    assert import_into(bundle, tmp_path / "home") == (2, 0)
    assert not (place / "record.json").exists()
    assert (place / begun).read_bytes() == b"ours"
    assert not [path for path in place.iterdir() if path.name != begun and not path.name.startswith("record-")]
    assert len(list(place.glob("record-????????.json"))) == 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda b: (b / "bundle.json").unlink(), "not a bundle"),
        (lambda b: (b / "bundle.json").write_text("{"), "not a bundle's list"),
        (lambda b: (b / "bundle.json").write_text("[]"), "no members"),
        (lambda b: relist(b, lambda x: x.update(schema=9)), "schema 9"),
        (lambda b: next(b.glob("resnet68-s1*")).unlink(), "missing"),
        (lambda b: next(b.glob("*.npz")).unlink(), "missing"),
        (lambda b: next(b.glob("*.npz")).write_bytes(b"changed"), "differs from its sha256"),
        (lambda b: next(b.glob("resnet68-s1*")).write_bytes(b"{}"), "differs from its sha256"),
        (lambda b: relist(b, lambda x: x["members"][1].update(file="../out.json")), "not a member's name"),
        (lambda b: relist(b, lambda x: x["members"][1].update(file="/etc/passwd")), "not a member's name"),
        (lambda b: relist(b, lambda x: x["members"][1].update(file="..")), "not a member's name"),
        (lambda b: relist(b, lambda x: x["members"][1].update(file=3)), "not a member's name"),
        (lambda b: relist(b, lambda x: x["members"].append("x")), "not a member's name"),
        (lambda b: relist(b, lambda x: x["members"][0]["extras"].update({"../x": {}})), "nothing else"),
        (lambda b: relist(b, lambda x: x["members"][0]["extras"].update({"checkpoint-1.pt": {}})), "nothing else"),
    ],
)
def test_a_bad_bundle_is_refused_whole(bundle, tmp_path, change, says):
    change(bundle)
    with pytest.raises(UserError, match=says):
        import_into(bundle, tmp_path / "home")
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    "change", [{"run_key": "../../../../tmp/x"}, {"run_key": 5}, {"experiments": []}, {"report": "../x"}, {"fold": "0"}]
)
def test_a_hostile_record_is_refused(make_record, tmp_path, change):
    folder = tmp_path / "bundle"
    export([(make_record(epochs=1, images=200), {})], folder)
    data = make_record(epochs=1, images=200, **change).to_bytes()
    (folder / "r.json").write_bytes(data)
    member = {"file": "r.json", "sha256": sha256(data).hexdigest(), "extras": {}}
    relist(folder, lambda listed: listed["members"].append(member))
    with pytest.raises(UserError, match="not a sound run record"):
        import_into(folder, tmp_path / "home")
    assert not (tmp_path / "home").exists()


def test_import_shows_runs_in_mlflow_once(bundle, members, home):
    from repro.track import Tracker

    # First without MLflow, as --offline does; the next import makes up for it.
    assert import_bundle(home, bundle, home / "reports", offline=True) == (2, 0)
    for _ in range(2):
        assert import_bundle(home, bundle, home / "reports") == (0, 2)
        assert {data for _, data in Tracker(home).records()} == {record.to_bytes() for record, _ in members}
        assert len(list(Tracker(home).records())) == 2
    names = {RunRecord.from_bytes(data).run_key for _, data in Tracker(home).records()}
    assert names == {record.run_key for record, _ in members}


# Drift: one key, one class of environment, other final numbers


def ended(make_record, percent, **changes):
    """Return a record of one key whose last accuracy is `percent`."""
    record = make_record(epochs=2, images=200)
    finals = record.finals | {"last": record.finals["last"] | {"acc_pct": percent}}
    return dataclasses.replace(record, finals=finals, **changes)


def taken_in(record, home, reports):
    """Import a bundle of one record; return what is said."""
    said, folder = [], home / "bundles" / sha256(record.to_bytes()).hexdigest()
    export([(record, {})], folder)
    counts = import_bundle(home, folder, offline=True, reports_dir=reports, say=said.append)
    return counts, said


def test_a_run_that_drifted_is_told_once_and_both_are_kept(make_record, tmp_path):
    first, other = ended(make_record, 90.0), ended(make_record, 89.5, started="2026-02-02T00:00:00+00:00")
    assert taken_in(first, tmp_path, tmp_path) == ((1, 0), [])
    (counts, (line,)) = taken_in(other, tmp_path, tmp_path)
    assert counts == (1, 0)
    assert line.startswith(f"chen2024/resnet68 s0 ({first.run_key}) drifted: ")
    assert "last/acc_pct 90.0, now 89.5" in line
    assert "last/loss" not in line
    place = tmp_path / "runs" / first.run_key
    assert (place / "record.json").read_bytes() == first.to_bytes()
    assert {p.read_bytes() for p in place.glob("record*.json")} == {first.to_bytes(), other.to_bytes()}
    before = tree(place)
    assert taken_in(other, tmp_path, tmp_path) == ((0, 1), [])
    assert tree(place) == before


@pytest.mark.parametrize(
    "changes",
    [
        {"env_class": "cpu-fp32-relaxed-n1"},  # another class: a replicate, whatever it ended at
        {"run_key": "0" * 16},
    ],
)
def test_another_class_or_run_is_no_drift(make_record, tmp_path, changes):
    taken_in(ended(make_record, 90.0), tmp_path, tmp_path)
    assert taken_in(ended(make_record, 89.5, **changes), tmp_path, tmp_path) == ((1, 0), [])


def test_equal_numbers_are_no_drift_whatever_else_differs(make_record, tmp_path):
    record = ended(make_record, 90.0)
    record.finals["last"]["nll"] = float("nan")
    more = record.finals | {"val": {"acc_pct": 1.0}}  # measured by one of them only
    taken_in(record, tmp_path, tmp_path)
    again = dataclasses.replace(record, seconds=1.0, started="2026-02-02T00:00:00+00:00", finals=more)
    assert taken_in(again, tmp_path, tmp_path) == ((1, 0), [])


def test_the_committed_evidence_is_looked_at_too(make_record, tmp_path):
    first = ended(make_record, 90.0)
    path = tmp_path / "reports" / "chen2024" / "evidence" / first.file_name
    path.parent.mkdir(parents=True)
    path.write_bytes(first.to_bytes())
    counts, said = taken_in(ended(make_record, 89.5), tmp_path, tmp_path / "reports")
    assert counts == (1, 0)
    assert "last/acc_pct 90.0, now 89.5" in said[0]


def test_beside_a_withdrawn_record_nothing_drifts_and_a_withdrawn_one_is_named(make_record, tmp_path):
    env = make_record(epochs=2, images=200).env
    old = ended(make_record, 90.0, env=env | {"commit": "f" * 40})
    entry = "schema: 1\nwithdrawn:\n  - {why: A fault., date: 2026-11-21, commits: [fffffff]}\n"
    (tmp_path / "withdrawn.yaml").write_text(entry)
    assert taken_in(old, tmp_path, tmp_path) == (
        (1, 0), [f"chen2024/resnet68 s0 ({old.run_key}) is withdrawn: A fault."]
    )  # fmt: skip
    assert taken_in(ended(make_record, 89.5), tmp_path, tmp_path) == ((1, 0), [])


def test_many_numbers_are_told_shortly(make_record, tmp_path):
    first = make_record(epochs=2, images=200)
    first.finals |= {"val": {f"m{n}": 1.0 for n in range(10)}}
    moved = {p: {m: v + 1 for m, v in final.items()} for p, final in first.finals.items()}
    taken_in(first, tmp_path, tmp_path)
    _, (line,) = taken_in(dataclasses.replace(first, finals=moved), tmp_path, tmp_path)
    assert line.count(", now ") == 4
    assert "last/acc_pct" in line
    assert f"and {sum(map(len, moved.values())) - 4} more" in line


def test_drift_is_the_same_seen_from_either_side(make_record):
    one, other = ended(make_record, 90.0), ended(make_record, 89.5, state="diverged")
    there, back = drift(one, other), drift(other, one)
    assert [(gap.name, gap.one, gap.other) for gap in there] == [(gap.name, gap.other, gap.one) for gap in back]
    assert [gap.name for gap in there] == ["state", "last/acc_pct"]
    assert drift(one, one) == []


def test_a_page_names_what_drifted_even_beside_the_counted_class():
    """Two records of a class that is not the counted one's differ from one another, not from that."""
    first = make(demo())
    cpu = dataclasses.replace(first, env_class="cpu-fp32-relaxed-n1")
    moved = first.finals | {"last": first.finals["last"] | {"acc_pct": 12.5}}
    (arm, *_) = arms(demo(), [first, cpu, dataclasses.replace(cpu, finals=moved)], "full")
    said = machines.drifted([arm])
    assert said.startswith("**1 run drifted**")
    assert "cpu-fp32-relaxed-n1: last/acc_pct" in said
    assert machines.replicates_table([arm]).count("**yes**") == 1
    (arm, *_) = arms(demo(), [first, cpu], "full")
    assert machines.drifted([arm]) == ""
