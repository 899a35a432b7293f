"""Pre-flight findings as Markdown and as plain data: what a report's own numbers say before any training."""

from dataclasses import asdict
from typing import Any

from repro.judge.preflight import Finding, findings
from repro.report.cells import bullets
from repro.report.markdown import Md, md, prose
from repro.spec.schema import Report

NOTHING = "Nothing found in the report's own numbers, recipes and sentences."


def section(report: Report) -> Md:
    """Return the findings of one report as a list, ranked, for its page; a sentence where there are none."""
    found = findings(report)
    return bullets(_bullet(finding) for finding in found) if found else Md(NOTHING)


def _bullet(finding: Finding) -> Md:
    return md("**{}.** {}", prose(finding.title), prose(finding.text))


def data(report: Report) -> list[dict[str, Any]]:
    """Return the findings of one report as plain values, ranked, for JSON."""
    return [asdict(finding) | {"claims": list(finding.claims)} for finding in findings(report)]
