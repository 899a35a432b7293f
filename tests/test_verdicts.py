"""verdicts.json against its schema and against the rows; badges that foreign text cannot break."""

import json
from dataclasses import fields, replace
from xml.etree import ElementTree

import jsonschema
import pytest
from golden_demo import demo, read_golden

from repro.judge.rows import NEGATIVE, POSITIVE, WORDS, Verdict
from repro.report import badges, tables
from repro.report.verdicts import verdicts_json
from repro.spec import ledger
from repro.spec.sourcing import SOURCES

REPORTS = {"demo2020": demo()}
NUMBER = {"type": ["number", "null"]}
TYPES = {"word": {"enum": list(WORDS)}, "why": {"type": "string"}, "allowance": {"type": "string"},
         "at_swing": {"enum": ["", *WORDS]},
         "environment": {"type": "string"}, "n": {"type": "integer"}, "unstable": {"type": "boolean"},
         "provisional": {"type": "boolean"}, "attained": {"type": ["boolean", "null"]}}  # fmt: skip


def closed(properties):
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


SCHEMA = closed({
    "schema": {"const": 1}, "rules": {"const": ledger.RULES},
    "reports": {"type": "object", "additionalProperties": closed({
        "label": closed({"word": {"enum": ["reproduced", "not reproduced", "open"]}, "why": {"type": "string"},
                         "provisional": {"type": "boolean"}}),
        "claims": {"type": "array", "items": closed({
            "id": {"type": "string"}, "kind": {"type": "string"}, "headline": {"type": "boolean"},
            "published": NUMBER, "ours": NUMBER, "n": {"type": "integer", "minimum": 0}, "state": {"type": "string"},
            "runs": {"type": "array", "items": {"type": "string", "pattern": "^[0-9a-f]{16}$"}, "uniqueItems": True},
            "environments": {"type": "array", "items": {"type": "string"}},
            "evidence": {"type": "array", "minItems": 1, "items": closed({
                "source": {"enum": list(SOURCES)}, "says": {"type": "string"}, "value": NUMBER,
                "agrees": {"type": ["boolean", "null"]},
            })},
            "verdict": closed({f.name: TYPES.get(f.name, NUMBER) for f in fields(Verdict)}),
        })},
    })},
})  # fmt: skip


@pytest.fixture(scope="module")
def golden():
    found, ledgers = read_golden()
    records = list(found.values())
    return tables.rows(REPORTS, records, ledgers), records


def test_the_file_follows_its_schema_and_holds_every_claim_in_the_files_order(golden):
    rows, records = golden
    plain = json.loads(verdicts_json(REPORTS, rows, records))
    jsonschema.validate(plain, SCHEMA)
    claims = plain["reports"]["demo2020"]["claims"]
    assert [c["id"] for c in claims] == [claim.id for claim in REPORTS["demo2020"].claims]
    for row, claim in zip(rows, claims, strict=True):
        assert (claim["published"], claim["n"]) == (row.published, row.n)
        assert claim["ours"] == (row.ours if row.ours is None else pytest.approx(row.ours, rel=1e-5))
        assert claim["verdict"]["word"] == row.verdict.word
        if row.runs:
            assert set(claim["runs"]) == {run.run_key for run in row.runs}
        assert bool(claim["runs"]) == bool(claim["environments"])


def test_the_bytes_depend_on_nothing_else(golden):
    rows, records = golden
    data = verdicts_json(REPORTS, rows, records)
    assert data == verdicts_json(REPORTS, rows, records[::-1])
    assert data.count(b'"headline"') == sum(b'"headline"' in line for line in data.splitlines())
    assert b"2020-01-0" not in data


def test_numbers_are_rounded_and_what_is_not_finite_is_null(golden):
    rows, records = golden
    verdict = Verdict("inconclusive", 'says "so"\n</script>', d=1 / 3, low=float("nan"), high=float("inf"))
    assert (rows[0].kind, rows[2].kind) == ("count", "point")
    changed = [replace(rows[0], ours=1_050_202.0), rows[1], replace(rows[2], ours=2e6 / 3, verdict=verdict), *rows[3:]]
    plain = json.loads(verdicts_json(REPORTS, changed, records))
    exact, _, first, *_ = plain["reports"]["demo2020"]["claims"]
    assert exact["ours"] == 1_050_202  # a count has all of its digits
    assert (first["ours"], first["verdict"]["d"], first["verdict"]["low"]) == (666667.0, 0.333333, None)
    assert first["verdict"]["why"] == verdict.why
    jsonschema.validate(plain, SCHEMA)


def drawn(data):
    root = ElementTree.fromstring(data)
    return root, [node.text for node in root.iter() if node.tag.endswith(("}text", "}title"))]


@pytest.mark.parametrize("word", WORDS)
def test_a_badge_says_its_word_in_text_and_title(word):
    root, texts = drawn(badges.badge("demo2020 acc", word))
    assert texts == [f"demo2020 acc: {word}", "demo2020 acc", word]
    assert root.get("aria-label") == texts[0]
    assert root.get("role") == "img"
    rects = [node for node in root if node.tag.endswith("}rect")]
    assert sum(float(node.get("width")) for node in rects) == float(root.get("width"))
    group = badges.GOOD if word in POSITIVE else badges.BAD if word in NEGATIVE else None
    assert group in (None, rects[1].get("fill"))


def test_what_is_provisional_has_the_colour_of_what_is_open():
    root, texts = drawn(badges.badge("demo2020 acc", "reproduced", provisional=True))
    assert texts[-1] == "reproduced, provisional"
    assert [node.get("fill") for node in root if node.tag.endswith("}rect")][1] == badges.OPEN


@pytest.mark.parametrize("color", [badges.GOOD, badges.BAD, badges.OPEN, badges.NONE])
def test_white_text_can_be_read_on_every_colour(color):
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    assert 1.05 / (luminance + 0.05) >= 4.5  # WCAG 2 AA


@pytest.mark.parametrize(
    "text", ["</text><script>x()</script>", '" onload="x()', "{all}", "a\x00\x1b[31m\u202eb", "", "w" * 999]
)
def test_hostile_text_stays_text(text):
    root, texts = drawn(badges.badge(text, text))
    assert {node.tag.rpartition("}")[2] for node in root.iter()} == {"svg", "title", "rect", "g", "text"}
    assert set(root.attrib) == {"width", "height", "role", "aria-label"}
    assert texts[1]
    assert len(texts[1]) <= badges.LONGEST + 1


def test_wider_text_takes_more_room():
    assert badges.text_width("iii") < badges.text_width("aaa") < badges.text_width("mmm")
    assert badges.text_width("reproduced" * 2) == pytest.approx(2 * badges.text_width("reproduced"), abs=1)


def test_every_claim_and_report_has_a_badge(golden):
    rows, _ = golden
    found = badges.badges(REPORTS["demo2020"], rows)
    assert set(found) == {f"{claim.id}.svg" for claim in REPORTS["demo2020"].claims}
    for row in rows:
        early = ", provisional" if row.verdict.provisional else ""
        assert drawn(found[f"{row.claim}.svg"])[1][-1] == row.verdict.word + early
    assert {row.verdict.provisional for row in rows} == {True, False}
    assert drawn(badges.report_badge(REPORTS["demo2020"], rows))[1][1:] == ["demo2020", "reproduced, provisional"]
