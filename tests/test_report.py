"""Pages: compared byte for byte with the committed ones, the same from any order, and inert against hostile text.

UPDATE_GOLDEN=1 writes the committed records, ledgers and pages anew.
"""

import csv
import io
import itertools
import json
import os
import random
import re
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import golden_demo
import numpy as np
import pytest
from golden_demo import GOLDEN, demo, make
from markdown_it import MarkdownIt

from repro import plots
from repro.errors import UserError
from repro.report import evidence, html, tables
from repro.report.markdown import Md, code, escape, md, prose, signed, table
from repro.report.render import render
from repro.spec import ledger
from repro.spec.loading import load_all, parse
from repro.suite.pages import write_pages

REPORT_FILES = GOLDEN / "experiments"
HOSTILE = (
    "a | b \\| c ` d ``` <script>alert(1)</script> [x](http://evil.example) ![i](y) \n# heading\n\n---\n* _star_ "
    "\u202e\x00\x1b[31m &lt; https://evil.example www.evil.example $x$ ~~no~~ \ud800"
)


GOLDEN_KINDS = (".md", ".csv", ".json", ".html")


TEMPLATES = Path(html.__file__).parents[1] / "templates"


def undrawn(page, name):
    """Return a page without what other files hold: figures (matplotlib's bytes), and the style and script of HTML.

    Style and script have to be the templates' own, each once.
    """
    if name.endswith(".html"):
        for part in ("style.css", "page.js"):
            text = (TEMPLATES / part).read_bytes().strip()
            assert page.count(text) == 1, part
            page = page.replace(text, part.encode())
    return re.sub(rb"(<svg\b[^>]*>).*?</svg>", rb"\1</svg>", page, flags=re.DOTALL)


@pytest.fixture(scope="module", autouse=True)
def _update():
    if os.environ.get("UPDATE_GOLDEN"):
        golden_demo.write_golden()
        records, ledgers = golden_demo.read_golden()
        for path in render({"demo2020": demo()}, records.values(), ledgers, GOLDEN / "reports"):
            if path.suffix in GOLDEN_KINDS:
                path.write_bytes(undrawn(path.read_bytes(), path.name))
            else:
                path.unlink()
        for folder in ("figures", "badges"):
            (GOLDEN / "reports" / "demo2020" / folder).rmdir()


def rendered(out, records=None, profile="full", report=None):
    golden, ledgers = golden_demo.read_golden()
    report = report or demo()
    chosen = golden.values() if records is None else records
    paths = render({report.id: report}, chosen, ledgers, out, profile)
    return {str(path.relative_to(out)): path.read_bytes() for path in paths}


def test_pages_are_the_committed_ones(tmp_path):
    pages = {name: undrawn(data, name) for name, data in rendered(tmp_path).items() if name.endswith(GOLDEN_KINDS)}
    folder = GOLDEN / "reports"
    committed = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.*") if p.is_file()}
    assert pages == committed, "if the change is meant: UPDATE_GOLDEN=1 pytest tests/test_report.py"


def test_committed_records_are_the_generated_ones():
    records, ledgers = golden_demo.demo_records(demo())
    committed = golden_demo.read_golden()
    assert {n: r.to_bytes() for n, r in records.items()} == {n: r.to_bytes() for n, r in committed[0].items()}
    assert ledgers == committed[1]


def test_any_order_and_repeated_records_give_the_same_bytes(tmp_path):
    records = list(golden_demo.read_golden()[0].values())
    first = rendered(tmp_path / "a")
    for i in range(2):
        shuffled = random.sample(records, len(records)) + records[:2]
        assert rendered(tmp_path / f"b{i}", shuffled) == first


