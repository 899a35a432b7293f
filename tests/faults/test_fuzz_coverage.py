"""Foreign files changed as coverage suggests, by Atheris; how long: REPRO_FAULTS, as in test_fuzz.py."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from holding import FOREIGN_BUNDLES, FOREIGN_DATA, FOREIGN_YAML, trial, trials

SECONDS = trials(15, 60, 600)


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="without Atheris (pip install -e '.[fuzz]')")
@pytest.mark.parametrize("target", ["spec", "bundle", "data"])
def test_by_coverage(target, tmp_path):
    promise = {"spec": FOREIGN_YAML, "bundle": FOREIGN_BUNDLES, "data": FOREIGN_DATA}[target]
    command = [sys.executable, "-m", "tests.faults.fuzz_coverage", target, "--seconds", str(SECONDS)]
    with trial(promise, f"{target} by coverage") as detail:
        done = subprocess.run(
            [*command, "--keep", str(tmp_path)], cwd=Path(__file__).parents[2], capture_output=True, text=True,
            errors="replace",
        )  # fmt: skip
        runs = re.search(r"Done (\d+) runs", done.stderr)
        detail["cases"] = int(runs[1]) if runs else 0
        assert done.returncode == 0, done.stderr[-3000:]
        assert detail["cases"] > 100
    print(f"\n{target} by coverage: {detail['cases']:,} cases in {SECONDS} s")
