"""Claims hash by what decides their verdict, and a ledger is written once."""

import json
import re
from pathlib import Path

import pytest

from repro.spec import ledger
from repro.spec.loading import load_all
from repro.spec.schema import CountClaim, MeasuredClaim, UntestableClaim

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
CLAIM = MeasuredClaim(
    kind="point", id="acc", experiment="base", protocol="last", value=90.14, decimals=2, where="Results"
)


def digest(claim):
    return ledger.canonical_claim(claim)


@pytest.mark.parametrize(
    "change",
    [
        {"id": "acc-b"}, {"kind": "loss", "metric": "loss"}, {"value": 90.15}, {"decimals": 1}, {"rounding": "floor"},
        {"metric": "ece_pct"}, {"protocol": "best_test"}, {"experiment": "other"}, {"n": 16}, {"runs": 3},
        {"margin": 0.5, "margin_why": "x"}, {"protocol": "val", "epoch": 3},
    ],
    ids=str,
)  # fmt: skip
def test_what_decides_a_verdict_changes_the_hash(change):
    changed = MeasuredClaim(**CLAIM.model_dump() | change)
    assert digest(changed) != digest(CLAIM)


@pytest.mark.parametrize("change", [{"where": "Table 9"}, {"note": "prose"}, {"headline": True}, {"epoch_base": 0}])
def test_prose_does_not_change_the_hash(change):
    assert digest(MeasuredClaim(**CLAIM.model_dump() | change)) == digest(CLAIM)


def test_a_new_rules_version_changes_the_hash():
    assert ledger.canonical_claim(CLAIM, 2) != digest(CLAIM)


def test_the_claims_whose_rule_the_second_version_changed():
    report = load_all(EXPERIMENTS)["chiu2023"]
    rules = {claim.id: ledger.rules_of(claim, report) for claim in report.claims}
    changed = {"fold1-val-acc", "e10-val-acc", "test-acc-batch-mean", "fold-test-acc-clean", "fold-test-loss-clean"}
    assert {rules[name] for name in changed | {"more-data-batch-mean", "log-val-acc", "notebook-matrix"}} == {2}
    stands = ("test-acc", "fold1-val-loss", "fold1-train-acc-clean", "params", "more-data-helps")
    assert {rules[name] for name in stands} == {1}


def test_a_new_version_leaves_the_claims_it_does_not_touch_declared():
    """Ledgers from before the second version still name the claims whose rule stands."""
    report = load_all(EXPERIMENTS)["shamooun2022"]
    before = json.loads((EXPERIMENTS.parent / "reports" / "ledger" / "d0bbe01a1150.json").read_text())
    now = ledger.claims([report])
    assert {name for name in now if now[name] != before[name]} == {
        f"shamooun2022/{claim.id}" for claim in report.claims if ledger.rules_of(claim, report) == 2
    }


def test_canonical_text_is_pinned():
    assert digest(CLAIM) == (
        '{"decimals":2,"experiment":"base","id":"acc","kind":"point","metric":"acc_pct","n":10000,'
        '"protocol":"last","rounding":"nearest","rules":1,"runs":1,"value":90.14}'
    )
    count = CountClaim(kind="count", id="mb", experiment="base", quantity="total_mb", value=1, decimals=2, where="T")
    assert '"quantity":"total_mb"' in digest(count)
    words = UntestableClaim(kind="not_testable", id="w", text="t", why="y", where="W")
    assert digest(words) == '{"decimals":0,"id":"w","kind":"not_testable","rules":1}'


def test_claims_of_all_reports():
    reports = load_all(EXPERIMENTS)
    mapping = ledger.claims(reports.values())
    assert len(mapping) == sum(len(report.claims) for report in reports.values())
    assert all(re.fullmatch(r"[a-z0-9]+/[a-z0-9-]+", key) for key in mapping)
    assert all(re.fullmatch(r"[0-9a-f]{64}", value) for value in mapping.values())


def test_id_is_independent_of_order_and_sees_every_claim():
    mapping = {"a/x": "1", "a/y": "2"}
    assert re.fullmatch(r"[0-9a-f]{12}", ledger.ledger_id(mapping))
    assert ledger.ledger_id(mapping) == ledger.ledger_id(dict(reversed(mapping.items())))
    assert ledger.ledger_id(mapping) != ledger.ledger_id(mapping | {"a/y": "3"})


def test_write_is_sorted_and_happens_once(tmp_path):
    reports = load_all(EXPERIMENTS)
    name = ledger.write(reports.values(), tmp_path)
    path = tmp_path / f"{name}.json"
    content = path.read_text()
    mapping = json.loads(content)
    assert list(mapping) == sorted(mapping)
    assert ledger.ledger_id(mapping) == name
    assert content == json.dumps(mapping, sort_keys=True, indent=2) + "\n"
    path.write_text("kept")
    assert ledger.write(reversed(list(reports.values())), tmp_path) == name
    assert path.read_text() == "kept"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