def test_figures_exist_and_are_the_same_in_a_fresh_process(tmp_path):
    here = rendered(tmp_path / "here")
    figures = {name for name in here if "/figures/" in name}
    stems = {
        "base-curves",
        "base-confusion",
        "plain-curves",
        "forest",
        "forest-all",
        "bracket",
        "cost",
        "confusion-cells",
    }
    assert figures == {f"demo2020/figures/{stem}.svg" for stem in stems}
    program = (
        "import sys; sys.path.insert(0, sys.argv[2]); from pathlib import Path; import test_report;"
        "test_report.rendered(Path(sys.argv[1]))"
    )
    there = tmp_path / "there"
    environment = {**os.environ, "PYTHONPATH": str(Path(plots.__file__).parents[2]), "PYTHONHASHSEED": "7"}
    tests = str(Path(__file__).parent)
    subprocess.run([sys.executable, "-c", program, str(there), tests], check=True, env=environment)
    assert {name: (there / name).read_bytes() for name in here} == here


def test_png_pictures_are_deterministic_and_ignore_the_users_settings():
    import matplotlib

    matrix = np.diag([900] * 10) + 10
    first = plots.confusion_png(matrix, list("abcdefghij"), "t $x"), plots.curves_png({"test/loss": [np.ones(3)]}, "t")
    with matplotlib.rc_context({"font.size": 30, "savefig.dpi": 40}):
        again = (
            plots.confusion_png(matrix, list("abcdefghij"), "t $x"),
            plots.curves_png({"test/loss": [np.ones(3)]}, "t"),
        )
    assert first == again
    assert first[0].startswith(b"\x89PNG")


@pytest.mark.parametrize("curves", [{}, {"test/loss": [np.array([np.nan, np.inf])]}, {"train/loss": [np.array([])]}])
def test_curves_of_a_diverged_or_empty_run_still_draw(curves):
    assert b"<svg" in plots.curves_figure(curves, "x", [plots.Published("test/acc_pct", 90.0, "90", 5)])


def test_profiles_never_mix(tmp_path):
    records = golden_demo.read_golden()[0]
    counting = [r for r in records.values() if r.profile == "full"]
    smoke = [records["base-smoke"]]
    pages, small = rendered(tmp_path / "b"), rendered(tmp_path / "d", None, "smoke")
    assert rendered(tmp_path / "a", counting) == pages
    assert rendered(tmp_path / "c", smoke, "smoke") == small
    for name, data in small.items():
        if name.endswith(".md"):
            assert data.startswith(b"**Nothing on th")
    assert b"Nothing on th" not in pages["README.md"]
    full = pages["demo2020/report.md"].decode()
    assert records["base-smoke"].run_key not in full
    assert records["base-quick"].run_key not in full
    assert records["plain-s1-stopped"].run_key not in full


def test_replicates_and_drift_are_shown(tmp_path):
    page = rendered(tmp_path)["demo2020/report.md"].decode()
    part = page.split("## Replicates")[1]
    assert part.count(make(demo()).run_key) == 2
    assert "**yes**" in part
    assert "other class" in part
    assert "`ffffffffffffffff`" in page


def test_left_over_figures_go_and_other_files_stay(tmp_path):
    figures = tmp_path / "demo2020" / "figures"
    figures.mkdir(parents=True)
    for name in ("old-curves.svg", "old.png", "notes.txt"):
        (figures / name).write_text("x")
    rendered(tmp_path)
    assert {p.name for p in figures.iterdir()} >= {"notes.txt", "base-curves.svg"}
    assert not (figures / "old-curves.svg").exists()
    assert not (figures / "old.png").exists()


# --- hostile text ------------------------------------------------------------------------------------------


def tokens(text):
    flat = []
    for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text):
        flat += [token, *(token.children or [])]
    return flat


