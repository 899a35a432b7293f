"""Where a published number stands beside the text, and what a report says of its runs: file, ladder, page, letter."""

import json

import pytest

from repro.errors import UserError
from repro.judge import printed
from repro.judge.claims import judge_all
from repro.judge.ladder import ladders, same
from repro.judge.rows import Row
from repro.report import render
from repro.report.ladders import checklist_table, glance_checklist, state_words
from repro.report.letter import letter
from repro.spec import ledger
from repro.spec.loading import load_all, parse
from repro.spec.scaffold import scaffold
from repro.spec.sourcing import ITEMS, SOURCES, Checklist, source_of

REPORTS = load_all()


def text(**blocks: str) -> str:
    """A new report's YAML with blocks in place of the empty ones."""
    found = scaffold("smith2025", "A title")
    for name, block in blocks.items():
        for empty in (f"\n{name}: []\n", f"\n{name}: {{}}\n"):
            found = found.replace(empty, f"\n{name}:\n{block}\n")
    return found


def row(published: float | None, decimals: int, rounding: str = "nearest") -> Row:
    return Row("smith2025", "a", "point", False, "Table 1", "not run", published=published, decimals=decimals,
               rounding=rounding)  # fmt: skip


@pytest.mark.parametrize(
    ("published", "decimals", "value", "digits", "agrees"),
    [
        (88.9, 1, 88.86, 2, True),  # prints as 88.9
        (88.9, 1, 88.84, 2, False),
        (90.47, 2, 89.47265625, 8, False),
        (0.423, 3, 0.4239, 4, False),  # prints as 0.424
        (85.1, 1, 85.28, 2, False),
        (87.08, 2, 87, 0, True),  # to the digits that both have
        (4_813_298, 0, 4_815_940, 0, False),
    ],
)
def test_a_number_agrees_where_it_prints_as_the_published_one(published, decimals, value, digits, agrees):
    assert same(row(published, decimals), value, digits) is agrees


@pytest.mark.parametrize("decimals", [0, 1, 2, 3])
def test_a_number_prints_as_python_prints_it(decimals):
    """Rounded as by Python's own formatting, cut off as by an integer division; exact halves may go either way."""
    for i in range(2_000):
        found = i * 0.0137 + 0.0012345  # on no boundary
        rounded, cut = float(f"{found:.{decimals}f}"), int(found * 10**decimals) / 10**decimals
        assert printed.prints_as(rounded, decimals, "nearest", found)
        assert printed.prints_as(cut, decimals, "floor", found)
        assert printed.prints_as(rounded, decimals, "floor", found) == (rounded == cut)
        for value, rounding in ((rounded, "nearest"), (cut, "floor")):
            low, high = printed.ends(value, decimals, rounding)
            assert low <= found <= high
            assert (low + high) / 2 == pytest.approx(printed.middle(value, decimals, rounding))


def test_a_number_that_was_cut_off_is_met_by_all_it_may_stand_for():
    cut = row(91, 0, "floor")
    assert [same(cut, value, 2) for value in (90.99, 91.0, 91.99, 92.0)] == [False, True, True, False]
    assert same(row(None, 0), 1.0, 0) is None


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("Table 1", "text"), ("Figure 3, trace of the matrix", "text"), ("drawn in Figure 4", "text"),
        ("README of the code repository", "readme"), ("Notebook log, epoch 9", "notebook"),
        ("Notebook output, test cell", "notebook"), ("Log model7.out in the code repository", "log"),
        ("Result file of model 1 (100 epochs) in the code repository", "log"),
    ],
)  # fmt: skip
def test_a_place_names_its_source(place, source):
    assert source_of(place) == source


def test_every_place_outside_the_text_of_the_five_reports_is_known_as_such():
    for report in REPORTS.values():
        for claim in report.claims:
            for part in claim.where.split(";"):
                outside = any(w in part for w in ("repository", "Notebook", "notebook", "README"))
                assert (source_of(part) != "text") == outside, (report.id, claim.id, part)


def test_the_five_reports_have_whole_checklists_and_evidence_for_every_trained_headline():
    for report in REPORTS.values():
        assert set(report.checklist.looked_up()) == set(ITEMS), report.id
        for ladder in ladders(report, judge_all(report, [])):
            if ladder.row.headline:
                assert any(step.source != "text" for step in ladder.steps), (report.id, ladder.row.claim)


def test_a_ladder_holds_each_claim_once_and_climbs_from_the_text():
    for report in REPORTS.values():
        rows = judge_all(report, [])
        found = ladders(report, rows)
        assert sorted(row.claim for ladder in found for row in ladder.rows) == sorted(row.claim for row in rows)
        for ladder in found:
            order = [SOURCES.index(step.source) for step in ladder.steps]
            assert order == sorted(order)
            assert ladder.steps
            assert len({(row.kind, row.metric, row.published) for row in ladder.rows}) == 1


