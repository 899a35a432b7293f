"""Every table cell, figure, comparison, cause and number of the five reports is bound to claims, or to a reason.

`tests/numbers/<report>.txt` lists the numbers that a report's text prints.
"""

import re
from pathlib import Path

import pytest

from repro.spec.loading import load_all

ROOT = Path(__file__).parents[1]
REPORTS = load_all(ROOT / "experiments")
#: the figures and tables of each text; chiu2023 prints two tables as Table 1, shamooun2022 numbers none
SHOWN = {
    "chiu2023": ["Figure 1", "Figure 2", "Figure 3", "Table 1 (Results)", "Table 1 (Results After Improvements)"],
    "shamooun2022": ["3 Methodology, table", "4 Results, table", "5 Conclusions, table"]
    + [f"Figure {n}" for n in range(1, 6)],
    "geng2022": ["Figure 1", "Figure 2", "Figure 3", "Table 1", "Table 2"],
    "chen2024": [f"Figure {n}" for n in range(1, 5)] + ["Table 1"],
    "zhang2023": [f"Figure {n}" for n in range(1, 11)] + [f"Table {n}" for n in range(1, 5)],
}
#: claims and the values of published curves
AT_LEAST = {"chiu2023": 80, "shamooun2022": 90, "geng2022": 45, "chen2024": 20, "zhang2023": 55}
CURVE_POINTS = {"shamooun2022": 40, "geng2022": 50 + 49, "chen2024": 200}


@pytest.fixture(params=REPORTS.values(), ids=REPORTS)
def report(request):
    return request.param


def test_every_claim_answers_a_sentence(report):
    bound = {claim for sentence in report.sentences for claim in sentence.claims}
    assert {claim.id for claim in report.claims} - bound == set()


def test_every_finding_is_named_by_a_sentence(report):
    bound = {finding for sentence in report.sentences for finding in sentence.findings}
    assert {finding.id for finding in report.findings} - bound == set()


def test_every_figure_and_table_is_a_sentence(report):
    places = [sentence.where for sentence in report.sentences]
    missing = [shown for shown in SHOWN[report.id] if not any(_names(shown, place) for place in places)]
    assert missing == []


def test_every_printed_number_is_in_a_sentence_or_a_claim(report):
    lines = (ROOT / "tests" / "numbers" / f"{report.id}.txt").read_text().splitlines()
    numbers = [line for line in lines if line and not line.startswith("#")]
    assert len(numbers) == len(set(numbers)) >= 20
    said = " ".join(sentence.says for sentence in report.sentences)
    claimed = {f"{c.value:.{c.decimals}f}" for c in report.claims if getattr(c, "value", None) is not None}
    assert [number for number in numbers if number not in claimed and not _whole(number, said)] == []


def test_as_many_claims_as_the_report_makes(report):
    assert len(report.claims) >= AT_LEAST[report.id]
    points = sum(len(claim.values) for claim in report.claims if claim.kind == "trajectory")
    assert points >= CURVE_POINTS.get(report.id, 0)


def test_sentences_are_in_our_words_and_short(report):
    for sentence in report.sentences:
        assert len(sentence.says) <= 400, sentence.says


def _names(shown, place):
    return re.search(rf"{re.escape(shown)}(?![0-9])", place) is not None


def _whole(number, text):
    return re.search(rf"(?<![0-9.,]){re.escape(number)}(?![0-9]|[.,][0-9])", text) is not None