def check_inert(text):
    """Every table keeps its columns; no HTML but our folds, no link or image but relative ones."""
    lines = text.split("\n")
    for before, line in pairwise(lines):
        if line.startswith("| :-") or line.startswith("| ---"):
            assert len(cells(before)) == len(cells(line))
    for i, line in enumerate(lines):
        if line.startswith("|") and i and lines[i - 1].startswith("|"):
            assert len(cells(line)) == len(cells(lines[i - 1])), line
    for token in tokens(text):
        if token.type in ("html_block", "html_inline"):
            assert token.content.strip().startswith(("<details><summary>", "</details>")), token.content
        if token.type in ("link_open", "image"):
            target = token.attrs.get("href") or token.attrs.get("src")
            assert "evil" not in target
            assert not target.startswith(("http", "//"))


def check_table(text):
    """Every row keeps its columns and its line; nothing that a spreadsheet would compute or a terminal obey."""
    head, *rows = csv.reader(io.StringIO(text, newline=""))
    assert len(rows) == text.count("\n") - 1 > 0
    assert {len(row) for row in rows} == {len(head)}
    for cell in itertools.chain(head, *rows):
        assert not cell.startswith(("=", "@"))
        assert cell.isprintable()


def cells(line):
    return line.replace("\\|", "").strip("|").split("|")


def test_hostile_text_shows_as_written_and_does_nothing():
    text = f"before\n\n{table(['A', 'B'], 'lr', [[HOSTILE, 1], ['x', HOSTILE]])}\n\n{escape(HOSTILE)}\n"
    check_inert(text)
    kinds = {token.type for token in tokens(escape(HOSTILE))}
    assert kinds <= {"paragraph_open", "paragraph_close", "inline", "text", "text_special"}
    shown = "".join(token.content for token in tokens(escape(HOSTILE)) if token.type in ("text", "text_special"))
    assert "<script>alert(1)</script> [x](http://evil.example)" in shown
    assert "\n" not in escape(HOSTILE)
    assert escape(HOSTILE).encode()


@pytest.mark.parametrize(
    "start", ["# x", "- x", "+ x", "1. x", "2) x", "> x", "===", "---", "***", "    x", "```", "~~~"]
)
def test_text_that_begins_a_line_begins_no_block(start):
    kinds = [token.type for token in tokens(escape(start)) if token.block]
    assert kinds == ["paragraph_open", "inline", "paragraph_close"]


def test_hostile_report_and_records_stay_inert(tmp_path):
    text = HOSTILE  # but for what a YAML may not hold
    for refused in "\ud800\x00\x1b\u202e":
        text = text.replace(refused, "")
    hostile = json.dumps(text[:200])
    source = (GOLDEN / "experiments" / "demo2020.yaml").read_text()
    for old in ('"Demo report | made up for tests"', "A. Nobody", "Table 3", "The released script", "One run."):
        assert old in source
        source = source.replace(old, hostile)
    report = parse(source, "hostile.yaml")
    env = dict.fromkeys(("driver", "torch", "commit"), HOSTILE) | {"cuda": ["|"], "dirty": {"`": 1}}
    env["device"] = "=HYPERLINK(1)\n" + HOSTILE
    bad = make(report, env=env, env_class="cuda|`" + HOSTILE[:-2], run_key="|<b>`k`", finals={
        "last": {"acc_pct": 90.0}, HOSTILE: {"acc_pct": 1.0}, "at_epoch:x": {"acc_pct": 2.0},
    }, confusion={"last": [["x"]]}, started=HOSTILE)  # fmt: skip
    pages = rendered(tmp_path, [bad, replace(bad, seconds=1.0)], report=report)
    for name, data in pages.items():
        if name.endswith(".md"):
            check_inert(data.decode())
        elif name.endswith(".csv"):
            check_table(data.decode())


def test_markdown_helpers():
    assert code("a`b") == "a\\`b"
    assert code("a|b") == "a\\|b"
    assert prose("see `base` | `x|y`") == "see `base` \\| x\\|y"
    assert escape(Md("**x**")) == "**x**"
    assert md("{}: {}", Md("`a`"), "*b*") == "`a`: \\*b\\*"
    assert escape("loss_mean _x_") == "loss_mean \\_x\\_"
    assert escape("90.14 and +2,642") == "90.14 and +2,642"
    assert (signed(1234, 0), signed(-0.5, 2), signed(-0.001, 2)) == ("+1,234", "−0.50", "0.00")


