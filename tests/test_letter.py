"""The note to a report's authors: complete, numbered, neutral, plain, and without anything left to fill in."""

import re
from pathlib import Path

import pytest
from command_line import repro
from golden_demo import demo, read_golden

from repro.report import tables
from repro.report.letter import WIDTH, letter
from repro.spec.loading import load_all

REPORTS = load_all(Path(__file__).parents[1] / "experiments")


@pytest.fixture(params=REPORTS.values(), ids=REPORTS)
def note(request):
    report = request.param
    return report, letter(report, tables.rows({report.id: report}, []))


def flat(text):
    return " ".join(text.replace("`", "").split())


def test_all_that_was_assumed_found_and_changed_is_in_it(note):
    report, text = note[0], flat(note[1])
    for author in report.source.authors:
        assert author in text
    for said in (*report.assumed.values(), *(f.text for f in report.findings), *(d.why for d in report.deviations)):
        assert flat(said) in text
    for claim in report.claims:
        if claim.kind == "not_testable":
            assert flat(claim.text).rstrip(".") in text
            assert flat(claim.why) in text
        if claim.headline:
            assert f"{claim.id} (" in text


def test_questions_are_numbered_through(note):
    report, text = note
    numbers = [int(n) for n in re.findall(r"^(\d+)\. ", text, re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= len(report.assumed)


def test_it_asks_for_seed_split_weights_and_log(note):
    asked = note[1].partition("What would help us most")[2]
    assert all(word in asked for word in ("seeds", "split", "weights", "log"))


def test_it_is_plain_neutral_and_finished(note):
    text = note[1]
    assert not re.search(r"TODO|TBD|[:=(] ?None[,;)]|\bnan\b|[{}]|`|\*\*|<[a-z]", text)
    assert not re.search(r"\b(cheat|mislead|dishonest|manipulat|fabricat|careless|wrongly|deliberate)", text, re.I)
    assert all(len(line) <= WIDTH or " " not in line.strip() for line in text.splitlines())
    assert text.isprintable() or set(c for c in text if not c.isprintable()) == {"\n"}


def test_runs_so_far_with_their_number():
    records, ledgers = read_golden()
    report = demo()
    rows = tables.rows({report.id: report}, records.values(), ledgers)
    text = flat(letter(report, rows))
    for row in rows:
        if row.headline and row.runs and row.ours is not None:
            assert f"n = {row.n}: {row.verdict.word}" in text
    assert "No full-protocol run" in flat(letter(report, tables.rows({report.id: report}, [])))


def test_the_command(place):
    text = repro("report", "--letter", "tiny")
    assert text.startswith("To: A. Tester")
    assert "Dear A. Tester," in text
    assert not (place / "reports").exists()
    assert "did you mean 'tiny'" in repro("report", "--letter", "tinny", code=2)
    assert "leave the other options out" in repro("report", "--letter", "tiny", "--profile", "quick", code=2)
