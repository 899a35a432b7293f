"""The overview's sums: every claim and every seed asked for counted once, rates that are totals over totals."""

import re
from dataclasses import replace

import golden_demo
import pytest
from golden_demo import demo, make

from repro.report import tables, totals
from repro.spec import cost, throughput
from repro.spec.loading import load_all


def cells(table):
    """Return a table's lines as lists of cells, by the first of them without its link."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    return {re.sub(r"\[(\w+)\].*", r"\1", line[0]): line[1:] for line in lines}


def columns(table):
    """Return a table's columns by their heads, each as its cells by the name of the line."""
    head = [cell.strip() for cell in table.splitlines()[0].strip("|").split("|")][1:]
    lines = cells(table)
    return {name: {line: int(own[place]) for line, own in lines.items()} for place, name in enumerate(head)}


@pytest.fixture(scope="module")
def reports():
    return load_all()


def test_every_claim_is_counted_once_and_in_one_line(reports):
    table = columns(totals.claims_table(tables.rows(reports, [])))
    assert list(table) == [*sorted(reports), "together"]
    for name, counts in table.items():
        asked = [claim for report in reports.values() if name in (report.id, "together") for claim in report.claims]
        assert counts.pop("all") == len(asked)
        assert {counts.pop(line) for line in totals.AMONG} == {counts["judged from runs"]} == {0}  # without runs
        assert list(counts) == list(totals.BEHIND)
        assert sum(counts.values()) == len(asked)
        for kind in ("explanation", "conjecture"):
            assert counts[kind] == sum(claim.kind == kind for claim in asked)


def test_claims_judged_from_runs_are_provisional_below_three():
    report = {"demo2020": demo()}
    for seeds, some in ((1, True), (3, False)):
        runs = [make(demo(), "base", seed) for seed in range(seeds)]
        own = [row for row in tables.rows(report, runs) if row.experiments in ((), ("base",))]
        counts = columns(totals.claims_table(own))["together"]
        assert counts["judged from runs"] > 0
        assert (counts["of these provisional"] > 0) == some
        said = [count for line, count in counts.items() if "declared" in line]
        assert sum(said) == counts["judged from runs"]
        assert 0 < counts["numbers and statements that these are readings of"] <= counts["judged from runs"]


def test_readings_of_one_number_are_counted_as_one():
    report = {"demo2020": demo()}
    (row, *_) = [r for r in tables.rows(report, [make(demo(), "base", 0)]) if r.kind == "point" and r.n]
    again = replace(row, claim="another-reading", protocol="best_test")
    counts = columns(totals.claims_table([row, again, replace(row, claim="other", where="Table 9")]))["together"]
    assert counts["judged from runs"] == 3
    assert counts["numbers and statements that these are readings of"] == 2


def test_runs_are_counted_as_status_does(reports):
    table = cells(totals.runs_table(reports, []))
    owners = {(p.report, p.experiment.id): p.cost for p in cost.priced(reports) if p.same_as is None}
    missing = [row for row in tables.status(reports, []) if (row["report"], row["experiment"]) in owners]
    minutes = sum(owners[row["report"], row["experiment"]].minutes * len(row["missing"]) for row in missing)
    *tiers, last = table["Together"]
    assert float(last.replace(",", "")) == pytest.approx(minutes, abs=0.5)
    for tier, said in zip(cost.TIERS, tiers, strict=True):
        wanted = sum(len(row["missing"]) for row in missing if row["tier"] == tier)
        assert said == (f"0 of {wanted}" if wanted else "–")


def test_a_run_that_is_done_is_not_missing():
    report = {"demo2020": demo()}
    records = list(golden_demo.read_golden()[0].values())
    status = tables.status(report, records)
    headline = [row for row in status if row["tier"] == "headline"]
    first, *_ = cells(totals.runs_table(report, records))["demo2020"]
    done, wanted = map(int, first.split(" of "))
    assert wanted - done == sum(len(row["missing"]) for row in headline)
    assert done > 0


def test_rates_are_totals_over_totals_and_energy_says_of_how_many_runs():
    slow = replace(make(demo(), "base", 0), seconds=300.0, images_per_s=100.0, energy_j=3.6e6)
    fast = replace(make(demo(), "base", 1), seconds=100.0, images_per_s=500.0, energy_j=None)
    (line,) = cells(totals.took_table([slow, fast])).values()
    _, runs, minutes, pace, tflops, energy = line
    images_per_s = (300 * 100 + 100 * 500) / 400
    assert (runs, minutes, float(pace)) == ("2", "7", images_per_s)
    assert float(tflops) == pytest.approx(throughput.operations(slow) * images_per_s / 1e12, abs=0.005)
    assert energy == "1.00 (1 of 2 runs)"
    assert totals.minutes_said([slow, replace(fast, env_class="cpu-fp32-relaxed-n1")]) == "5 minutes on GPUs, 2 on CPUs"


def test_operations_that_are_not_known_of_all_runs_are_not_given():
    known = make(demo(), "base", 0)
    other = replace(known, recipe_hash="0" * 64)  # not the hash of its recipe
    (line,) = cells(totals.took_table([known, other])).values()
    assert (line[1], line[4]) == ("2", "–")
    assert float(line[3].replace(",", "")) == round(known.images_per_s)


def test_nothing_was_taken_where_there_is_no_run():
    assert totals.took_table([]) == ""
