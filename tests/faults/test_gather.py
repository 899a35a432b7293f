"""The page of the trials says how many there were and which did not hold."""

import json

import pytest

from repro.errors import UserError
from repro.report import reliability

MACHINE = {"device": "A processor (2 threads)", "torch": "2.0", "mlflow": "3.17", "commit": "ab" * 20, "dirty": True}


def line(promise, trial, held=True, seconds=1.5, **detail):
    return {
        "promise": promise, "trial": trial, "held": held, "seconds": seconds, "effort": "full", "detail": detail
    }  # fmt: skip


def test_every_trial_is_counted_and_what_broke_is_named(tmp_path):
    lines = [line("Killed | anywhere", "a", epoch=1), line("Full disk", "b"),
             line("Killed | anywhere", "c", held=False),
             line("Foreign", "data", seconds=600.2, cases=12_345)]  # fmt: skip
    found = reliability.gather(lines, MACHINE, "2026-01-02")
    assert [(row["promise"], row["trials"], row["held"]) for row in found["promises"]] == [
        ("Killed | anywhere", 2, 1), ("Full disk", 1, 1), ("Foreign", 1, 1),
    ]  # fmt: skip
    assert found["promises"][0]["seconds"] == 3.0
    path = tmp_path / "reliability.json"
    path.write_text(json.dumps(found))
    page = reliability.page(path)
    assert "| Killed \\| anywhere | 2 | **1** |" in page
    assert "**Did not hold**: Killed \\| anywhere (c)." in page
    assert "| data | 12,345 | 600 |" in page
    assert "commit abababababab with changed files, 2026-01-02; effort: full." in page


def test_without_figures_there_is_no_page_and_others_are_refused(tmp_path):
    path = tmp_path / "reliability.json"
    assert reliability.page(path) is None
    for text in ("{", "[]", '{"schema": 2}', '{"schema": 1}'):
        path.write_text(text)
        with pytest.raises(UserError, match="delete the file and make it again"):
            reliability.page(path)
