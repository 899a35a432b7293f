"""Foreign files changed at random: accepted or refused in a sentence, never another error, never a write elsewhere.

How long: REPRO_FAULTS, about 15 seconds each without it, a minute with `full`, ten with `long`; not a number of cases,
since these differ a hundredfold. Each prints how many cases it had. `full` and `long` draw anew each time.
"""

import copy
import gzip
import io
import json
import os
import shutil
import struct
import subprocess
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from fuzz_coverage import build_record, bundle_of, reads_data, reads_spec, said, takes_bundle
from holding import FOREIGN_BUNDLES, FOREIGN_DATA, FOREIGN_YAML, MODE, trial, trials
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from repro.errors import UserError
from repro.spec.loading import checked

ROOT = Path(__file__).parents[2]
SECONDS = trials(15, 60, 600)
FIRST = 20250715 if MODE == "default" else int(time.time())
WORDS = st.sampled_from(
    ["", "../x", "/etc/passwd", "a\0b", "x" * 300, "<script>", "]()|`", "\ud800", "\x1b[2J", "\u202e", "NaN", "1e999",
     "nul", "a\\b", "⅓", "-", "last", "test/acc_pct", "first", "at_epoch:99999", "../../../tmp/x", "{}", "__class__",
     "1:1:1"]
)  # fmt: skip
NUMBERS = st.sampled_from(
    [0, -1, 1, 2**31, 2**63, 10**18, 10**400, -(10**400), 0.0, -0.0, 1e308, -1e308, 5e-324, float("nan"), float("inf"),
     float("-inf"), 49_999, 50_001, 1_000_000, True, False]
)  # fmt: skip
LEAVES = st.none() | WORDS | NUMBERS
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3), max_leaves=6
)

#: archives with a name twice are among what is tried
pytestmark = pytest.mark.filterwarnings("ignore:Duplicate name")


def places(tree):
    """Yield every place of nested mappings and lists: the container and the key or index in it."""
    for key in list(tree) if isinstance(tree, dict) else range(len(tree)):
        yield tree, key
        if isinstance(tree[key], dict | list):
            yield from places(tree[key])


@st.composite
def mutated(draw, tree):
    """Draw a copy of nested mappings and lists with some places dropped, renamed, doubled, swapped or replaced."""
    tree = copy.deepcopy(tree)
    for _ in range(draw(st.integers(1, 4))):
        every = list(places(tree))
        if not every:
            break
        holder, key = every[draw(st.integers(0, len(every) - 1))]
        mutate(draw, holder, key, every)
    return tree


def mutate(draw, holder, key, every):
    """Change one place."""
    how = draw(st.sampled_from(["drop", "rename", "value", "insert", "swap", "retype", "splice"]))
    if how == "drop":
        del holder[key]
    elif how == "rename" and isinstance(holder, dict):
        holder[draw(WORDS)] = holder.pop(key)
    elif how == "insert" and isinstance(holder, list):
        holder.insert(key, draw(VALUES | st.just(copy.deepcopy(holder[key]))))
    elif how == "insert":
        holder[draw(WORDS)] = draw(VALUES)
    elif how == "swap":
        other, place = every[draw(st.integers(0, len(every) - 1))]
        if (isinstance(other, dict) and place in other) or (isinstance(other, list) and place < len(other)):
            holder[key] = copy.deepcopy(other[place])
    elif how == "retype":
        value = holder[key]
        holder[key] = draw(st.sampled_from([[value], {"name": value}, str(value)[:300], None, [[value]], True]))
    elif how == "splice" and isinstance(holder[key], str):
        cut = draw(st.integers(0, len(holder[key])))
        holder[key] = holder[key][:cut] + draw(WORDS) + holder[key][cut:]
    else:
        holder[key] = draw(VALUES)


