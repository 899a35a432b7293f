"""Which records are checked, by which rules, and what came of it."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from repro.errors import UserError
from repro.record import RunRecord
from repro.report import evidence
from repro.report.markdown import plural
from repro.spec import ledger, withdrawn
from repro.suite.verifying import finals, measuring, naming, tables
from repro.suite.verifying.rules import Broken, Rule, Subject

#: rule -> what holds where it is kept; these are of files, the others of records
FILE_RULES = {
    "readable": "a record can be read: its schema is known, its keys are all there and of their types",
    "ledgers": "a ledger's content is what its name says",
    "withdrawn": "the list of withdrawn records can be read",
    "tables": "the committed tables are those that the evidence gives",
    "pages": "the committed pages are those that the evidence gives",
}
RULES: tuple[Rule, ...] = (*naming.RULES, *measuring.RULES, *finals.RULES)

Found = tuple[Path, str]  # a record's file, and what place it is: evidence, run, file


@dataclass
class Verified:
    """What a check came to: how many records by which rules, what is broken, and what could not be looked at."""

    records: int = 0
    rules: tuple[str, ...] = ()
    broken: list[Broken] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """The last line: `N records, M rules, all hold`, or how many are broken in how many places."""
        head = f"{plural(self.records, 'record')}, {plural(len(self.rules), 'rule')}, "
        if not self.broken:
            return head + "all hold"
        return f"{head}{len({b.rule for b in self.broken})} broken in {plural(len(self.broken), 'place')}"

    def plain(self) -> dict[str, Any]:
        """Return it as plain values, for JSON."""
        says = FILE_RULES | {rule.name: rule.says for rule in RULES}
        return {
            "records": self.records, "holds": not self.broken, "rules": {name: says[name] for name in self.rules},
            "broken": [asdict(broken) for broken in self.broken], "notes": self.notes,
        }  # fmt: skip


def verify(
    paths: Sequence[Path], reports_dir: Path, home: Path, *, runs: bool = False, pages: bool = False
) -> Verified:
    """Check the records of `paths`, else the committed evidence with its tables, with `runs` this machine's as well.

    `pages` draws every page again and compares it. Raises UserError for a path that is not there or holds no record,
    and for a specification that cannot be read.
    """
    found = [each for path in paths for each in _below(path)]
    if not paths:
        if not reports_dir.is_dir():
            raise UserError(f"{reports_dir}: no such folder of evidence; run from the repository or name its reports/")
        found += [(path, "evidence") for path in sorted(reports_dir.glob("*/evidence/*.json"))]
    if runs:
        found += [(path, "run") for path in sorted(home.glob("runs/*/record*.json"))]
    done = Verified(rules=("readable", "ledgers", *(rule.name for rule in RULES)))
    ledgers = _ledgers(reports_dir, done)
    struck = _withdrawn(reports_dir, done)
    away = bool(paths) and not (reports_dir / "ledger").is_dir()  # as where a record is looked at alone
    checked = {each: _check(*each, None if away else ledgers, done) for each in dict.fromkeys(found)}
    kept = [record for record in checked.values() if record is not None]
    if away and any(record.profile == "full" for record in kept):
        done.notes.append(f"{reports_dir / 'ledger'}: no folder of ledgers; the names of ledgers were not looked up")
    if not paths:
        if struck is not None:
            done.notes += _unmatched(struck, kept, reports_dir / withdrawn.FILE)
        read = all(record is not None for (_, place), record in checked.items() if place == "evidence")
        readable = read and ledgers is not None and struck is not None
        _compare(reports_dir, pages, done, whole=readable)
    return done


def _below(path: Path) -> Iterator[Found]:
    """Yield the records of a file, or of a folder: of reports, of evidence, of state, of a run, a bundle."""
    if path.is_file():
        yield path, _place(path)
        return
    if not path.is_dir():
        raise UserError(f"{path}: is not there; name a record, or a folder of records")
    runs = ("runs/*/record*.json", "*/record*.json", "record*.json")
    for pattern in ("*/evidence/*.json", "evidence/*.json", *runs, "*.json"):
        if some := [each for each in sorted(path.glob(pattern)) if each.name != "bundle.json"]:
            yield from ((each, _place(each)) for each in some)
            return
    raise UserError(f"{path}: holds no record; name one, or a folder of evidence, of runs or of a bundle")


def _place(path: Path) -> str:
    """Return what a file's folders say that it is."""
    folders = path.absolute().parents
    if folders[0].name == "evidence":
        return "evidence"
    return "run" if len(folders) > 1 and folders[1].name == "runs" else "file"


def _ledgers(reports_dir: Path, done: Verified) -> frozenset[str] | None:
    try:
        return frozenset(ledger.read(reports_dir / "ledger"))
    except UserError as error:
        done.broken.append(_refused("ledgers", reports_dir / "ledger", error))
        return None


def _withdrawn(reports_dir: Path, done: Verified) -> withdrawn.Withdrawn | None:
    """Read the list of withdrawn records, None where it cannot be read; a rule only where there is one."""
    if not os.path.lexists(reports_dir / withdrawn.FILE):
        return withdrawn.NONE
    done.rules = (*done.rules, "withdrawn")
    try:
        return withdrawn.of(reports_dir)
    except UserError as error:
        done.broken.append(_refused("withdrawn", reports_dir / withdrawn.FILE, error))
        return None


def _unmatched(struck: withdrawn.Withdrawn, records: Sequence[RunRecord], path: Path) -> Iterator[str]:
    """Yield a note for each entry that holds for no record: perhaps a misspelt commit, perhaps another machine's."""
    for number, entry in enumerate(struck.withdrawn):
        if not any(entry.holds(withdrawn.Made.of(record)) for record in records):
            yield f"{path}: withdrawn[{number}]: holds for none of the {plural(len(records), 'record')} here"


def _check(path: Path, place: str, ledgers: frozenset[str] | None, done: Verified) -> RunRecord | None:
    """Check one file by every rule; return its record, None where it cannot be read."""
    done.records += 1
    try:
        data = path.read_bytes()
        record = evidence.check(RunRecord.from_bytes(data, str(path)), str(path))
    except UserError as error:
        done.broken.append(_refused("readable", path, error))
        return None
    except OSError as error:
        done.broken.append(Broken(str(path), "", "readable", str(error.strerror or error)))
        return None
    subject = Subject(record, data, path, place, ledgers)
    for rule in RULES:
        done.broken += [Broken(str(path), key, rule.name, text) for key, text in rule.broken(subject)]
    return record


def _compare(reports_dir: Path, pages: bool, done: Verified, whole: bool) -> None:
    """Compare tables, or all pages, with what the evidence gives; needs every record and ledger."""
    rule = "pages" if pages else "tables"
    if not whole:
        done.notes.append(f"{rule} not compared: they rest on all records and ledgers, and some cannot be read")
        return
    done.rules = (*done.rules, rule)
    differing = tables.pages(reports_dir) if pages else tables.tables(reports_dir)
    done.broken += [Broken(str(path), "", rule, text) for path, text in differing]


def _refused(rule: str, path: Path, error: UserError) -> Broken:
    """Return what loading refused: its sentence names the file first, a ledger's its own."""
    file, _, text = str(error).partition(": ")
    return Broken(file, "", rule, text) if text and Path(file).name else Broken(str(path), "", rule, str(error))
