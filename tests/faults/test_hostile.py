"""Input made to harm: one sentence, exit code 2, nothing run, nothing written outside, nothing half done."""

import gzip
import hashlib
import io
import json
import os
import pickle
import re
import resource
import shutil
import struct
import sys
import time
import xml.etree.ElementTree as ET
import zipfile
from contextlib import contextmanager
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from command_line import SMALL
from data_standin import batch, packed
from fuzz_coverage import build_record, bundle_of, watched
from holding import FOREIGN_BUNDLES, FOREIGN_DATA, FOREIGN_PICKLES, FOREIGN_TEXT, FOREIGN_YAML, trial
from markdown_it import MarkdownIt

from repro.cli import main

LONG = "x" * 300
MIB = 1 << 20


class Canary:
    """A pickle that would leave a file where it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@contextmanager
def little_memory(more):
    """Fail an allocation of more than so many bytes beyond what the process has, as a small machine would."""
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (now + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def everything(folder):
    """Every file's bytes, link's target and folder; what is no plain file by its kind."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"
        elif path.is_file() and path.stat().st_size < 100 * MIB:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest() if path.suffix != ".lock" else ""
        else:
            found[name] = path.stat().st_mode, path.stat().st_size if path.is_file() else 0
    return found


def refused(where, *arguments, says=""):
    """Run `repro ...`: exit code 2 and one printable line, no file changed, nothing run, and soon."""
    before, began = everything(where), time.monotonic()
    with watched(where):
        result = CliRunner().invoke(main, list(map(str, arguments)))
    assert result.exit_code == 2, (result.exit_code, result.output[:500], result.exception)
    assert result.stderr.startswith("repro: "), result.stderr[:300]
    assert result.stderr.count("\n") == 1
    assert result.stderr.strip().isprintable(), repr(result.stderr[:300])
    assert len(result.stderr) < 2200
    assert says in result.stderr, result.stderr[:600]
    assert everything(where) == before
    assert time.monotonic() - began < 60, "as if it were read to an end"


# --- specs ----------------------------------------------------------------------------------------------------------


def put(old, new):
    """The small report with something else in one place."""
    assert old in SMALL
    return SMALL.replace(old, new, 1)


def laughs(levels=25):
    """Aliases of aliases: a few hundred bytes that stand for 10^levels words."""
    rows = [f"{chr(97 + i)}: &{chr(97 + i)} [{', '.join([f'*{chr(96 + i)}'] * 10)}]" for i in range(1, levels)]
    return "\n".join(["a: &a [ha]", *rows])


TITLE, LR = "title: A small report", "lr: 1e-3"
SPECS = {
    "a billion laughs": (laughs(), "uses a YAML alias"),
    "an alias of itself": ("&a [*a]", "uses a YAML alias"),
    "a merge of itself": ("a: &a\n  <<: *a\n", "tiny.yaml:"),
    "100,000 brackets": ("[" * 100_000, "nested too deeply"),
    "100,000 braces": ("{a: " * 100_000, "nested too deeply"),
    "100,000 dashes": ("- " * 100_000, "nested too deeply"),
    "1,400 indents": ("".join(" " * i + "a:\n" for i in range(1400)), "nested too deeply"),
    "half a million values": ("[" + "a," * 500_000 + "]", "more than 50,000"),
    "half a million keys": ("{" + "a," * 500_000 + "}", "more than 50,000"),
    "200,000 pairs": ("[" + "a: b," * 200_000 + "]", "more than 50,000"),
    "15,000 experiments": (SMALL.split("claims:")[0] + "".join(f"  a{i}: {{a: b}}\n" for i in range(30_000)), "than"),
    "larger than any report": ("#" * MIB + "\n", "larger than 1024 KiB"),
    "a key twice": (SMALL + "title: B\n", "is given twice"),
    "a tag that runs": (put(TITLE, "title: !!python/object/apply:os.system [touch canary]"), "has the YAML tag"),
    "a tag that imports": (put(TITLE, "title: !!python/name:os.system ''"), "tiny.yaml:3: title"),
    "a tag that makes": (put(TITLE, "title: !!python/object/new:os.mkdir [canary]"), "has the YAML tag"),
    "an integer of 9,000 hex digits": (put(LR, "lr: 0x" + "f" * 9000), "cannot read"),
    "an integer of a million bits": (put(LR, "lr: 0b" + "1" * 900_000), "cannot read"),
    "an integer to the base of 60": (put(LR, "lr: 1" + ":59" * 300_000), "cannot read"),
    "an integer no float holds": (put(LR, "lr: " + "9" * 400), "optim.lr: must be a number"),
    "an exponent no float holds": (put(LR, "lr: 1e999999"), "must be a finite number"),
    "not a number": (put(LR, "lr: .nan"), "optim.lr: must be"),
    "infinite": (put(LR, "lr: -.inf"), "optim.lr: must be"),
    "a version of 5,000 digits": ("%YAML 1." + "9" * 5000 + "\n---\n" + SMALL, "not valid YAML"),
    "a character beyond all": (put(TITLE, 'title: "\\UFFFFFFFF"'), "tiny.yaml:3: not valid YAML"),
    "a character just beyond all": (put(TITLE, 'title: "\\U00110000"'), "tiny.yaml:3: not valid YAML"),
    "half a character": (put(TITLE, 'title: "\\ud800"'), "no text (0xd800)"),
    "half a character in a key": (SMALL + '"\\ud800": 1\n', "not a plain word"),
    "a NUL": (put(TITLE, 'title: "a\\0b"'), "no text (0x0)"),
    "a raw NUL": (put(TITLE, "title: a\0b"), "a character YAML does not allow (0x0)"),
    "an escape for the terminal": (put(TITLE, 'title: "\\e[2J\\e]0;mine\\a"'), "no text (0x1b)"),
    "an escape in a key": (SMALL + '"\\e[2J": 1\n', "not a plain word"),
    "text turned around": (put(TITLE, 'title: "\\u202egnp.exe"'), "no text (0x202e)"),
    "a key of a million letters": (SMALL + "? " + "k" * 900_000 + "\n: 1\n", "not a plain word"),
    "an id that leads out": (put("id: tiny", "id: ../../tiny"), "tiny.yaml:2: id:"),
    "an absolute id": (put("id: tiny", "id: /etc/tiny"), "tiny.yaml:2: id:"),
    "an id with a look-alike": (put("id: tiny", "id: t\u0456ny"), "tiny.yaml:2: id:"),
    "an id with a line break": (put("id: tiny", 'id: "tiny\\n"'), "tiny.yaml:2: id:"),
    "an id of 300 letters": (put("id: tiny", f"id: {LONG}"), "tiny.yaml:2: id:"),
    "an experiment that leads out": (put("  second:", '  "../../x":'), "experiments"),
    "an experiment with a separator": (put("  second:", '  "a\\\\b":'), "experiments"),
    "an experiment of 300 letters": (put("  second:", f"  {LONG}:"), "experiments"),
    "an experiment with a NUL": (put("  second:", '  "a\\0":'), "not a plain word"),
    "a network of a million layers": (put("blocks: [1, 1]", "blocks: [1000000, 1000000]"), "blocks"),
    "a width beyond all": (put("widths: [8, 16]", "widths: [8, 99999999999]"), "widths"),
    "no text at all": (bytes(range(256)) * 4, "not UTF-8"),
    "UTF-16": (SMALL.encode("utf-16"), "not UTF-8"),
}  # fmt: skip


