"""Bundles carry records whole, take nothing unchecked and overwrite nothing."""

import json
from hashlib import sha256

import pytest

from repro.bundle import export, import_into, load
from repro.errors import UserError
from repro.record import RunRecord


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
    assert import_into(bundle, home, None) == (2, 0)
    before = tree(home)
    assert import_into(bundle, home, None) == (0, 2)
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
    assert import_into(tmp_path / "a", home, None) == (1, 0)
    assert import_into(tmp_path / "b", home, None) == (2, 1)
    assert import_into(tmp_path / "b", home, None) == (0, 3)
    assert (place / "record.json").read_bytes() == ours.to_bytes()
    for record in others:
        data = record.to_bytes()
        assert (place / f"record-{sha256(data).hexdigest()[:8]}.json").read_bytes() == data


def test_a_run_that_trains_here_keeps_its_place(bundle, members, tmp_path):
    place = tmp_path / "home" / "runs" / members[0][0].run_key
    place.mkdir(parents=True)
    (place / "journal.jsonl").write_bytes(b"ours")
    assert import_into(bundle, tmp_path / "home", None) == (2, 0)
    assert not (place / "record.json").exists()
    assert (place / "journal.jsonl").read_bytes() == b"ours"
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
        import_into(bundle, tmp_path / "home", None)
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
        import_into(folder, tmp_path / "home", None)
    assert not (tmp_path / "home").exists()


def test_import_shows_runs_in_mlflow_once(bundle, members, home):
    from repro.track import Tracker

    # First without MLflow, as --offline does; the next import makes up for it.
    assert import_into(bundle, home, None) == (2, 0)
    for _ in range(2):
        assert import_into(bundle, home, Tracker(home), lambda record: {"published": "90 %"}) == (0, 2)
        assert {data for _, data in Tracker(home).records()} == {record.to_bytes() for record, _ in members}
        assert len(list(Tracker(home).records())) == 2
    names = {RunRecord.from_bytes(data).run_key for _, data in Tracker(home).records()}
    assert names == {record.run_key for record, _ in members}
