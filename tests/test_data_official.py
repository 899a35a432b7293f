"""The official pickles: checked before they are opened, and opened with nothing dangerous in reach."""

import os
import pickle
import tarfile

import numpy as np
import pytest
from data_standin import BATCHES, FOLDER, batch, packed, refused

from repro.data import cifar10, official


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("REPRO_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


class Canary:
    """Unpickled without care, it writes a file."""

    def __init__(self, path, call):
        self.path, self.call = path, call

    def __reduce__(self):
        return {
            "os.system": (os.system, (f"touch {self.path}",)),
            "open": (open, (str(self.path), "w")),
            "exec": (exec, (f"open({str(self.path)!r}, 'w')",)),
            "numpy": (np.save, (str(self.path), 1)),
        }[self.call]


@pytest.mark.parametrize("call", ["os.system", "open", "exec", "numpy"])
@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("form", ["archive", "batches"])
def test_a_hostile_pickle_runs_nothing(standin, home, tmp_path, call, protocol, form):
    """Even were its checksum the published one."""
    canary = tmp_path / "canary"
    hostile = pickle.dumps({"labels": [0], "data": Canary(canary, call)}, protocol=protocol)
    assert pickle.loads(hostile) is not None
    assert canary.with_suffix(".npy" if call == "numpy" else "").exists()
    for path in tmp_path.glob("canary*"):
        path.unlink()
    blobs = standin.blobs | {"data_batch_3": hostile}
    standin.publish(blobs)
    path = tmp_path / "source"
    path.write_bytes(packed(blobs)) if form == "archive" else standin.batches(path, blobs)
    refused(path, home, "data_batch_3: not a batch of images and labels (it asks for ")
    assert not list(tmp_path.glob("canary*"))


@pytest.mark.parametrize("form", ["archive", "batches"])
def test_nothing_is_unpickled_before_its_checksum_is_right(standin, home, tmp_path, form, monkeypatch):
    monkeypatch.setattr(official, "_ArraysOnly", None)
    blobs = standin.blobs | {name: blob + b" " for name, blob in standin.blobs.items()}
    path = tmp_path / "source"
    path.write_bytes(packed(blobs)) if form == "archive" else standin.batches(path, blobs)
    refused(path, home, "not the official")


@pytest.mark.parametrize(
    "wrong",
    [
        pickle.dumps([1, 2]),
        pickle.dumps({"labels": [1]}),
        b"",
        b"\x80\x02}(",
        b"cnumpy\nndarray\n(J\xff\xff\xff\x7ftR.",
        "labels too large",
        "a label too few",
        "text for a label",
    ],
)
def test_a_batch_that_holds_something_else_is_refused(standin, home, tmp_path, wrong):
    x, y = standin.arrays["x_test"], standin.arrays["y_test"]
    if wrong == "labels too large":
        wrong = batch(x, np.where(y == 9, 10, y))
    elif wrong == "a label too few":
        wrong = batch(x, y[:-1])
    elif wrong == "text for a label":
        wrong = batch(x, y, labels=b"](" + b"U\x01a" * len(y) + b"e")
    blobs = standin.blobs | {"test_batch": wrong}
    standin.publish(blobs)
    refused(standin.batches(tmp_path / FOLDER, blobs), home, "test_batch: not a batch of images and labels")


def member(name, kind=tarfile.REGTYPE, content=b"", target=""):
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, len(content), target
    return info, content


def test_odd_members_of_an_archive_touch_nothing(standin, home, tmp_path):
    extra = [
        member("../../escaped", content=b"x"), member(f"{tmp_path}/absolute", content=b"x"),
        member(f"{FOLDER}/../../sideways", content=b"x"), member("link", tarfile.SYMTYPE, target=str(tmp_path)),
        member("link/through", content=b"x"), member(f"{FOLDER}/device", tarfile.CHRTYPE),
    ]  # fmt: skip
    content = packed(standin.blobs, extra)
    standin.publish_archive(content)
    (tmp_path / "a.tar.gz").write_bytes(content)
    cifar10.import_from(tmp_path / "a.tar.gz", home)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tar.gz", "home"]
    assert sorted(p.name for p in home.rglob("*")) == ["cifar10.npz", "data", "official_test.npy"]


def test_a_link_is_not_taken_for_a_batch(standin, home, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(standin.blobs["data_batch_2"])
    blobs = {name: blob for name, blob in standin.blobs.items() if name != "data_batch_2"}
    content = packed(blobs, [member(f"{FOLDER}/data_batch_2", tarfile.SYMTYPE, target=str(secret))])
    standin.publish_archive(content)
    (tmp_path / "a.tar.gz").write_bytes(content)
    refused(tmp_path / "a.tar.gz", home, "lacks data_batch_2; expected data_batch_1")


CUTS = [lambda c: c[:-400], lambda c: c[:40], lambda c: c[:2]]


@pytest.mark.parametrize("change", [*CUTS, lambda c: c + b"\0", lambda c: c[:-9] + b"\0" * 9])
def test_an_archive_with_another_checksum_is_refused(standin, home, tmp_path, change):
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(change(packed(standin.blobs)))
    refused(tmp_path / "cifar-10-python.tar.gz", home, "not the official cifar-10-python.tar.gz (md5 ")


@pytest.mark.parametrize("change", CUTS)
def test_an_archive_that_cannot_be_unpacked_is_refused(standin, home, tmp_path, change):
    content = change(packed(standin.blobs))
    standin.publish_archive(content)
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(content)
    refused(tmp_path / "cifar-10-python.tar.gz", home, "not a readable .tar.gz")


def test_batches_that_lack_one_or_are_huge_are_refused(standin, home, tmp_path, monkeypatch):
    folder = standin.batches(tmp_path / FOLDER)
    (folder / "data_batch_4").rename(folder / "data_batch_6")
    refused(folder, home, f"lacks data_batch_4; expected {', '.join(BATCHES)}")
    monkeypatch.setattr(official, "MAX_BATCH", 100)
    refused(folder, home, "data_batch_1: not the official data_batch_1 (larger than")