@pytest.mark.parametrize("name", SPECS)
def test_specs(place, name):
    text, says = SPECS[name]
    (place / "experiments" / "tiny.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with trial(FOREIGN_YAML, f"spec: {name}"):
        refused(place, "validate", says=says)
        assert not (place / "canary").exists()


def test_a_report_that_never_ends(place):
    (place / "experiments" / "tiny.yaml").unlink()
    (place / "experiments" / "tiny.yaml").symlink_to("/dev/zero")
    refused(place, "list", says="not a plain file")


# --- bundles --------------------------------------------------------------------------------------------------------


def record(**changes):
    """A record's bytes with some keys other than they should be."""
    plain = json.loads(build_record(epochs=1, windows=1, images=20).to_bytes()) | changes
    return json.dumps(plain).encode()


def deep(levels):
    """JSON nested so deep."""
    return b"[" * levels + b"]" * levels


def bomb():
    """A curve's text that unpacks to half a gigabyte."""
    import base64
    import zlib

    return base64.b85encode(zlib.compress(bytes(512 * MIB), 9)).decode()


def named(name):
    """A bundle's list with a member of some name."""
    return lambda place: bundle_of(place / "b", [record()], json.dumps(
        {"schema": 1, "members": [{"file": name, "sha256": "0" * 64}]}).encode())  # fmt: skip


def of(*records, **more):
    """A bundle of records whose checksums are right."""
    return lambda place: bundle_of(place / "b", records, **more)


def link(name):
    """A bundle one of whose files is a link to a file outside."""

    def make(place):
        bundle = bundle_of(place / "b", [record()], extras={"journal.jsonl": b"{}\n"})
        shutil.copy(bundle / name, place / "secret")
        (bundle / name).unlink()
        (bundle / name).symlink_to(place / "secret")

    return make


def pipe(name):
    """A bundle one of whose files is a pipe, which nobody writes."""

    def make(place):
        (bundle_of(place / "b", [record()]) / name).unlink()
        os.mkfifo(place / "b" / name)

    return make


def large(place):
    with open(bundle_of(place / "b", [record()]) / "r0.json", "wb") as file:
        file.truncate(1 << 40)


def large_list(place):
    with open(bundle_of(place / "b", [record()]) / "bundle.json", "wb") as file:
        file.truncate(1 << 40)


def twice(place):
    listed = json.loads((bundle_of(place / "b", [record()]) / "bundle.json").read_text())
    listed["members"] *= 2
    (place / "b" / "bundle.json").write_text(json.dumps(listed))


def run_elsewhere(place):
    """The folder of the run is a link that leads out of the state folder."""
    bundle_of(place / "b", [record()])
    (place / "outside").mkdir()
    runs = place / "state folder" / "runs"
    runs.mkdir()
    (runs / json.loads(record())["run_key"]).symlink_to(place / "outside")


def record_elsewhere(place):
    """The record's place is a link that leads nowhere yet."""
    bundle_of(place / "b", [record()])
    folder = place / "state folder" / "runs" / json.loads(record())["run_key"]
    folder.mkdir(parents=True)
    (folder / "record.json").symlink_to(place / "outside")


MATRIX = [[1] * 10] * 10
BUNDLES = {
    "a name that leads out": (named("../../x.json"), "not a member's name"),
    "an absolute name": (named("/etc/passwd"), "not a member's name"),
    "a name with a NUL": (named("a\0b.json"), "not a member's name"),
    "a name with a look-alike": (named("..\u2215x.json"), "not a member's name"),
    "a name with the other separator": (named("..\\x.json"), "not a member's name"),
    "a name of 300 letters": (named(LONG), "not a member's name"),
    "an encoded name": (named("%2e%2e%2fx"), "not a member's name"),
    "a name that begins with a dot": (named(".bashrc"), "not a member's name"),
    "a name with an escape": (named("\x1b[2J"), "not a member's name"),
    "a link for a record": (link("r0.json"), "is a link"),
    "a link for a journal": (link("journal.jsonl"), "is a link"),
    "a link for the list": (link("bundle.json"), "is a link"),
    "a pipe for a record": (pipe("r0.json"), "no plain file"),
    "a pipe for the list": (pipe("bundle.json"), "no plain file"),
    "a record of a terabyte": (large, "larger than 4 MiB"),
    "a list of a terabyte": (large_list, "larger than 16 MiB"),
    "a record twice": (twice, "listed twice"),
    "a list nested 100,000 deep": (of(listed=deep(100_000)), "not a bundle's list"),
    "a list with an integer of 5,000 digits": (of(listed=b'{"schema": 1' + b"0" * 5000 + b"}"), "not a bundle's list"),
    "a record nested 100,000 deep": (of(deep(100_000)), "r0.json"),
    "a recipe 500 deep": (of(record(recipe={"budget": {"epochs": 1}, "x": json.loads(deep(500))})), "nested"),
    "a record with an environment 900 deep": (of(record(env={"x": json.loads(deep(900))})), "r0.json"),
    "a curve that unpacks to half a gigabyte": (of(record(curves={"x": bomb()})), "r0.json"),
    "a run folder that leads out": (run_elsewhere, "is a link to another place"),
    "a record's place that leads out": (record_elsewhere, "is a link to another place"),
    "a run key that leads out": (of(record(run_key="../../../../x")), "not a sound run record"),
    "an experiment that leads out": (of(record(experiments=["../../x"])), "not a sound run record"),
    "a report that leads out": (of(record(report="../../x")), "not a sound run record"),
    "a profile that leads out": (of(record(profile="../x")), "not a sound run record"),
    "a million epochs": (of(record(epochs_done=10**6)), "epochs_done"),
    "a seed beyond all": (of(record(seed=10**400)), "not a sound run record"),
    "a seed that is true": (of(record(seed=True)), "not a sound run record"),
    "a confusion matrix of a name that leads out": (of(record(confusion={"../../x": MATRIX})), "not a protocol's name"),
    "a confusion matrix of words": (of(record(confusion={"last": [["<script>"] * 10] * 10})), "10 rows of 10 counts"),
    "a confusion matrix of one row": (of(record(confusion={"last": [[1]]})), "10 rows of 10 counts"),
    "a confusion matrix that is none": (of(record(confusion=None)), "confusion: is not a mapping"),
    "finals in a list": (of(record(finals=[{"last": 1}])), "finals: is not a mapping"),
    "a final beyond all": (of(record(finals={"last": {"acc_pct": 10**400}})), "not a number"),
    "a final of markup": (of(record(finals={"last": {"<script>": 1.0}})), "plainly named"),
    "a curve of markup": (of(record(curves={"<script>alert(1)</script>": "c-lK3HrMHf`z9v<6RiXo"})), "curves"),
    "no seconds": (of(record(seconds=float("nan"))), "seconds"),
    "endless seconds": (of(record(seconds=float("inf"))), "seconds"),
    "a start in words": (of(record(started="<script>")), "started"),
    "a start before all": (of(record(started="0001-01-01T00:00:00")), "started"),
    "a device with an escape": (of(record(env={"device": "\x1b[2J"})), "not printable"),
    "half a character": (of(record(command="\ud800")), "not printable"),
    "no budget": (of(record(recipe={"budget": None})), "recipe.budget"),
    "a key of markup in the recipe": (of(record(recipe={"budget": {"epochs": 1}, "<b>": 1})), "not a key's name"),
}  # fmt: skip


@pytest.mark.parametrize("name", BUNDLES)
def test_bundles(place, name):
    make, says = BUNDLES[name]
    make(place)
    with trial(FOREIGN_BUNDLES, f"bundle: {name}"), little_memory(1 << 30):
        refused(place, "bundle", "import", place / "b", "--offline", says=says)


@pytest.mark.parametrize("name", ["r0.json", "bundle.json"])
def test_an_export_writes_through_no_link(place, home, name):
    from repro.bundle import export, import_into
    from repro.errors import UserError
    from repro.record import RunRecord

    bundle_of(place / "b", [record()])
    import_into(place / "b", home)
    own = RunRecord.from_bytes(record())
    (place / "out").mkdir()
    (place / "out" / "bundle.json").write_text("{}")
    target = place / "out" / (own.file_name if name == "r0.json" else name)
    target.unlink(missing_ok=True)
    (place / "precious").write_text("precious")
    target.symlink_to(place / "precious")
    if name == "bundle.json":
        refused(place, "bundle", "export", place / "out", says="is a link to another place")
    with trial(FOREIGN_BUNDLES, f"export through {name}"), pytest.raises(UserError, match="is a link"):
        export([(own, {})], place / "out")
    assert (place / "precious").read_text() == "precious"


def test_a_hostile_journal_is_read_as_far_as_it_is_one(tmp_path):
    from repro.record import Journal

    journal = Journal(tmp_path / "journal.jsonl")
    journal.append(1, {"test/acc_pct": 50.0})
    good = journal.path.read_bytes()
    for line in (
        deep(100_000), b'{"epoch": 2, "metrics": {"a": "0x1p99999999"}, "steps": {}, "time": 1}',
        b'{"epoch": 2, "metrics": {}, "steps": {}, "time": "1"}',
        b'{"epoch": 2, "metrics": {}, "steps": {}, "time": 1e999}',
        b'{"epoch": 2, "metrics": {}, "steps": {}, "time": ' + b"9" * 400 + b"}",
        b'{"epoch": 2.0, "metrics": {}, "steps": {}, "time": 1}',
        b'{"epoch": 2, "metrics": {"a": 1}, "steps": {}, "time": 1}',
    ):  # fmt: skip
        journal.path.write_bytes(good + line + b"\n")
        with trial(FOREIGN_BUNDLES, f"journal: {line[:60]!r}"):
            assert [entry.epoch for entry in journal.read()] == [1]


# --- evidence -------------------------------------------------------------------------------------------------------

EVIDENCE = {
    "nested beyond use": record(env={"x": json.loads(deep(300))}),
    "half a character": record(command="\ud800"),
    "no record": deep(100_000),
    "a terabyte": None,
    "a file name that leads out": record(experiments=["../../../x"]),
    "a class that is markup": record(env_class="<script>"),
}


@pytest.mark.parametrize("name", [*EVIDENCE, "a pipe"])
def test_evidence(place, name):
    folder = place / "reports" / "tiny" / "evidence"
    folder.mkdir(parents=True)
    if name == "a pipe":
        os.mkfifo(folder / "x.json")
    elif EVIDENCE[name] is None:
        with open(folder / "x.json", "wb") as file:
            file.truncate(1 << 40)
    else:
        (folder / "x.json").write_bytes(EVIDENCE[name])
    with trial(FOREIGN_BUNDLES, f"evidence: {name}"), little_memory(1 << 30):
        refused(place, "report", says="x.json")


# --- data -----------------------------------------------------------------------------------------------------------


def npy(header, version=(1, 0), data=b""):
    """An .npy with a header of one's own."""
    size = struct.pack("<H" if version[0] == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes(version) + size + header + data


def archive_of(kind=zipfile.ZIP_DEFLATED, **members):
    """An .npz of members as bytes; what is not given is an empty array."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", kind) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def header(kind="'|u1'", shape="(50, 32, 32, 3)", order="False"):
    """An .npy's header."""
    return f"{{'descr': {kind}, 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()


def first(data, **more):
    """An .npz whose first array is this."""
    return archive_of(**{"x_train.npy": data}, **more)


def objects(place):
    out = io.BytesIO()
    np.save(out, np.array([Canary(place / "canary")], dtype=object), allow_pickle=True)
    return first(out.getvalue())


def locked(data):
    """A zip that says of each member that it needs a password."""
    data = bytearray(data)
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        for found in re.finditer(re.escape(mark), bytes(data)):
            data[found.start() + at] |= 1
    return bytes(data)


def spoilt(data):
    """A zip whose packed bytes are other ones."""
    return data[:80] + bytes(200) + data[280:]


def unpacks_to(size):
    """An .npz of a few hundred KB whose first array unpacks to `size` bytes of zeros."""
    return first(npy(header(shape=f"({size},)")) + bytes(size))


SOUND = npy(header(), data=bytes(153_600))
NPZ = {
    "a bomb": (lambda place: unpacks_to(300 * MIB), "x_train is uint8"),
    "a bomb that names the right shape": (lambda place: first(SOUND + bytes(300 * MIB)), "lacks"),
    "a bomb for a header": (lambda place: first(npy(b" " * (300 * MIB), (2, 0))), "not a readable .npz"),
    "a terabyte declared": (lambda place: first(npy(header(shape="(1099511627776,)"))), "x_train is uint8"),
    "a shape below nothing": (lambda place: first(npy(header(shape="(-1,)"))), "x.npz"),
    "a shape beyond all": (lambda place: first(npy(header(shape="(" + "9" * 3000 + ",)"))), "x.npz"),
    "a shape of brackets": (lambda place: first(npy(header(shape="(" * 1000 + ")" * 1000))), "not a readable .npz"),
    "a shape that never closes": (lambda place: first(npy(b"{'descr': ")), "not a readable .npz"),
    "a type that runs": (lambda place: first(npy(header("__import__('os').mkdir('canary')"))), "not a readable .npz"),
    "objects": (objects, "Python objects"),
    "objects in a record": (lambda place: first(npy(header("[('a', 'O')]"))), "Python objects"),
    "a version beyond all": (lambda place: first(npy(header(), (9, 9))), "not a readable .npz"),
    "a pickle for an array": (lambda place: first(pickle.dumps(Canary(place / "canary"))), "not a readable .npz"),
    "a pickle for the file": (lambda place: pickle.dumps(Canary(place / "canary")), "not a readable .npz"),
    "names that lead out": (lambda place: archive_of(**{"../../x_train.npy": SOUND, "/x_test.npy": SOUND}), "lacks"),
    "a password": (lambda place: locked(first(SOUND)), "not a readable .npz"),
    "another packing, spoilt": (lambda place: spoilt(archive_of(zipfile.ZIP_LZMA, **{"x_train.npy": SOUND})), "x.npz"),
    "half a file": (lambda place: first(SOUND)[:-10], "not a readable .npz"),
    "no file where one begins": (lambda place: first(SOUND).replace(b"PK\x03\x04", b"PK\5\6"), "not a readable"),
}  # fmt: skip


@pytest.mark.parametrize("name", NPZ)
def test_npz(place, standin, name):
    make, says = NPZ[name]
    (place / "x.npz").write_bytes(make(place))
    promise = FOREIGN_PICKLES if "pickle" in name or "objects" in name else FOREIGN_DATA
    with trial(promise, f"npz: {name}"), little_memory(200 * MIB):
        refused(place, "data", "import", place / "x.npz", says=says)
        assert not (place / "canary").exists()


def pickled(*lines):
    """A batch of raw pickle operations."""
    return b"\x80\x02" + b"".join(lines) + b"."


PICKLES = {
    "a call": lambda place: pickle.dumps(Canary(place / "canary"), 2),
    "a call among the labels": lambda place: batch(
        np.zeros((5, 32, 32, 3), np.uint8), np.zeros(5, int), labels=pickle.dumps(Canary(place / "canary"), 2)[2:-1]
    ),
    "eval": lambda place: pickled(b'cbuiltins\neval\n(S\'__import__("os").mkdir("canary")\'\ntR'),
    "a module's attribute": lambda place: pickled(b"cnumpy\nload\n(S'canary'\ntR"),
    "a dotted name": lambda place: b"\x80\x04\x8c\x05numpy\x8c\x0bndarray.dot\x93.",
    "an array of a terabyte": lambda place: pickled(
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(L1099511627776L\ntS'b'\ntR"
    ),
    "a hundred thousand lists": lambda place: pickled(b"]" * 100_000, b"a" * 99_999),
    "a place beyond all": lambda place: pickled(b"U\0", b"r\xff\xff\xff\x5f"),
    "a place beyond all, in figures": lambda place: pickled(b"U\0", b"p1500000000\n"),
    "a stack that is empty": lambda place: pickled(b"R"),
    "an extension": lambda place: pickled(b"\x82\x01"),
    "a persistent name": lambda place: pickled(b"Pcanary\n"),
    "labels that are text": lambda place: pickled(b"}(S'data'\nS'x'\nS'labels'\nS'x'\nu"),
    "a list": lambda place: pickled(b"]"),
}


@pytest.mark.parametrize("name", PICKLES)
def test_pickles_whose_checksum_is_right(place, standin, name):
    blobs = standin.blobs | {"test_batch": PICKLES[name](place)}
    standin.publish(blobs)
    standin.batches(place / "batches", blobs)
    with trial(FOREIGN_PICKLES, f"batch: {name}"), little_memory(1 << 30):
        refused(place, "data", "import", place / "batches", says="not a batch of images and labels")
        assert not (place / "canary").exists()


def test_a_pickle_whose_checksum_is_wrong_is_not_even_read(place, standin, monkeypatch):
    import repro.data.official

    monkeypatch.setattr(repro.data.official, "_ArraysOnly", None)
    standin.batches(place / "batches", standin.blobs | {"data_batch_1": pickle.dumps(Canary(place / "canary"))})
    refused(place, "data", "import", place / "batches", says="not the official file")


def tar_of(*members):
    """A .tar.gz of (name, size, kind, data), whose headers may say what they like."""
    import tarfile

    out = b""
    for name, size, kind, data in members:
        info = tarfile.TarInfo(name)
        info.size, info.type, info.linkname = size, kind, "/etc/passwd"
        out += info.tobuf(tarfile.GNU_FORMAT) + data
    return gzip.compress(out + bytes(1024))


def in_front(*members):
    """The official batches behind other members."""

    def make(standin):
        return gzip.compress(gzip.decompress(tar_of(*members))[:-1024] + gzip.decompress(packed(standin.blobs)))

    return make


FOLDER = "cifar-10-batches-py"
TARS = {
    "a bomb": (in_front(("zeros", 2 << 30, b"0", bytes(64 * MIB))), "x.tar.gz"),
    "a bomb of a header": (in_front(("x", 3 << 30, b"x", bytes(64 * MIB))), "x.tar.gz"),
    "a million headers in one another": (in_front(*[("x", 1, b"L", bytes(512))] * 3000), "x.tar.gz"),
    "a batch that is a link": (lambda s: tar_of((f"{FOLDER}/data_batch_1", 0, b"2", b"")), "lacks data_batch_1"),
    "a batch that is a hard link": (lambda s: tar_of((f"{FOLDER}/data_batch_1", 0, b"1", b"")), "lacks data_batch_1"),
    "a batch that is a device": (lambda s: tar_of((f"{FOLDER}/data_batch_1", 0, b"3", b"")), "lacks data_batch_1"),
    "a name that leads out": (lambda s: tar_of((f"../{FOLDER}/x", 3, b"0", bytes(512))), "lacks"),
    "an absolute name": (lambda s: tar_of(("/x", 3, b"0", bytes(512))), "lacks"),
    "a batch larger than any": (lambda s: tar_of((f"{FOLDER}/data_batch_1", 100 * MIB, b"0", bytes(1024))), "x.tar.gz"),
    "no tar": (lambda s: gzip.compress(b"x" * 10_000), "x.tar.gz"),
    "no gzip": (lambda s: b"\x1f\x8b" + bytes(1000), "x.tar.gz"),
    "cut short": (lambda s: packed(s.blobs)[:-3000], "x.tar.gz"),
}  # fmt: skip


@pytest.mark.parametrize("name", TARS)
def test_archives_whose_checksum_is_right(place, standin, name, monkeypatch):
    import repro.data.official

    monkeypatch.setattr(repro.data.official, "MAX_UNPACKED", 32 * MIB)  # a bomb of 64 MiB stands for one of terabytes
    make, says = TARS[name]
    content = make(standin)
    standin.publish_archive(content)
    (place / "x.tar.gz").write_bytes(content)
    with trial(FOREIGN_DATA, f"archive: {name}"), little_memory(300 * MIB):
        refused(place, "data", "import", place / "x.tar.gz", says=says)


def png(*chunks):
    """A PNG of raw chunks."""
    import zlib

    made = (struct.pack(">I", len(d)) + kind + d + struct.pack(">I", zlib.crc32(kind + d)) for kind, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(made)


def images():
    """Images that harm, by name."""
    import zlib

    size = struct.pack(">II", 32, 32) + b"\x08\x02\0\0\0"
    return {
        "half a million pixels a side": png((b"IHDR", struct.pack(">II", 500_000, 500_000) + b"\x08\x02\0\0\0")),
        "a text that unpacks to 300 MB": png((b"IHDR", size), (b"zTXt", b"a\0\0" + zlib.compress(bytes(300 * MIB), 9))),
        "pixels cut short": png((b"IHDR", size), (b"IDAT", zlib.compress(b"x")[:-2])),
        "no pixels": png((b"IHDR", size)),
        "a chunk of four gigabytes": png((b"IHDR", size))[:-4] + b"\xff\xff\xff\xffIDAT",
        "a pickle": pickle.dumps(Canary("canary")),
        "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n(canary) (w) file\n",
        "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"><script>x</script></svg>',
        "an empty file": b"",
        "a bitmap of nothing": b"BM" + bytes(60),
        "a bitmap of two gigabytes": b"BM" + bytes(8) + struct.pack("<IIiiHH", 54, 40, 32, -(2**31), 1, 24) + bytes(30),
        "a pixmap without an end": b"P6 32 32 " + b"9" * 5000,
    }


@pytest.mark.parametrize("name", [*images(), "a pipe", "a link to a device"])
def test_images(place, standin, name):
    folder = standin.tree(place / "images")
    first = sorted((folder / "train" / "airplane").iterdir())[0]
    first.unlink()
    if name == "a pipe":
        os.mkfifo(first)
    elif name == "a link to a device":
        first.symlink_to("/dev/zero")
    else:
        first.write_bytes(images()[name])
    with trial(FOREIGN_DATA, f"image: {name}"), little_memory(300 * MIB):
        refused(place, "data", "import", folder, says=first.name)


@pytest.mark.parametrize("data", [
    b"", npy(header(shape="(1099511627776,)")), npy(header("'O'", "(20,)")),
    npy(header("'|V8'", "(20,)"), data=bytes(160)),
    npy(b"{'descr': "), npy(b"(" * 3000), pickle.dumps(Canary("canary")), npy(header("'<i8'", "(20,)"), data=bytes(8)),
], ids=range(8))  # fmt: skip
def test_the_order_of_test_images(place, home, standin, data):
    refused(place, "data", "import", place / "none.npz", says="cannot be read")
    assert CliRunner().invoke(main, ["data", "import", str(standin.npz(place / "x.npz"))]).exit_code == 0
    (home / "data" / "official_test.npy").write_bytes(data)
    with trial(FOREIGN_DATA, f"order: {data[:40]!r}"), little_memory(200 * MIB):
        refused(place, "data", "verify", says="not an order of the test images")


def test_a_download_without_an_end_is_ended(tmp_path, monkeypatch):
    from repro.data import download

    class Endless:
        status, length, headers = 200, None, {}

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def read1(self, size):
            return bytes(size)

    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: Endless())
    monkeypatch.setattr(download, "MOST", 10 * MIB)
    with trial(FOREIGN_DATA, "download without an end"), pytest.raises(download.Broken, match="more than 10 MiB"):
        download.download("http://127.0.0.1:9/x", tmp_path / "x.part")
    assert (tmp_path / "x.part").stat().st_size <= 10 * MIB + download.CHUNK


# --- checkpoints ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["pickle", "torch", "zip"])
def test_a_checkpoint_is_never_unpickled(tmp_path, form):
    from repro.train import checkpoint

    folder = tmp_path / "run"
    folder.mkdir()
    out = io.BytesIO()
    if form == "torch":
        torch.save({"model": Canary(tmp_path / "canary")}, out)
    elif form == "zip":
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps(Canary(tmp_path / "canary"), 2))
            archive.writestr("archive/version", "3")
    else:
        out.write(pickle.dumps(Canary(tmp_path / "canary"), 2))
    data = out.getvalue()
    name = f"checkpoint-00001-{hashlib.sha256(data).hexdigest()[:16]}.pt"  # as if it were ours
    (folder / name).write_bytes(data)
    with trial(FOREIGN_PICKLES, f"checkpoint: {form}"), watched(folder):
        assert checkpoint.load(folder) is None
    assert not (tmp_path / "canary").exists()
    assert [path.name for path in folder.iterdir()] == [f"damaged-{name}"]


@pytest.mark.parametrize("state", [{}, [], {"model": {}, "optimizer": {}, "logits": {}}, {"model": 1}, 3], ids=str)
def test_a_checkpoint_of_something_else_is_refused(place, home, state):
    from repro.train import checkpoint

    run = ("run", "tiny/first", "--profile", "smoke", "--device", "cpu", "--offline", "-q")
    result = CliRunner().invoke(main, list(run))
    assert result.exit_code == 0, result.output
    folder = next((home / "runs").iterdir())
    for path in folder.iterdir():
        path.unlink()
    checkpoint.save(folder, 1, state)
    with trial(FOREIGN_PICKLES, f"checkpoint: {state}"):
        result = CliRunner().invoke(main, list(run))
        assert isinstance(result.exception, SystemExit), result.exc_info
        assert result.exit_code in (1, 2), result.output
        assert "does not fit this training" in result.output
        assert "Traceback" not in result.output


# --- pages ----------------------------------------------------------------------------------------------------------

EVIL = (
    '<script>alert(1)</script> <img src=x onerror=alert(2)> [x](javascript:alert(3)) ![y](http://evil.example/a.png) '
    '| a | ``` `b` </details> </td> &lt;b&gt; <!-- - ${{7*7}} {{ 7*7 }} {% raw %} http://evil.example @someone'
)  # fmt: skip


def evil_yaml():
    """The small report with markup in every field that takes any text."""
    import yaml

    plain = yaml.safe_load(SMALL)
    plain |= {"title": EVIL, "summary": EVIL, "source": {
        "authors": [EVIL], "year": 2020, "course": EVIL, "file": EVIL, "code": EVIL}}  # fmt: skip
    for arm in plain["experiments"].values():
        arm["title"] = EVIL
    for claim in plain["claims"]:
        claim |= {"where": EVIL, "note": EVIL}
    plain["claims"].append({"id": "far", "kind": "conjecture", "text": EVIL, "why": EVIL, "where": EVIL})
    plain["claims"].append(
        {"id": "gone", "kind": "point", "value": 1.0, "decimals": 1, "why_not_run": EVIL, "where": EVIL}
    )
    plain["sentences"] = [{"where": EVIL, "says": EVIL, "conjecture": EVIL}]
    plain["assumed"] = {"recipe.optim.lr": EVIL}
    plain["deviations"] = [dict.fromkeys(("theirs", "ours", "why", "effect"), EVIL)]
    plain["findings"] = [{"id": "odd", "text": EVIL, "evidence": EVIL}]
    return yaml.safe_dump(plain, sort_keys=False)


def evil_record():
    """A record that counts, of the small report's first experiment, with markup wherever it holds text."""
    import yaml

    from repro.record import RunRecord
    from repro.spec.identity import recipe_hash
    from repro.spec.loading import parse

    arm = parse(SMALL, "tiny.yaml").experiments["first"]
    recipe = json.loads(arm.recipe.model_dump_json(exclude_defaults=True))
    own = build_record(
        epochs=2, windows=1, report="tiny", experiments=["first"], recipe_hash=recipe_hash(arm.recipe), recipe=recipe,
        command=EVIL, ledger=EVIL, started="2026-01-02T03:04:05+00:00",
        env=dict.fromkeys(("device", "torch", "python", "commit", "cuda", "driver", "diff", EVIL), EVIL),
        resumed=[{"epoch": 1, "commit": EVIL, "started": EVIL}],
    )  # fmt: skip
    assert yaml.safe_load(SMALL)["recipe"]["budget"]["epochs"] == 2
    return RunRecord.from_bytes(own.to_bytes())


class Elements(HTMLParser):
    """Every element and attribute of a page."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


@pytest.fixture
def evil_pages(place):
    """The folder of the pages of a report whose every text is markup, with a run of which that is true as well."""
    (place / "experiments" / "tiny.yaml").write_text(evil_yaml())
    own = evil_record()
    folder = place / "reports" / "tiny" / "evidence"
    folder.mkdir(parents=True)
    (folder / own.file_name).write_bytes(own.to_bytes())
    result = CliRunner().invoke(main, ["report"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return place / "reports"


def test_pages_of_hostile_text_do_nothing(evil_pages):
    with trial(FOREIGN_TEXT, "pages"):
        for path in evil_pages.rglob("*.html"):
            elements = Elements()
            elements.feed(path.read_text())
            tags = [tag for tag, _ in elements.found]
            assert tags.count("script") == tags.count("style") == 1, path  # our own
            assert not set(tags) & {"img", "iframe", "object", "embed", "base", "foreignobject", "animate"}
            for tag, given in elements.found:
                assert not [name for name in given if name.startswith("on")], (path, tag, given)
                address = given.get("href") or given.get("xlink:href") or "#"
                pictures = r"|data:image/png;base64,[A-Za-z0-9+/=\s]+$" if tag == "image" else ""
                assert re.match(r"(#|\.\./|[\w.-]+[/.]|data:,$)" + pictures, address), (tag, address[:200])
        for path in evil_pages.rglob("*.md"):
            inert(path.read_text(), path)
        for path in evil_pages.rglob("*.svg"):
            for element in ET.fromstring(path.read_text()).iter():
                assert element.tag.rpartition("}")[2] not in ("script", "foreignObject", "a", "animate", "iframe"), path
                for key, value in element.attrib.items():
                    assert not re.match("on|.*javascript:", f"{key} {value}", re.DOTALL), (path, key)
                    assert not key.endswith("href") or value.startswith(("#", "data:image/png")), (path, value[:99])


def inert(text, path):
    """Assert that a Markdown page has no HTML but our folds, and no link or picture that leads to another site."""
    parser = MarkdownIt("commonmark", {"html": True, "linkify": False}).enable("table")
    for token in parser.parse(text):
        for part in [token, *(token.children or [])]:
            if part.type in ("html_block", "html_inline"):
                assert not re.sub(r"</?details>|<summary>[^<>]*</summary>", "", part.content).strip(), (
                    path,
                    part.content,
                )
            if part.type in ("link_open", "image"):
                address = part.attrs.get("href") or part.attrs.get("src")
                assert not re.match(r"[a-z]+:|//", address, re.IGNORECASE), (path, address)
        if token.type == "tr_open":
            continue
    for lines in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in lines.splitlines()}
        assert len(widths) == 1, (path, lines[:200])


def test_other_outputs_of_hostile_text_are_one_line_each(evil_pages, place):
    import csv

    with trial(FOREIGN_TEXT, "tables and terminal"):
        for name in ("runs.csv", "claims.csv"):
            rows = list(csv.reader((evil_pages / name).read_text().splitlines()))
            assert len({len(row) for row in rows}) == 1, name
        json.loads((evil_pages / "verdicts.json").read_text())
        for arguments in (["list"], ["status"], ["report", "--letter", "tiny"], ["preflight"], ["validate"]):
            result = CliRunner().invoke(main, arguments, catch_exceptions=False)
            assert result.exit_code == 0, result.output
            assert all(line.isprintable() for line in result.output.replace("\t", " ").splitlines())


def test_mlflow_takes_hostile_text_as_text(evil_pages, place, home, monkeypatch):
    from repro.record import RunRecord
    from repro.track import Tracker

    own = RunRecord.from_bytes(next(evil_pages.rglob("evidence/*.json")).read_bytes())
    monkeypatch.setattr("tempfile.tempdir", str(home))
    with trial(FOREIGN_BUNDLES, "hostile text in MLflow"), watched(home):
        tracker = Tracker(home)
        run = tracker.client.get_run(tracker.project(own, notes={"report": EVIL, "published": EVIL, "where": EVIL}))
    assert run.data.tags["repro.device"] == " ".join(EVIL.split())
    artifacts = (
        [path for path in (home / "mlartifacts").rglob("*") if path.is_file()]
        if (home / "mlartifacts").exists()
        else []
    )
    assert all(path.resolve().is_relative_to(home.resolve()) for path in artifacts)


def test_names_of_files_act_on_no_terminal(place):
    name = "a\x1b[2J\nrepro: all is well\u202e"
    (place / name).mkdir()
    refused(place, "bundle", "import", place / name, "--offline", says="\\x1b[2J\\nrepro: all is well\\u202e")


def test_no_shell_and_no_unpickling_in_the_sources():
    """What runs a shell or builds any object is in no module; numpy and torch are told not to unpickle."""
    from pathlib import Path

    for path in Path(sys.modules["repro"].__file__).parent.rglob("*.py"):
        text = path.read_text()
        for found in re.finditer(r"torch\.load\(.*|np\.load\(.*", text):
            assert "weights_only=True" in found[0] or "allow_pickle=False" in found[0], (path, found[0])
        text = re.sub(r"\.eval\(", "", text)  # a network's
        runs = r"shell=True|os\.system\(|os\.popen\(|pickle\.loads?\(|\beval\(|\bexec\(|yaml\.(unsafe_)?load\("
        assert not re.search(runs, text), path


# --- what MLflow holds ----------------------------------------------------------------------------------------------


@pytest.fixture
def evil_store(place, home):
    """A store in which somebody has put runs that look like ours, and are not."""
    from repro.record import RunRecord
    from repro.track import Tracker

    tracker = Tracker(home)
    tracker.project(RunRecord.from_bytes(record(report="tiny", experiments=["first"])))
    ids = [tracker.experiment_id("tiny", "full"), tracker.experiment_id("tiny", "smoke")]
    for experiment in ids:
        for tags in (
            {"repro.kind": "experiment"}, {"repro.kind": "run"}, {"repro.kind": EVIL}, {},
            {"repro.kind": "run", "repro.record": EVIL, "repro.run_key": "../../x", "mlflow.parentRunId": "../../x"},
            {"repro.kind": "run", "repro.record": "0" * 16, "repro.experiment": EVIL, "repro.owner": "{" * 1000},
            {"repro.kind": "experiment", "repro.experiment": "../../x", "repro.summary": EVIL, "repro.host": EVIL},
            {"repro.kind": "run", "repro.run_key": "0" * 16, "repro.owner": EVIL, "repro.report": EVIL},
        ):  # fmt: skip
            run = tracker.client.create_run(experiment, 0, tags, "a\x1b[2J name")
            tracker.client.log_metric(run.info.run_id, "test/acc_pct", float("nan"), step=2**40)
            tracker.client.log_param(run.info.run_id, "seed", EVIL)
    return place


COMMANDS = [
    ("report", "--from-mlflow"), ("doctor",), ("doctor", "--fix"), ("status",), ("bundle", "import", "b"),
    ("run", "tiny/first", "--profile", "smoke", "--device", "cpu", "-q"),
]  # fmt: skip


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_store_of_foreign_runs(evil_store, home, arguments, monkeypatch):
    bundle_of(evil_store / "b", [record(report="tiny", experiments=["first"], seed=3)])
    before = {name: kind for name, kind in everything(evil_store).items() if not name.startswith(home.name)}
    monkeypatch.setattr("tempfile.tempdir", str(home))
    with trial(FOREIGN_BUNDLES, f"MLflow: {' '.join(arguments)}"):
        result = CliRunner().invoke(main, list(arguments))
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        assert result.exit_code in (0, 1, 2), result.output
        assert all(line.isprintable() for line in result.output.replace("\t", " ").splitlines()), result.output
        after = {name: kind for name, kind in everything(evil_store).items() if not name.startswith(home.name)}
        written = {name for name in after if after[name] != before.get(name)}
        assert all(name.startswith("reports") for name in written), written
