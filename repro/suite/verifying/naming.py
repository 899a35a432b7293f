"""Rules of what names a record: its form, its place, and every hash in it, computed again."""

import hashlib
import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from repro.record import FULL_TEST, FULL_TRAIN, MAX_BYTES, SCHEMA
from repro.spec.identity import PROFILES, canonical, recipe_hash, run_key
from repro.spec.recipe import Recipe
from repro.suite.verifying.rules import Places, Rule, Subject


def _once(subject: Subject) -> Places:
    twice: list[str] = []

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in found]
        twice.extend(sorted({name for name in names if names.count(name) > 1}))
        return dict(found)

    plain = json.loads(subject.data, object_pairs_hook=pairs)
    for name in twice:
        yield name, "is there more than once; expected each key once"
    if not twice and plain["schema"] == SCHEMA and subject.record.to_bytes() != subject.data:
        yield "", "is not written as records are (sorted keys, a key a line)"


def _size(subject: Subject) -> Places:
    if len(subject.data) > MAX_BYTES:
        yield "", f"{len(subject.data):,} bytes; expected at most {MAX_BYTES:,}"


def _place(subject: Subject) -> Places:
    record, path = subject.record, subject.path
    if subject.place == "evidence":
        stem = re.escape(record.file_name.removesuffix(".json"))
        if not re.fullmatch(rf"{stem}(-[0-9]+)?\.json", path.name):
            yield "", f"expected the name {record.file_name}"
        if path.absolute().parent.parent.name != record.report:
            yield "report", f"{record.report}, in the folder of {path.absolute().parent.parent.name}"
    elif subject.place == "run" and path.absolute().parent.name != record.run_key:
        yield "run_key", f"{record.run_key}, in the folder of run {path.absolute().parent.name}"


def _counts(subject: Subject) -> Places:
    if subject.place == "evidence" and not subject.record.counts:
        yield "", "does not count (full data, full profile, all epochs of its budget), and evidence does"


def _recipe(subject: Subject) -> Places:
    record = subject.record
    try:
        recipe = Recipe.model_validate_json(json.dumps(record.recipe))
    except ValueError as error:
        yield "recipe", f"not a recipe that this version reads ({str(error).splitlines()[1].strip()})"
    else:
        if (sha := recipe_hash(recipe)) != record.recipe_hash:
            yield "recipe_hash", f"{record.recipe_hash[:12]}, and the recipe's is {sha[:12]}"
        elif hashlib.sha256(canonical(record.recipe).encode()).hexdigest() != record.recipe_hash:
            yield "recipe", "names values that equal their defaults"


def _key(subject: Subject) -> Places:
    r = subject.record
    key = run_key(r.report, r.recipe_hash, r.seed, r.fold, f"{r.data['train']}:{r.data['test']}", r.profile)
    if key != r.run_key:
        yield "run_key", f"{r.run_key}, and report, recipe, seed, fold, data and profile make {key}"


def _data(subject: Subject) -> Places:
    record = subject.record
    if record.profile not in PROFILES:
        yield "profile", f"{record.profile!r}; expected one of {', '.join(PROFILES)}"
        return
    for split, expected in _prints(record.profile).items():
        if record.data.get(split) != expected:
            yield f"data.{split}", f"{str(record.data.get(split))[:12]}; expected {expected[:12]}"
    if record.data.get("order") not in ("official", "unknown"):
        yield "data.order", f"{record.data.get('order')!r}; expected official or unknown"
    for protocol, values in record.finals.items():
        if "official_pct" in values and record.data.get("order") != "official":
            yield f"finals.{protocol}.official_pct", "is there without the official order of the test images"


def _prints(profile: str) -> dict[str, str]:
    if profile != "smoke":
        return {"train": FULL_TRAIN, "test": FULL_TEST}
    from repro.data import sample

    loaded = sample.load()
    return {"train": loaded.train, "test": loaded.test}


def _env(subject: Subject) -> Places:
    for key in ("device", "torch", "python", "commit"):
        if not isinstance(value := subject.record.env.get(key), str) or not value:
            yield f"env.{key}", f"{value!r}; expected a text"


def _ledger(subject: Subject) -> Places:
    # Only a full run writes down what is claimed before it starts.
    record, known = subject.record, subject.ledgers
    if record.profile == "full" and known is not None and record.ledger not in known:
        yield "ledger", f"{record.ledger or 'none'}; expected one of the folder of ledgers"


def _started(subject: Subject) -> Places:
    before, earlier = "started", _time(subject.record.started)
    if earlier is None:
        yield "started", f"{subject.record.started!r}; expected an ISO 8601 time with its zone"
    for key, text in _resumptions(subject):
        if (time := _time(text)) is None:
            yield key, f"{text!r}; expected an ISO 8601 time with its zone"
        elif earlier is not None and time < earlier:
            yield key, f"{text}; expected a time after {before}"
        before, earlier = key, time or earlier


def _resumptions(subject: Subject) -> Iterator[tuple[str, str]]:
    for number, start in enumerate(subject.record.resumed):
        yield f"resumed.{number}.started", start["started"]


def _time(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo else None


RULES = (
    Rule("once", "every key is there once, and the file is the record's canonical bytes", _once),
    Rule("size", f"a record is at most {MAX_BYTES // 1024} KiB", _size),
    Rule("place", "the file's name and folder are those that the record gives", _place),
    Rule("counts", "committed evidence counts", _counts),
    Rule("recipe", "the recipe is a valid one, and its hash is the recorded one", _recipe),
    Rule("key", "the run's key is the hash of its parts", _key),
    Rule("data", "the fingerprints are those of the profile's images", _data),
    Rule("environment", "device, versions and commit are named", _env),
    Rule("ledger", "the ledger that a full run names is there", _ledger),
    Rule("started", "starts are times with a zone, one after another", _started),
)