@st.composite
def damaged(draw, data):
    """Draw bytes with some flipped, cut, doubled, inserted or overwritten."""
    data = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        how = draw(st.sampled_from(["flip", "cut", "double", "insert", "number"]))
        if how == "flip" and data:
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif how == "cut":
            del data[at : at + draw(st.sampled_from([1, 4, 100, 10**9]))]
        elif how == "double":
            data[at:at] = data[at : at + draw(st.integers(1, 200))]
        elif how == "insert":
            data[at:at] = draw(st.binary(max_size=8) | WORDS.map(lambda word: word.encode("utf-8", "surrogatepass")))
        else:
            data[at : at + 4] = struct.pack("<I", draw(st.sampled_from([0, 1, 2**31 - 1, 2**31, 2**32 - 1])))
    return bytes(data)


def for_a_while(promise, name, strategy, check, seconds=SECONDS):
    """Give a check cases until the time is over, in groups that are shrunk each on its own; print how many."""
    began, cases, accepted, group = time.monotonic(), 0, 0, 0
    with trial(promise, name) as detail:
        while time.monotonic() < began + seconds:

            @seed(FIRST + group)
            @settings(
                max_examples=25, deadline=None, database=None, phases=[Phase.generate, Phase.shrink],
                suppress_health_check=list(HealthCheck),
            )  # fmt: skip
            @given(strategy)
            def one(case):
                nonlocal cases, accepted
                if time.monotonic() < began + seconds:
                    cases += 1
                    accepted += bool(check(case))

            one()
            group += 1
        detail.update(cases=cases, accepted=accepted, first_seed=FIRST)
    print(f"\n{name}: {cases:,} cases in {time.monotonic() - began:.0f} s, {accepted:,} accepted, first seed {FIRST}")
    assert cases
    return cases, accepted


@pytest.fixture
def empty(tmp_path):
    """Return `empty()`, an empty folder, the same one each time."""

    def make():
        shutil.rmtree(tmp_path / "case", ignore_errors=True)
        (tmp_path / "case").mkdir()
        return tmp_path / "case"

    return make


@pytest.fixture(scope="module")
def reports():
    """The five reports' YAMLs as plain values."""
    return [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "experiments").glob("*.yaml"))]


def test_reports_as_values(reports):
    assert len(reports) == 5

    def check(tree):
        try:
            checked(tree, lines_of(tree), "report.yaml")
        except UserError as error:
            return said(error)
        return True

    for report in reports:  # which are sound themselves
        checked(copy.deepcopy(report), lines_of(report), "report.yaml")
    for_a_while(FOREIGN_YAML, "reports' values", st.sampled_from(reports).flatmap(mutated), check)


def lines_of(tree, path=()):
    """A line for each key path, as the file's reader notes them."""
    found = {path: 1}
    if isinstance(tree, dict | list):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            found |= lines_of(value, (*path, key))
    return found


def test_reports_as_text(reports, empty):
    dumped = [yaml.safe_dump(report, allow_unicode=True, sort_keys=False, width=110) for report in reports]
    real = [path.read_text() for path in sorted((ROOT / "experiments").glob("*.yaml"))]
    short = [short_of(report) for report in reports]
    text = st.sampled_from([*short * 3, *real, *dumped])
    changed = text.flatmap(spliced) | st.sampled_from(short).flatmap(lambda t: mutated(yaml.safe_load(t))).map(as_yaml)

    def check(text):
        return reads_spec(text.encode("utf-8", "surrogatepass"), empty())

    for_a_while(FOREIGN_YAML, "reports' text", changed, check)


def short_of(report):
    """A report's YAML without its claims and what rests on them: quickly read."""
    kept = {key: value for key, value in report.items() if key in ("schema", "title", "source", "summary", "recipe")}
    arms = dict(list(report["experiments"].items())[:3])
    return yaml.safe_dump(
        {**kept, "id": "tiny", "experiments": arms, "claims": report["claims"][:1] * 0}, sort_keys=False
    )


def as_yaml(tree):
    """Text that YAML reads as these values, as far as it can: JSON is YAML but for what JSON cannot hold."""
    try:
        return yaml.safe_dump(tree, sort_keys=False)
    except ValueError:  # an integer of more digits than Python writes
        return "schema: 1"


