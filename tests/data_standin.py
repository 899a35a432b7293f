"""Seventy images that stand in for CIFAR-10, in every form in which CIFAR-10 can be had, official pickles included."""

import gzip
import hashlib
import io
import struct
import tarfile
from pathlib import Path

import numpy as np
from click.testing import CliRunner
from PIL import Image
from torchvision.datasets import CIFAR10

from repro.cli import main
from repro.data import identity, sample
from repro.record import CLASSES

EACH = {"train": 5, "test": 2}
FOLDER = "cifar-10-batches-py"
BATCHES = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]


class Standin:
    """The images in an "official" order, which is not the canonical one, and writers of every form."""

    def __init__(self, monkeypatch):
        self.monkeypatch = monkeypatch
        data, rng = sample.load(), np.random.default_rng(3)
        self.arrays = {}
        for split in ("train", "test"):
            x, y = getattr(data, f"x_{split}"), getattr(data, f"y_{split}")
            first = [np.flatnonzero(y == label)[: EACH[split]] for label in range(10)]  # of each class
            picked = rng.permutation(np.sort(np.concatenate(first)))
            self.arrays |= {f"x_{split}": x[picked], f"y_{split}": y[picked]}
            found = identity.fingerprint(identity.digests(x[picked], y[picked]))
            monkeypatch.setattr(identity, f"FULL_{split.upper()}", found)
        for name, array in self.arrays.items():
            monkeypatch.setitem(identity.SHAPES, name, array.shape)
        self.blobs = {
            name: batch(self.arrays["x_train"][10 * i : 10 * i + 10], self.arrays["y_train"][10 * i : 10 * i + 10])
            for i, name in enumerate(BATCHES[:5])
        }
        self.blobs["test_batch"] = batch(self.arrays["x_test"], self.arrays["y_test"])
        self.publish(self.blobs)

    def publish(self, blobs):
        """Let the published checksums be those of these batches, and of the archive of them."""
        sums = [[name, hashlib.md5(blobs[name]).hexdigest()] for name in BATCHES if name in blobs]
        self.monkeypatch.setattr(CIFAR10, "train_list", sums[:5])
        self.monkeypatch.setattr(CIFAR10, "test_list", sums[5:])
        self.publish_archive(packed(blobs))

    def publish_archive(self, content):
        """Let the published checksum of the archive be that of these bytes."""
        self.monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5(content).hexdigest())

    def npz(self, path, seed=0):
        """Write an .npz in an order of its own."""
        rng = np.random.default_rng(seed)
        orders = {split: rng.permutation(10 * each) for split, each in EACH.items()}
        np.savez(path, **{name: array[orders[name[2:]]] for name, array in self.arrays.items()})
        return path

    def archive(self, path):
        """Write the official archive."""
        path.write_bytes(packed(self.blobs))
        return path

    def batches(self, path, blobs=None):
        """Write the unpacked folder."""
        path.mkdir()
        for name, blob in (blobs or self.blobs).items():
            (path / name).write_bytes(blob)
        return path

    def parent(self, path):
        """Write the folder that holds the unpacked folder; return the outer one."""
        path.mkdir()
        self.batches(path / FOLDER)
        return path

    def tree(self, path, suffix="png"):
        """Write a folder of images."""
        for split in EACH:
            for i, (x, y) in enumerate(zip(self.arrays[f"x_{split}"], self.arrays[f"y_{split}"], strict=True)):
                place = path / split / CLASSES[y] / f"{i}.{suffix}"
                place.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(x).save(place, **({"lossless": True, "exact": True} if suffix == "webp" else {}))
        return path


def packed(blobs, extra=()):
    """Return a .tar.gz of batches; `extra` members (TarInfo, bytes) come first."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for info, content in extra:
            archive.addfile(info, io.BytesIO(content))
        for name, blob in blobs.items():
            info = tarfile.TarInfo(f"{FOLDER}/{name}")
            info.size = len(blob)
            archive.addfile(info, io.BytesIO(blob))
    return gzip.compress(out.getvalue(), mtime=0)


def batch(x, y, **changes):
    """Return a batch as Python 2 pickled the official ones: protocol 2, byte strings, numpy.core.multiarray."""
    data = np.ascontiguousarray(x.transpose(0, 3, 1, 2)).reshape(len(x), -1)
    entries = {
        "batch_label": _text(b"a batch"), "labels": _list(map(_int, y.tolist())), "data": _array(data),
        "filenames": _list(_text(f"image_{i}.png".encode()) for i in range(len(x))),
    }  # fmt: skip
    body = b"".join(_text(key.encode()) + value for key, value in (entries | changes).items())
    return b"\x80\x02}(" + body + b"u."


def _int(n):
    return b"K" + bytes([n]) if 0 <= n < 256 else b"J" + struct.pack("<i", n)


def _text(raw):
    return b"U" + bytes([len(raw)]) + raw if len(raw) < 256 else b"T" + struct.pack("<i", len(raw)) + raw


def _list(items):
    return b"](" + b"".join(items) + b"e"


def _array(a):
    made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + _int(0) + b"\x85" + _text(b"b") + b"\x87R"
    kind = b"cnumpy\ndtype\n" + _text(b"u1") + _int(0) + _int(1) + b"\x87R"
    kind += b"(" + _int(3) + _text(b"|") + b"NNN" + _int(-1) + _int(-1) + _int(0) + b"tb"
    shape = b"".join(map(_int, a.shape)) + b"\x86"
    return made + b"(" + _int(1) + shape + kind + b"\x89" + _text(a.tobytes()) + b"tb"


def contents(folder: Path):
    """Return everything in a folder: bytes of files, None for folders."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def refused(path, home, expected):
    """Import through the command line: exit code 2, one sentence, and nothing written, with or without a cache."""
    before = contents(home.parent)
    result = CliRunner().invoke(main, ["data", "import", str(path)], catch_exceptions=False)
    assert result.exit_code == 2, result.output
    assert result.output.startswith("repro: ")
    assert len(result.output.splitlines()) == 1
    assert expected in result.output
    assert contents(home.parent) == before
