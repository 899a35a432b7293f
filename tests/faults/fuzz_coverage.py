"""What reads foreign files, as functions of bytes, and a coverage-guided fuzzer of them.

    python -m tests.faults.fuzz_coverage spec|bundle|data --seconds N [--keep FOLDER]

needs Atheris: `pip install -e '.[fuzz]'`, on Linux x86-64. A file that ends in anything but acceptance
or a UserError, and any write outside the folder that was given, is kept as `crash-...`; `test_hostile.py` has the cases
found so.
"""

import argparse
import hashlib
import importlib
import importlib.util
import json
import os
import re
import shutil
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).parents[2]
for place in (ROOT, ROOT / "tests"):
    if str(place) not in sys.path:
        sys.path.insert(0, str(place))

#: what is watched while foreign bytes are read: everything that could leave the folder or run something
_RUNS = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect", "pickle.find_class"}
_CHANGES = {"os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.symlink", "os.link", "os.chmod", "os.truncate",
            "shutil.rmtree", "shutil.copyfile", "shutil.move"}  # fmt: skip
_watching = SimpleNamespace(inside=None, seen=[])


def _audit(event, arguments):
    if _watching.inside is None:
        return
    if event in _RUNS:
        _watching.seen.append(f"{event}{arguments!r}"[:300])
    elif event in _CHANGES or (event == "open" and _writes(arguments)):
        for path in arguments[: 2 if event in ("os.rename", "os.link", "shutil.move") else 1]:
            _inside(event, path, arguments[-1] if event in ("os.remove", "os.rmdir", "os.mkdir") else -1)


def _writes(arguments):
    _, mode, flags = arguments
    written = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    return bool(isinstance(flags, int) and flags & written) or bool(isinstance(mode, str) and set(mode) & set("wax+"))


def _inside(event, path, folder):
    if isinstance(path, int):
        return
    above = os.readlink(f"/proc/self/fd/{folder}") if isinstance(folder, int) and folder >= 0 else ""
    place = os.path.realpath(os.path.join(above, os.fsdecode(path)))
    own = place == _watching.inside or place.startswith(_watching.inside + os.sep)
    if not own and place != os.devnull and "__pycache__" not in place:
        _watching.seen.append(f"{event} {place}")


sys.addaudithook(_audit)


@contextmanager
def watched(folder):
    """Fail where what is inside writes, renames or removes anything outside a folder, or starts or unpickles anything.

    Links are followed, so that a link in the folder counts as the place that it leads to.
    """
    _watching.inside, _watching.seen = os.path.realpath(folder), []
    try:
        yield
    finally:
        _watching.inside = None
    assert not _watching.seen, _watching.seen


def build_record(**given):
    """Return a record of plausible numbers, as tests/conftest.py makes it; there is more than one conftest."""
    if "tests_conftest" not in sys.modules:
        spec = importlib.util.spec_from_file_location("tests_conftest", ROOT / "tests" / "conftest.py")
        sys.modules["tests_conftest"] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules["tests_conftest"].build_record(**given)


# --- what reads foreign files: accepted, or a UserError -----------------------------------------------------------


def reads_spec(data, folder):
    """Load a report's YAML; returns whether it was accepted."""
    from repro.errors import UserError
    from repro.spec.loading import load

    (folder / "tiny.yaml").write_bytes(data)
    with watched(folder):
        try:
            load(folder / "tiny.yaml")
        except UserError as error:
            return said(error)
    return True


def said(error):
    """Assert that a refusal is one printable line of some length; returns False, as for `accepted`."""
    text = str(error)
    assert text.strip(), "an empty sentence"
    assert text.isprintable(), repr(text[:200])
    assert len(text) <= 2100, len(text)
    return False