@st.composite
def spliced(draw, text):
    """Draw a text with lines dropped, doubled, moved or indented, and words put in."""
    lines = text.split("\n")
    for _ in range(draw(st.integers(1, 4))):
        at, other = (draw(st.integers(0, len(lines) - 1)) for _ in range(2))
        how = draw(st.sampled_from(["drop", "double", "move", "indent", "word", "sign", "cut"]))
        if how == "drop" and len(lines) > 1:
            del lines[at]
        elif how == "double":
            lines.insert(at, lines[other])
        elif how == "move":
            lines[at], lines[other] = lines[other], lines[at]
        elif how == "indent":
            lines[at] = " " * draw(st.integers(0, 8)) + lines[at].lstrip()
        else:
            line, cut = lines[at], draw(st.integers(0, len(lines[at])))
            signs = st.sampled_from([":", "- ", "&a ", "*a", "!!python/name:os.system ", "[", "]", "{", "}", "|", ">",
                                     "'", '"', "\t", "#", "%YAML 9.9", "---", "...", "? ", "<<: ", "0x", "\r",
                                     "@"])  # fmt: skip
            put = draw(WORDS if how == "word" else signs if how == "sign" else st.just(""))
            lines[at] = line[:cut] + put + ("" if how == "cut" else line[cut:])
    return "\n".join(lines)


def test_bundles(empty):
    sound = build_record(epochs=2, windows=2, images=20).to_bytes()
    other = build_record(epochs=1, windows=1, images=20, seed=1, confusion={}).to_bytes()
    line = {"epoch": 1, "metrics": {"test/acc_pct": "0x1p3"}, "steps": {"step/loss_mean": ["0x1p0"]}, "time": 1}
    extras = {"journal.jsonl": json.dumps(line).encode() + b"\n", "probabilities.npz": b"PK"}
    record = (mutated(json.loads(sound)).map(lambda tree: json.dumps(tree).encode())) | damaged(sound)
    changes = st.tuples(
        record | st.just(sound), st.just(None) | bundle_lists(sound, other), st.sampled_from(
            ["", "link", "missing", "pipe", "cut", "folder", "home link"]
        ), st.just(None) | damaged(extras["journal.jsonl"]),
    )  # fmt: skip

    def check(case):
        first, listed, how, journal = case
        folder = empty()
        extra = {**extras, **({"journal.jsonl": journal} if journal is not None else {})}
        try:
            listed = None if listed is None else json.dumps(listed).encode()
        except ValueError:
            listed = b"{}"
        bundle = bundle_of(folder / "bundle", [first, other], listed, extra)
        spoil(bundle, folder, how)
        (folder / "home").mkdir()
        if how == "home link":
            (folder / "outside").mkdir()
            (folder / "home" / "runs").mkdir()
            (folder / "home" / "runs" / json.loads(other)["run_key"]).symlink_to(folder / "outside")
        accepted = takes_bundle(bundle, folder / "home")
        assert how != "home link" or not any((folder / "outside").iterdir())  # no list may have named that record
        return accepted

    for_a_while(FOREIGN_BUNDLES, "bundles", changes, check)


def bundle_lists(*records):
    """Draw lists of members, some of whose names and checksums are other than they should be."""
    import hashlib

    members = [
        {"file": f"r{i}.json", "sha256": hashlib.sha256(data).hexdigest(), "extras": {}}
        for i, data in enumerate(records)
    ]
    return mutated({"schema": 1, "members": members})


def spoil(bundle, folder, how):
    """Put a link, a pipe, a folder or nothing in the place of a member, or cut it."""
    member = bundle / "r1.json"
    if how in ("link", "missing", "pipe", "folder"):
        (folder / "secret").write_bytes(member.read_bytes())
        member.unlink()
    if how == "link":
        member.symlink_to(folder / "secret")
    elif how == "pipe":
        os.mkfifo(member)
    elif how == "folder":
        member.mkdir()
    elif how == "cut":
        member.write_bytes(member.read_bytes()[:100])