def test_the_readings_of_one_number_share_its_ladder():
    report = REPORTS["shamooun2022"]
    (ladder,) = [each for each in ladders(report, judge_all(report, [])) if each.row.claim == "test-acc"]
    assert {row.claim for row in ladder.rows} >= {"test-acc", "test-acc-full", "test-acc-written", "test-acc-8020"}
    assert [(step.source, step.value, step.agrees) for step in ladder.steps] == [
        ("text", 87.5, True), ("readme", 90.6, False), ("code", 87.5, True),
    ]  # fmt: skip


def test_the_published_matrix_agrees_with_the_published_accuracy_and_the_notebooks_does_not():
    report = REPORTS["chiu2023"]
    found = {ladder.row.claim: ladder for ladder in ladders(report, judge_all(report, []))}
    assert [(s.source, s.value, s.agrees) for s in found["fold-test-acc"].steps if s.value] == [
        ("text", 90.47, True), ("notebook", 89.47265625, False), ("notebook", 89.37, False),
    ]  # fmt: skip


def test_evidence_and_checklist_are_in_no_key_and_no_ledger():
    plain = REPORTS["chiu2023"]
    bare = plain.model_copy(update={"evidence": (), "checklist": Checklist()})
    assert ledger.claims([plain]) == ledger.claims([bare])
    assert plain.experiments == bare.experiments


@pytest.mark.parametrize(
    ("block", "value", "said"),
    [
        ("evidence", "  - {claim: test-ac, source: log, says: x}", "no claim 'test-ac' in this file; did you mean"),
        ("evidence", "  - {claim: test-acc, source: paper, says: x}", "must be 'readme', 'log', 'notebook' or 'code'"),
        ("evidence", "  - {claim: test-acc, source: log, says: x, value: 1.5}", "value and decimals belong together"),
        ("evidence", "  - {claim: test-acc, source: log, says: x, value: 1.55, decimals: 1}", "give as many as"),
        ("checklist", "  sedes: {state: nowhere, says: x}", "did you mean 'seeds'?"),
        ("checklist", "  seeds: {state: unknown, says: x}", "must be 'stated', 'code_only' or 'nowhere'"),
        ("checklist", "  seeds: {state: nowhere, says: x, differs: y}", "leave it out where nowhere"),
    ],
)
def test_a_mistake_is_one_sentence_with_line_and_key(block, value, said):
    with pytest.raises(UserError) as caught:
        parse(text(**{block: value}), "smith2025.yaml")
    message = str(caught.value)
    assert message.startswith("smith2025.yaml:")
    assert f": {block}" in message
    assert said in message
    assert "\n" not in message


def test_a_report_without_evidence_and_checklist_is_valid_and_shows_none(tmp_path):
    report = parse(text(), "smith2025.yaml")
    assert checklist_table(report) == ""
    assert glance_checklist({"smith2025": report}) == ""
    render.render({"smith2025": report}, [], {}, tmp_path)
    page = (tmp_path / "smith2025" / "report.md").read_text()
    assert "What it reports of its runs" not in page
    assert "What each number rests on" in page


def test_what_was_not_looked_up_is_said(tmp_path):
    report = parse(text(checklist="  seeds: {state: nowhere, says: None is set.}"), "smith2025.yaml")
    lines = checklist_table(report).splitlines()
    assert len(lines) == len(ITEMS) + 2
    assert [line for line in lines if line.startswith("| seeds ")] == ["| seeds | nowhere | None is set. |"]
    assert sum("not looked up" in line for line in lines) == len(ITEMS) - 1
    assert state_words(None) == "–"


def test_page_overview_and_json_show_them(tmp_path):
    render.render(REPORTS, [], {}, tmp_path)
    page = (tmp_path / "shamooun2022" / "report.md").read_text()
    assert "| README | For other weights, put there later, on normalised images. | 90.6 % | no |" in page
    assert "| augmentation | stated, differs |" in page
    assert "| seeds | nowhere | code only | code only | nowhere | nowhere |" in (tmp_path / "README.md").read_text()
    told = json.loads((tmp_path / "verdicts.json").read_text())["reports"]["shamooun2022"]["claims"]
    (claim,) = [claim for claim in told if claim["id"] == "test-acc"]
    assert [step["source"] for step in claim["evidence"]] == ["text", "readme", "code"]


def test_the_letter_asks_for_what_is_said_nowhere():
    report = REPORTS["shamooun2022"]
    note = " ".join(letter(report, judge_all(report, [])).split())
    assert "hardware, found in neither text nor code" in note
    other = report.model_copy(update={"checklist": report.checklist.model_copy(update={"hardware": None})})
    assert "neither text nor code" not in letter(other, judge_all(other, []))


def test_hostile_words_stay_inert(tmp_path):
    words = '"<script>alert(1)</script> | `x` | **b**"'
    blocks = {
        "evidence": f"  - {{claim: test-acc, source: log, says: {words}}}",
        "checklist": f"  seeds: {{state: stated, says: {words}, differs: {words}}}",
    }
    report = parse(text(**blocks), "smith2025.yaml")
    render.render({"smith2025": report}, [], {}, tmp_path)
    for name in ("report.md", "report.html"):
        assert "<script>alert" not in (tmp_path / "smith2025" / name).read_text()
    table = checklist_table(report).splitlines()
    assert {line.replace("\\|", "").count("|") for line in table} == {4}