# --- tables and evidence -------------------------------------------------------------------------------------


def test_status_names_what_is_done_and_missing():
    rows = tables.status({"demo2020": demo()}, golden_demo.read_golden()[0].values())
    assert json.loads(json.dumps(rows)) == rows
    by_name = {row["experiment"]: row for row in rows}
    assert by_name["base"]["full"] == [0, 1, 2]
    assert by_name["base"]["missing"] == []
    assert (by_name["base"]["smoke"], by_name["base"]["quick"]) == ([0], [0])
    assert (by_name["plain"]["full"], by_name["plain"]["not_counting"]) == ([0], [1])
    assert by_name["idle"]["missing"] == [0]
    assert "demo2020/idle" in tables.status_text(rows)


def local(home, key, record, name="record.json"):
    path = home / "runs" / key / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(record.to_bytes())
    return path


def test_collect_copies_what_counts_once_and_overwrites_nothing(tmp_path):
    home, reports = tmp_path / "home", tmp_path / "reports"
    record = make(demo())
    local(home, "a", record)
    local(home, "a", replace(record, seconds=1.0), "record-1.json")
    local(home, "b", make(demo(), profile="smoke"))
    local(home, "c", make(demo(), seed=1, state="stopped", epochs_done=1))
    new = evidence.collect(home, reports)
    folder = reports / "demo2020" / "evidence"
    name = record.file_name
    assert sorted(p.name for p in new) == sorted([name, name.replace(".json", "-2.json")])
    written = {p.read_bytes() for p in folder.iterdir()}
    assert written == {record.to_bytes(), replace(record, seconds=1.0).to_bytes()}
    assert evidence.collect(home, reports) == []
    assert len(evidence.read(home, reports)) == 4


@pytest.mark.parametrize("known", [True, False])
def test_the_ledger_of_runs_from_another_checkout_is_written_where_its_name_proves_it(tmp_path, monkeypatch, known):
    monkeypatch.setenv("REPRO_EXPERIMENTS", str(REPORT_FILES))
    name = ledger.ledger_id(ledger.claims(load_all().values()))
    local(tmp_path / "home", "a", replace(make(demo()), ledger=name if known else "0123456789ab"))
    write_pages("full", tmp_path / "home", tmp_path / "reports", None)
    assert list(ledger.read(tmp_path / "reports" / "ledger")) == ([name] if known else [])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"report": "../evil"}, "is no report's id"),
        ({"experiments": ["../../evil"]}, "cannot name a file"),
        ({"experiments": []}, "experiments names none"),
        ({"run_key": "../../../evil0000"}, "env_class or run_key"),
        ({"env_class": "cuda|x"}, "env_class or run_key"),
        ({"seed": "0"}, "seed is of the wrong type"),
        ({"finals": {"last": {"acc_pct": "<b>"}}}, "not a number"),
        ({"recipe": {}}, "recipe.budget.epochs is missing"),
    ],
)
def test_a_record_that_cannot_be_trusted_is_refused(tmp_path, change, words):
    path = local(tmp_path, "a", replace(make(demo()), **change))
    with pytest.raises(UserError, match=words) as error:
        evidence.collect(tmp_path, tmp_path / "reports")
    assert str(path) in str(error.value)
    assert not (tmp_path / "reports").exists()


def test_rendering_imports_neither_torch_nor_mlflow():
    program = "import repro.report.render, repro.report.frames, repro.report.evidence, sys; print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(Path(plots.__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert not {"torch", "mlflow", "matplotlib", "pandas"} & set(done.stdout.split())


def test_golden_files_are_marked_as_test_data():
    for record in golden_demo.read_golden()[0].values():
        assert "test data" in record.command
        assert "test data" in record.env["device"]