def bundle_of(folder, records, listed=None, extras=None):
    """Write records (bytes) as a bundle whose list has their checksums; `listed`: the list's own bytes instead."""
    folder.mkdir()
    members = []
    for number, data in enumerate(records):
        members.append({"file": f"r{number}.json", "sha256": hashlib.sha256(data).hexdigest(), "extras": {}})
        (folder / members[-1]["file"]).write_bytes(data)
    for name, data in (extras or {}).items():
        (folder / name).write_bytes(data)
        members[0]["extras"][name] = {"file": name, "sha256": hashlib.sha256(data).hexdigest()}
    plain = json.dumps({"schema": 1, "members": members}).encode()
    (folder / "bundle.json").write_bytes(plain if listed is None else listed)
    return folder


def takes_bundle(bundle, home):
    """Import a bundle, make of its records what MLflow and tables are given; returns whether it was accepted."""
    from repro.bundle import import_into
    from repro.errors import UserError

    before = sorted(home.rglob("*"))
    with watched(home):
        try:
            import_into(bundle, home)
        except UserError as error:
            said(error)
            assert sorted(home.rglob("*")) == before, "a bundle that is refused leaves nothing"
            return False
    for path in sorted((home / "runs").glob("*/record*.json")):
        uses(path.read_bytes())
    return True


def uses(data):
    """Make of a record's bytes what MLflow and the pages are given, as far as the record passes their doors."""
    from repro.errors import UserError
    from repro.record import RunRecord, check_sound
    from repro.report import data as tables
    from repro.report import evidence
    from repro.track import projection, summary

    try:
        record = evidence.check(RunRecord.from_bytes(data), "record")
        tables.csv_bytes(rows := tables.run_rows({}, [record], record.profile), tables.run_columns(rows)).decode()
        record.to_bytes()
        check_sound(record, "record")
    except UserError as error:
        return said(error)
    info = projection.RunInfo.of(record)
    projection.params(info), projection.tags(info), projection.datasets(info), projection.spec_yaml(info).encode()
    for entry in projection.entries_of(record):
        projection.points(entry, record.recipe["budget"]["epochs"])
    projection.finals(record), summary.shared_params([record, record]), list(summary.mean_finals([record, record]))
    for matrix in record.confusion.values():
        projection.per_class(matrix)
    return True


def takes_data(path, home):
    """Import CIFAR-10 from a path; returns whether it was accepted."""
    from repro.data import cifar10
    from repro.errors import UserError

    with watched(home):
        try:
            cifar10.import_from(path, home)
        except UserError as error:
            said(error)
            assert not (home / "data").exists(), "data that are refused leave nothing"
            return False
    cifar10.load(home)
    return True


def small_data():
    """Put seventy images in the place of CIFAR-10 for good, as `data_standin` does for a test; returns the stand-in."""
    from data_standin import Standin

    return Standin(SimpleNamespace(setattr=setattr, setitem=lambda mapping, key, value: mapping.update({key: value})))


def reads_data(standin, data, folder):
    """Take bytes for one of the forms of CIFAR-10, by their first byte; returns whether they were accepted."""
    form, data = data[:1], data[1:]
    if form == b"t":
        standin.publish_archive(data)  # or its checksum would be all that is ever looked at
        path = folder / "x.tar.gz"
    elif form == b"p":
        return reads_pickle(data, folder)
    elif form == b"i":
        path = standin.tree(folder / "images")
        first = sorted((path / "train" / "airplane").iterdir())[0]
        first.write_bytes(data)
        return takes_data(path, folder / "home")
    elif form == b"o":
        return reads_order(data, folder)
    else:
        path = folder / "x.npz"
    path.write_bytes(data)
    return takes_data(path, folder / "home")


def reads_pickle(data, folder):
    """Unpickle a batch as if its checksum were the published one."""
    from repro.data import official
    from repro.errors import UserError

    with watched(folder):
        try:
            x, y = official._batch(data, hashlib.md5(data).hexdigest(), "batch")
        except UserError as error:
            return said(error)
    assert (x.dtype, y.dtype, x.shape[1:]) == ("uint8", "uint8", (32, 32, 3))
    assert y.max(initial=0) <= 9
    return True


def reads_order(data, folder):
    """Read the official order of the test images."""
    from repro.data import cache
    from repro.errors import UserError

    path = cache.order_path(folder / "home")
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    with watched(folder):
        try:
            cache.known_order(folder / "home")
        except UserError as error:
            return said(error)
    return True


