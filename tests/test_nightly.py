"""The nightly: a comparison's summary in Markdown, and the example workflow that rests on it."""

import os
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import click
import pytest
import yaml
from command_line import repro
from golden_demo import GOLDEN, demo, make
from markdown_it import MarkdownIt

from repro.cli import main
from repro.judge.compare import Compared
from repro.report import comparing

ROOT = Path(__file__).parents[1]
WORKFLOW = ROOT / "docs" / "examples" / "nightly.yml"
SIDES = (Path("reports"), Path(".repro"))
ROWS = [
    Compared("r", "same", "last/acc_pct", "same bits", runs_a=1, runs_b=1, a=90.0, b=90.0, d=0.0),
    Compared("r", "worse", "last/acc_pct", "differs", runs_a=3, runs_b=3, a=90.0, b=87.0, d=-3.0, low=-3.2, high=-2.8,
             margin=1.01),
    Compared("r", "alone", "", "only in A", runs_a=2),
]  # fmt: skip


def rendered(text):
    return MarkdownIt("commonmark", {"html": True}).enable("table").render(text)


def tables(html):
    """Return the tables of a page, each a list of rows of plain cells."""
    found = re.findall(r"<table>(.*?)</table>", html, re.DOTALL)
    rows = [re.findall(r"<tr>(.*?)</tr>", each, re.DOTALL) for each in found]
    plain = [[re.sub("<.*?>", "", cell) for cell in re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row)] for table in rows
             for row in table]  # fmt: skip
    sizes = [len(each) for each in rows]
    return [[plain.pop(0) for _ in range(size)] for size in sizes]


def test_the_summary_leads_with_what_differs_and_folds_the_rest():
    html = rendered(comparing.as_markdown(ROWS, "full", SIDES))
    first, rest = tables(html)
    assert first[0] == rest[0] == list(comparing.COLUMNS)
    assert [row[0] for row in first[1:]] == ["r/worse"]
    assert first[1][6] == "−3.00"
    assert [row[0] for row in rest[1:]] == ["r/same", "r/alone"]
    assert html.index("<table>") < html.index("<details>") < html.rindex("<table>") < html.index("</details>")
    assert "<strong>1 of 2 numbers that both have differs.</strong>" in html
    assert "1 same bits, 1 differs, 1 only in A." in html


def test_where_nothing_differs_all_is_folded():
    html = rendered(comparing.as_markdown([ROWS[0]], "full", SIDES))
    assert "Nothing differs." in html
    assert html.index("<details>") < html.index("<table>")
    assert "Nothing was compared." in comparing.as_markdown([ROWS[2]], "full", SIDES)


def test_foreign_text_is_inert():
    evil = "</details><script>x</script> | `a` [b](http://c.d)\n# e"
    rows = [replace(ROWS[1], report=evil, why=evil), replace(ROWS[0], experiment=evil)]
    html = rendered(comparing.as_markdown(rows, "full", (Path(evil), Path("b")), [evil]))
    assert not re.search(r"<(script|a|h1)\b", html)
    assert html.count("</details>") == 1
    assert [len(row) for table in tables(html) for row in table] == [len(comparing.COLUMNS)] * 4


def stored(folder, *accuracies):
    """Write a state folder of full runs, seed by seed with these final accuracies."""
    report = demo()
    for seed, percent in enumerate(accuracies):
        record = make(report, "base", seed)
        finals = {name: final | {"acc_pct": percent} for name, final in record.finals.items()}
        path = folder / "runs" / record.run_key / "record.json"
        path.parent.mkdir(parents=True)
        path.write_bytes(replace(record, finals=finals).to_bytes())
    return folder


@pytest.fixture
def nights(tmp_path, monkeypatch):
    """Three state folders: the one to hold against, one that is equivalent, one that differs."""
    monkeypatch.setenv("REPRO_EXPERIMENTS", str(GOLDEN / "experiments"))
    monkeypatch.chdir(tmp_path)
    good, other = (90.0, 90.2, 89.9), (90.1, 90.3, 89.8)
    return stored(tmp_path / "a", *good), stored(tmp_path / "b", *other), stored(tmp_path / "c", 80.0, 80.2, 79.9)


