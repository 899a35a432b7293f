"""CIFAR-10 from every kind of source: one cache, byte for byte; anything else is refused."""

import errno
import os
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from data_standin import EACH, contents, refused

from repro.cli import main
from repro.data import cache, cifar10
from repro.errors import UserError
from repro.record import CLASSES


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("REPRO_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


WAYS = {
    "npz": lambda s, p: s.npz(p / "any.npz"),
    "npz without its suffix": lambda s, p: s.npz(p / "any.npz").rename(p / "any"),
    "archive": lambda s, p: s.archive(p / "cifar-10-python.tar.gz"),
    "archive by another name": lambda s, p: s.archive(p / "download"),
    "batches": lambda s, p: s.batches(p / "anywhere"),
    "their parent": lambda s, p: s.parent(p / "outer"),
    "png tree": lambda s, p: s.tree(p / "images"),
    "bmp tree": lambda s, p: s.tree(p / "images", "bmp"),
    "lossless webp tree": lambda s, p: s.tree(p / "images", "webp"),
}
OFFICIAL = {"archive", "archive by another name", "batches", "their parent"}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_gives_the_same_cache(standin, home, tmp_path, way):
    cifar10.import_from(standin.npz(tmp_path / "first.npz", seed=9), tmp_path / "reference")
    dataset = cifar10.import_from(WAYS[way](standin, tmp_path), home)
    assert cifar10.cache_path(home).read_bytes() == cifar10.cache_path(tmp_path / "reference").read_bytes()
    assert sorted(p.name for p in (home / "data").iterdir()) == [
        "cifar10.npz",
        *["official_test.npy"] * (way in OFFICIAL),
    ]
    loaded = cifar10.load(home)
    for name in ("x_train", "y_train", "x_test", "y_test"):
        assert np.array_equal(getattr(loaded, name), getattr(dataset, name))
    assert loaded.key == dataset.key
    assert loaded.order == dataset.order == ("official" if way in OFFICIAL else "unknown")
    if way in OFFICIAL:
        assert np.array_equal(loaded.x_test[loaded.official_test], standin.arrays["x_test"])
        assert np.array_equal(loaded.y_test[loaded.official_test], standin.arrays["y_test"])


def test_command_tells_what_is_here(standin, home, tmp_path):
    archive = standin.archive(tmp_path / "a.tar.gz")
    told = CliRunner().invoke(main, ["data", "import", str(archive)], catch_exceptions=False).output
    assert "official order of the test images: known" in told
    assert CliRunner().invoke(main, ["data", "verify"], catch_exceptions=False).output == told


def test_a_source_without_the_order_takes_nothing_away(standin, home, tmp_path):
    order = cifar10.import_from(standin.archive(tmp_path / "a.tar.gz"), home).official_test
    before = contents(home)
    assert np.array_equal(cifar10.import_from(standin.npz(tmp_path / "x.npz"), home).official_test, order)
    assert contents(home) == before


def test_an_older_cache_with_the_order_inside_loads_and_keeps_it(standin, home, tmp_path):
    dataset = cifar10.import_from(standin.archive(tmp_path / "a.tar.gz"), tmp_path / "new")
    order = dataset.official_test
    cifar10.cache_path(home).parent.mkdir(parents=True)
    arrays = {name: getattr(dataset, name) for name in standin.arrays}
    np.savez(cifar10.cache_path(home), **arrays, official_test=order)
    assert np.array_equal(cifar10.load(home).official_test, order)
    cifar10.import_from(standin.tree(tmp_path / "images"), home)
    assert contents(home) == contents(tmp_path / "new")


@pytest.mark.parametrize("content", [b"", b"junk", b"\x93NUMPY", "half", "twice", "npz"])
def test_a_damaged_order_is_said_and_replaced_by_an_official_source(standin, home, tmp_path, content):
    archive = standin.archive(tmp_path / "a.tar.gz")
    good = cifar10.import_from(archive, home).official_test
    path = cache.order_path(home)
    if content == "half":
        path.write_bytes(path.read_bytes()[:-8])
    elif content == "twice":
        np.save(path, np.zeros_like(good))
    elif content == "npz":
        shutil.copy(cifar10.cache_path(home), path)
    else:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"official_test\.npy: damaged.*delete the file"):
        cifar10.load(home)
    refused(standin.npz(tmp_path / "x.npz"), home, "official_test.npy: damaged")
    assert np.array_equal(cifar10.import_from(archive, home).official_test, good)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short"])
def test_a_damaged_cache_is_said_and_replaced(standin, home, tmp_path, content):
    source = standin.npz(tmp_path / "x.npz")
    cifar10.import_from(source, home)
    good = contents(home)
    cifar10.cache_path(home).write_bytes(content)
    with pytest.raises(UserError, match="delete the file and import or fetch"):
        cifar10.load(home)
    cifar10.import_from(source, home)
    assert contents(home) == good


@pytest.mark.parametrize("name", ["missing", "empty folder", "text", "empty", "bare batch", "folder of folders"])
def test_anything_else_is_refused_with_what_is_accepted(standin, home, tmp_path, name):
    path = tmp_path / name
    if name == "text":
        path.write_text("hello")
    elif name == "empty":
        path.write_bytes(b"")
    elif name == "bare batch":
        path.write_bytes(standin.blobs["data_batch_1"])
    elif name != "missing":
        path.mkdir()
        if name == "folder of folders":
            (path / "cat").mkdir()
    refused(path, home, "expected the official cifar-10-python.tar.gz, its unpacked folder cifar-10-batches-py")


@pytest.mark.parametrize("held", [False, True])
def test_a_full_disk_is_refused_before_anything_is_written(standin, home, tmp_path, monkeypatch, held):
    source = standin.npz(tmp_path / "x.npz")
    if held:
        cifar10.import_from(source, home)
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    refused(
        source, home, f"{cache.size() / 1e6:.0f} MB are needed and 1 MB are free; make room there, or set REPRO_HOME"
    )


def test_a_place_that_cannot_be_written_is_refused(standin, home, tmp_path, monkeypatch):
    source = standin.npz(tmp_path / "x.npz")
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("REPRO_HOME", str(tmp_path / "file" / "home"))
    refused(source, home, f"{tmp_path / 'file'} is not a folder; name one that is")
    monkeypatch.setenv("REPRO_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(cache.os, "access", lambda *_: False)
    refused(source, home, f"{tmp_path}: cannot be written; set REPRO_HOME")


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_earlier_cache(standin, home, tmp_path, monkeypatch, call):
    cifar10.import_from(standin.npz(tmp_path / "x.npz"), home)
    archive = standin.archive(tmp_path / "a.tar.gz")

    def fail(*_rest):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    refused(archive, home, "cifar10.npz: cannot be written (No space left on device); make room, or set REPRO_HOME")


def test_the_standin_is_balanced(standin):
    for split, each in EACH.items():
        assert np.bincount(standin.arrays[f"y_{split}"]).tolist() == [each] * len(CLASSES)