# --- the fuzzer ---------------------------------------------------------------------------------------------------


def seeds(target, folder):
    """Write what is sound, for the fuzzer to begin with."""
    import io

    import numpy as np
    from command_line import SMALL

    if target == "spec":
        found = [SMALL.encode()]
    elif target == "bundle":
        found = [b"r" + build_record(epochs=1, images=20, windows=1).to_bytes(), b"j" + b'{"epoch": 1}\n']
        found.append(b"l" + (bundle_of(folder / "b", []) / "bundle.json").read_bytes())
        shutil.rmtree(folder / "b")
    else:
        standin, out = small_data(), io.BytesIO()
        image = standin.tree(folder / "images") / "train" / "airplane"
        np.save(out, np.arange(20))
        found = [
            b"n" + standin.npz(folder / "x.npz").read_bytes(), b"t" + standin.archive(folder / "x.tgz").read_bytes(),
            b"p" + standin.blobs["test_batch"], b"i" + sorted(image.iterdir())[0].read_bytes(), b"o" + out.getvalue(),
        ]  # fmt: skip
        for path in (folder / "images", folder / "x.npz", folder / "x.tgz"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for number, data in enumerate(found):
        (folder / f"seed-{number}").write_bytes(data)


def words_of(path):
    """Write the words that specs and records are made of, as the fuzzer reads them; returns the file."""
    from repro.record import RunRecord
    from repro.spec.editor import author_schema

    plain = json.dumps(author_schema())
    found = {word for word in re.findall(r'"([a-z_0-9]{2,30})"', plain)} | set(RunRecord.__dataclass_fields__)
    path.write_text("".join(f'"{word}"\n' for word in sorted(found)))
    return path


def entry(target, scratch):
    """Return the function of bytes that the fuzzer calls; each call has an empty folder."""
    standin = small_data() if target == "data" else None

    def once(data):
        folder = Path(tempfile.mkdtemp(dir=scratch))
        try:
            if target == "spec":
                reads_spec(data, folder)
            elif target == "data":
                reads_data(standin, data, folder)
            else:
                _bundle(data, folder)
        finally:
            shutil.rmtree(folder)

    return once


def _bundle(data, folder):
    form, data = data[:1], data[1:]
    if form == b"l":
        bundle = bundle_of(folder / "bundle", [], listed=data)
    elif form == b"j":
        from repro.record import Journal

        (folder / "journal.jsonl").write_bytes(data)
        Journal(folder / "journal.jsonl").read()
        return
    else:
        bundle = bundle_of(folder / "bundle", [data or build_record(epochs=1, images=20).to_bytes()])
    takes_bundle(bundle, folder / "home")


def main():
    """Fuzz one target for some seconds; ends with 0, or where something was found with the fuzzer's code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("target", choices=("spec", "bundle", "data"))
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--keep", type=Path, help="a folder for inputs that lead further, and for crashes")
    options = parser.parse_args()
    import atheris

    keep = options.keep or Path(tempfile.mkdtemp())
    (keep / "corpus").mkdir(parents=True, exist_ok=True)
    followed = ["repro.spec", "repro.record", "repro.data", "repro.bundle", "yaml", "zipfile", "tarfile", "numpy.lib"]
    with atheris.instrument_imports(include=followed):
        for name in ("repro.spec.loading", "repro.bundle", "repro.data.cifar10", "tarfile", "repro.track.projection"):
            importlib.import_module(name)
    if not any((keep / "corpus").iterdir()):
        seeds(options.target, keep / "corpus")
    scratch = tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    words = [f"-max_total_time={options.seconds}", f"-artifact_prefix={keep}/", "-timeout=60", "-rss_limit_mb=6000",
             "-max_len=200000", "-print_final_stats=1", f"-dict={words_of(keep / 'words')}",
             str(keep / "corpus")]  # fmt: skip
    atheris.Setup([sys.argv[0], *words], entry(options.target, scratch))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