def test_the_command_adds_to_the_file_and_prints_the_table_beside(nights, tmp_path):
    a, b, c = map(str, nights)
    assert "equivalent" in repro("compare", a, b, "--markdown", "summary.md")
    assert '"differs": true' in repro("compare", a, c, "--markdown", "summary.md", "--json", code=1)
    text = Path("summary.md").read_text()
    assert "Nothing differs." in text
    assert re.search(r"\d+ of \d+ numbers? that both have differ", text)
    assert len(tables(rendered(text))) == 2
    printed = repro("compare", a, b, "--markdown", "-")
    assert printed == text[: len(printed)]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--json", "--markdown", "-"), "--markdown -: prints, and so does --json"),
        (("--markdown", "none/summary.md"), "none/summary.md"),
    ],
)
def test_mistakes_are_one_sentence(nights, options, words):
    said = repro("compare", str(nights[0]), str(nights[1]), *options, code=2)
    assert words in said
    assert "Traceback" not in said


@pytest.fixture(scope="module")
def workflow():
    plain = yaml.safe_load(WORKFLOW.read_text())
    return {"on" if key is True else key: value for key, value in plain.items()}  # YAML 1.1 reads `on` as true


def steps(workflow):
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def test_the_workflow_has_the_keys_that_a_workflow_has(workflow):
    known = {"name", "run-name", "on", "permissions", "env", "defaults", "concurrency", "jobs"}
    assert workflow.keys() <= known
    assert workflow["on"].keys() <= {"schedule", "workflow_dispatch", "push", "pull_request"}
    for job in workflow["jobs"].values():
        assert job.keys() <= {"runs-on", "timeout-minutes", "env", "steps", "name", "needs", "if"}
    for step in steps(workflow):
        assert step.keys() <= {"name", "run", "uses", "with", "if", "env", "id"}
        assert ("run" in step) != ("uses" in step)


def test_the_workflow_is_valid_by_its_schema():
    pytest.importorskip("check_jsonschema", reason="pip install check-jsonschema holds the workflow to its schema")
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(WORKFLOW)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_its_commands_targets_and_options_exist(workflow):
    seen = []
    for line in "\n".join(step.get("run", "") for step in steps(workflow)).splitlines():
        if target := re.match(r"\s*make (\S+)(?: (\w+)=)?", line):
            makefile = (ROOT / "Makefile").read_text()
            assert re.search(rf"^{target[1]}:", makefile, re.MULTILINE)
            assert f"$({target[2]})" in makefile
        if not (called := re.search(r'/bin/repro"? (.*)', line)):
            continue
        words = shlex.split(called[1])
        command, context = main, click.Context(main)
        while isinstance(command, click.Group):
            name, command, words = command.resolve_command(context, words)
            seen.append(name)
        command.make_context(name, words, resilient_parsing=False)  # a wrong option or value is refused here
    assert {"run", "verify", "compare", "export"} <= set(seen)


def step_named(workflow, start):
    (found,) = [step["run"] for step in steps(workflow) if step.get("name", "").startswith(start)]
    return found


def called(script, where, **env):
    return subprocess.run(
        ["bash", "-e", "-c", script], cwd=where, env={**os.environ, **env}, capture_output=True, text=True
    )


@pytest.mark.parametrize(("night", "code"), [(1, 0), (2, 1)])
def test_the_comparing_step_writes_the_summary_and_decides(workflow, nights, tmp_path, night, code):
    shim = tmp_path / "venv" / "bin" / "repro"
    shim.parent.mkdir(parents=True)
    shim.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m repro "$@"\n')
    shim.chmod(0o755)
    for path in (nights[0] / "runs").glob("*/record.json"):
        place = tmp_path / "reports" / "demo2020" / "evidence" / f"{path.parent.name}.json"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(path.read_bytes())
    done = called(
        step_named(workflow, "Compare"), tmp_path, VENV=str(tmp_path / "venv"), REPRO_HOME=str(nights[night]),
        GITHUB_STEP_SUMMARY=str(tmp_path / "summary.md"),
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert ("Nothing differs." in (tmp_path / "summary.md").read_text()) is (code == 0)


def test_last_nights_runs_are_set_aside(workflow, tmp_path):
    script, home = step_named(workflow, "Set last"), tmp_path / "state"
    for night in ("one", "two", "three"):
        assert called(script, tmp_path, REPRO_HOME=str(home)).returncode == 0
        assert not (home / "runs").exists()
        (home / "runs").mkdir(parents=True)
        (home / "runs" / night).touch()
    assert [path.name for path in Path(f"{home}-before").glob("runs/*")] == ["two"]