@pytest.fixture(scope="module")
def standin():
    """Seventy images in the place of CIFAR-10 for this file's tests."""
    from data_standin import Standin

    with pytest.MonkeyPatch.context() as patch:
        yield Standin(patch)


@st.composite
def archives(draw, arrays):
    """Draw an .npz: members renamed, doubled or left out, headers rewritten, and the file's bytes damaged."""
    out = io.BytesIO()
    kind = draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]))
    with zipfile.ZipFile(out, "w", kind) as archive:
        for name, array in arrays.items():
            body = draw(
                st.just(array) | st.sampled_from([array[:1], array.astype(np.int64), array.T, array.astype("f4")])
            )
            data = io.BytesIO()
            np.save(data, body)
            data = data.getvalue()
            if draw(st.booleans()):
                data = draw(headers(data))
            name = draw(
                st.sampled_from([f"{name}.npy"] * 6 + ["../x.npy", "/etc/x.npy", f"{name}", "a\\b.npy", "x" * 300])
            )
            for _ in range(draw(st.sampled_from([1, 1, 1, 1, 0, 2]))):
                archive.writestr(name, data)
    return draw(st.just(out.getvalue()) | damaged(out.getvalue()))


@st.composite
def headers(draw, data):
    """Draw an .npy whose header says something else of type, order, shape, length or version."""
    shape = draw(st.sampled_from(["(10**12,)", "(50, 32, 32, 3)", "(-1,)", "(99999999999999,)", "((((((1,),),),),),)",
                                  "()", "(0,)", "1", "(2.5,)", "('a',)", "(True,)", "(50,)"]))  # fmt: skip
    kind = draw(
        st.sampled_from(["'|u1'", "'O'", "'<i8'", "'|S1000000'", "[('a', 'O')]", "'<M8[ns]'", "3", "'zzz'", "'V0'"])
    )
    order = draw(st.sampled_from(["False", "True", "2"]))
    text = f"{{'descr': {kind}, 'fortran_order': {order}, 'shape': {shape}, }}"
    text = draw(st.sampled_from([text, text * 2, "(" * 3000, "{}", "__import__('os').mkdir('canary')", "\xff" * 40]))
    version = draw(st.sampled_from([(1, 0), (2, 0), (3, 0), (9, 9)]))
    packed = struct.pack("<H" if version[0] == 1 else "<I", draw(st.sampled_from([len(text), 0, 60_000, 10])))
    return b"\x93NUMPY" + bytes(version) + packed + text.encode("latin1") + data[128:]


def test_data(standin, empty):
    image = empty() / "images"
    png = sorted((standin.tree(image) / "train" / "airplane").iterdir())[0].read_bytes()
    tar = gzip.decompress(standin.archive(image / "x.tgz").read_bytes())
    order = io.BytesIO()
    np.save(order, np.random.default_rng(0).permutation(20))
    every = [
        archives(standin.arrays).map(lambda data: b"n" + data),
        damaged(tar).map(lambda data: b"t" + gzip.compress(data, 1)),
        damaged(gzip.compress(tar)).map(lambda data: b"t" + data),
        damaged(standin.blobs["test_batch"]).map(lambda data: b"p" + data),
        damaged(png).map(lambda data: b"i" + data),
        (damaged(order.getvalue()) | headers(order.getvalue())).map(lambda data: b"o" + data),
    ]
    for_a_while(FOREIGN_DATA, "data", st.one_of(every), lambda data: reads_data(standin, data, empty()))


def test_the_watch_sees_what_leaves_a_folder(tmp_path):
    from fuzz_coverage import watched

    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path / "out")
    with watched(tmp_path / "in"):
        (tmp_path / "in" / "x").write_text("x")
    for leave in (
        lambda: (tmp_path / "y").write_text("y"), lambda: (tmp_path / "in" / "link").write_text("z"),
        lambda: (tmp_path / "in" / "x").rename(tmp_path / "x"), lambda: subprocess.run(["true"]),
        lambda: (tmp_path / "z").mkdir(), lambda: os.system("true"),
    ):  # fmt: skip
        with pytest.raises(AssertionError), watched(tmp_path / "in"):
            leave()
