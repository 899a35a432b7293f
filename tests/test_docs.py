"""The documentation is true: its runnable blocks run, its commands and options exist, its links lead somewhere."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from repro.cli import main

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)( runnable)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def name_of(page):
    return page.relative_to(ROOT).as_posix()


def blocks(page):
    """Return (language, runnable, text, line) of a page's fenced blocks."""
    text = page.read_text()
    return [(m[1], bool(m[2]), m[3], text[: m.start()].count("\n") + 2) for m in BLOCK.finditer(text)]


def runnable(page):
    return [(language, text, line) for language, runs, text, line in blocks(page) if runs]


@pytest.mark.parametrize("page", [p for p in PAGES if runnable(p)], ids=name_of)
def test_runnable_blocks_run_in_order(page, tmp_path):
    for folder in ("experiments", "reports"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    drop = ("REPRO_HOME", "REPRO_EXPERIMENTS", "MLFLOW_TRACKING_URI")
    env = {key: value for key, value in os.environ.items() if key not in drop}
    env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
    env["PYTHONPATH"] = str(ROOT)
    for language, text, line in runnable(page):
        command = {"sh": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}[language]
        done = subprocess.run([*command, text], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, f"{name_of(page)}:{line}\n{text}\n{done.stdout}\n{done.stderr}"


def commands(page):
    """Yield (line, words) of every `repro ...` command in a page's shell blocks."""
    for language, _, text, line in blocks(page):
        if language != "sh":
            continue
        for number, row in enumerate(text.replace("\\\n", "  ").splitlines(), line):
            # Settings before, substitutions and pipes around: the words from `repro` to the next operator count.
            if found := re.search(r"(?:^|\s|/)repro\s+([^|;&>#]*)", re.sub(r"\$\([^)]*\)", "X", row)):
                yield number, shlex.split(found[1])


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_and_options_exist(page):
    for line, words in commands(page):
        command, where = main, f"{name_of(page)}:{line}: repro {' '.join(words)}"
        while isinstance(command, click.Group) and words and not words[0].startswith("-"):
            assert words[0] in command.commands, f"{where}: no such command"
            command = command.commands[words.pop(0)]
        known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        unknown = {word.partition("=")[0] for word in words if word.startswith("-")} - known - {"-h", "--help"}
        assert not unknown, f"{where}: {command.name} knows no {', '.join(unknown)}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    for target in LINK.findall(page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{name_of(page)}: {target}"


def test_every_page_of_the_docs_is_linked_from_the_readme():
    linked = set(LINK.findall((ROOT / "README.md").read_text()))
    assert {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")} <= linked


def test_make_targets_and_variables_named_in_the_readme_exist():
    makefile = (ROOT / "Makefile").read_text()
    text = "\n".join(page.read_text() for page in PAGES)
    for target in set(re.findall(r"`?make ([a-z][a-z-]+)", "\n".join(t for _, _, t, _ in blocks(ROOT / "README.md")))):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"
    for variable in set(re.findall(r"make [a-z-]+ (?:[A-Z]+=\S+ )*([A-Z]+)=", text)):
        assert f"$({variable})" in makefile, f"make: {variable}="
