"""Pages in a real browser: MLflow's own, over a store that `repro ui` filled from committed evidence, and ours.

The saved views are an internal format of MLflow's pages: this is where a version that reads them otherwise is found.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import synthetic

from repro.report import html
from repro.report.cells import folded
from repro.report.markdown import code, escape, table
from repro.report.render import render
from repro.report.values import UNTESTABLE
from repro.spec.loading import load_all

ROOT = Path(__file__).parents[1]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
WAIT = 30_000  # ms; two cores may be busy with other tests
ARMS = {"resnet68": 0.01, "resnet68-text": 0.02}
SCREENSHOTS = os.environ.get("REPRO_SCREENSHOTS")


def absent(reason):
    """Skip, or fail where the test was asked for."""
    if os.environ.get("REPRO_BROWSER") == "required":
        pytest.fail(f"REPRO_BROWSER=required, but {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="module")
def chromium():
    """Return a headless Chromium."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        absent(f"playwright cannot be imported ({error}); pip install -e '.[test]'")
    if CHROMIUM is None:
        absent("there is no chromium on this machine; apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def evidence(tmp_path_factory, make_record):
    """Return (reports folder, records): two experiments of a report, three seeds each."""
    folder, records = tmp_path_factory.mktemp("reports"), {}
    for number, (experiment, lr) in enumerate(ARMS.items()):
        for seed in range(3):
            made = make_record(epochs=12, seed=3 * number + seed, experiments=[experiment])
            recipe = made.recipe | {"optim": made.recipe["optim"] | {"lr": lr}}
            record = replace(made, seed=seed, recipe=recipe, started=f"2026-01-02T03:{seed}{number}:00+00:00")
            path = folder / "chen2024" / "evidence" / record.file_name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(record.to_bytes())
            records[experiment, seed] = record
    return folder, records


@pytest.fixture(scope="module")
def links(chromium, evidence, tmp_path_factory, mlflow_template):
    """Run `repro ui`; return the links it printed, by the view's name."""
    home = tmp_path_factory.mktemp("state")
    shutil.copy(mlflow_template, home / "mlflow.db")
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = "import sys; sys.argv[0] = 'repro'; from repro.cli import main; main()"
    command = [sys.executable, "-c", code, "ui", "--port", str(port), "--reports", str(evidence[0])]
    environment = {**os.environ, "REPRO_HOME": str(home), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    with open(home / "log", "w+") as log:
        server = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, env=environment, cwd=ROOT, start_new_session=True
        )
        try:
            wait_until_up(server, f"http://127.0.0.1:{port}/health", home / "log")
            said = (home / "log").read_text()
            assert "6 finished runs, 6 of them new in MLflow" in said
            yield dict(re.findall(r"^ *(.+?): (http://127\.0\.0\.1:\d+/#\S+)$", said, re.MULTILINE))
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(30)


def wait_until_up(server, address, log):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if server.poll() is not None:
            pytest.fail(f"repro ui ended with {server.returncode}: {log.read_text()}")
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    pytest.fail(f"repro ui did not answer: {log.read_text()}")


@contextmanager
def opened(chromium, address):
    """Yield a page at an address; afterwards it must have had no error, and no request to another host."""
    root, wrong = address.partition("#")[0], []
    context = chromium.new_context(viewport={"width": 2300, "height": 1100})
    context.set_default_timeout(WAIT)
    # MLflow opens its assistant over a quarter of the page the first time; this reader has closed it.
    context.add_init_script("localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')")
    page = context.new_page()
    page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    page.on("request", lambda r: r.url.startswith((root, "data:", "blob:")) or wrong.append(f"request: {r.url}"))
    try:
        page.goto(address)
        yield page
        assert wrong == []
    finally:
        context.close()


def shoot(page, name):
    if SCREENSHOTS:
        page.screenshot(path=Path(SCREENSHOTS, f"{name}.png"))


def row_of(page, name):
    """Return the number of the table's row whose run has a name."""
    link = page.get_by_role("link", name=name, exact=True)
    return link.locator("xpath=ancestor::*[@row-index][1]").get_attribute("row-index")


def cell(page, name, column):
    """Return what the run table shows for a run in a column."""
    return page.locator(f'[row-index="{row_of(page, name)}"] [col-id="{column}"]').first.inner_text().strip()


def test_the_table_shows_what_was_published_beside_ours(chromium, links, evidence):
    with opened(chromium, links["Published beside ours"]) as page:
        page.get_by_role("link", name="s2 resnet68-text", exact=True).wait_for()
        wanted = [
            "repro.published", "repro.protocol", "final/last/acc_pct", "summary/acc_mean", "summary/delta_pp",
            "summary/acc_std", "summary/n_seeds", "seed", "budget.epochs", "optim.name", "optim.lr",
            "budget.batch_size", "repro.device",
        ]  # fmt: skip
        heads = page.locator("[role=columnheader][col-id]").all()
        shown = [head.inner_text().strip() for head in sorted(heads, key=lambda head: head.bounding_box()["x"])]
        assert [head for head in shown if head in wanted] == wanted
        rows = sorted((int(row_of(page, name)), name) for name in names())
        assert [name for _, name in rows] == names()
        for (experiment, seed), record in evidence[1].items():
            run = f"s{seed} {experiment}"
            accuracy = float(cell(page, run, "metrics.`final/last/acc_pct`"))
            assert accuracy == pytest.approx(record.finals["last"]["acc_pct"])
            assert 80 < accuracy < 100
            assert cell(page, run, "params.`optim.lr`") == str(ARMS[experiment])
            assert cell(page, run, "params.`seed`") == str(seed)
            assert cell(page, run, "tags.`repro.published`") == "90.14 %"
        mean = sum(evidence[1]["resnet68", seed].finals["last"]["acc_pct"] for seed in range(3)) / 3
        assert float(cell(page, "resnet68", "metrics.`final/last/acc_pct`")) == pytest.approx(mean, abs=0.001)
        assert float(cell(page, "resnet68", "metrics.`summary/delta_pp`")) == pytest.approx(mean - 90.14, abs=0.001)
        assert cell(page, "resnet68", "params.`budget.epochs`") == "12"
        assert page.get_by_text("published 90.14 %").first.is_visible()
        shoot(page, "table")


def names():
    return [name for arm in ARMS for name in (arm, *(f"s{seed} {arm}" for seed in range(3)))]


def lines_of(page, metric):
    """Return how many lines the chart of a metric draws, and the runs its legend names."""
    card = page.locator("[data-testid='experiment-view-compare-runs-card']").filter(has_text=metric).first
    card.scroll_into_view_if_needed()
    card.locator(".scatterlayer .js-line").first.wait_for(state="attached")
    # A run is drawn twice, raw and smoothed, one over the other where smoothing is off.
    lines = {line.get_attribute("d") for line in card.locator(".scatterlayer .js-line").all()}
    return len(lines), re.findall(rf"([a-z0-9][a-z0-9 -]*) \({re.escape(metric)}\)", card.inner_text())


def test_the_charts_show_the_means_over_the_seeds(chromium, links):
    with opened(chromium, links["Curves, mean over seeds"]) as page:
        for metric in ("test/acc_pct", "test/loss", "train/acc_pct", "train/loss"):
            assert lines_of(page, metric) == (2, list(ARMS))
        shoot(page, "mean")


def test_the_charts_show_the_seeds_of_one_experiment(chromium, links):
    with opened(chromium, links["Curves, every seed"]) as page:
        page.get_by_role("link", name="s2 resnet68-text", exact=True).wait_for()
        search = page.get_by_placeholder("metrics.rmse")
        search.fill("tags.`repro.kind` = 'run' and tags.`repro.experiment` = 'resnet68'")
        search.press("Enter")
        page.get_by_role("link", name="s2 resnet68-text", exact=True).wait_for(state="detached")
        assert lines_of(page, "test/acc_pct") == (3, ["s0 resnet68", "s1 resnet68", "s2 resnet68"])
        shoot(page, "seeds")


def compared(page, param):
    """Return a param's row on the page that compares runs."""
    return page.locator("table.mlflow-compare-run-table tr", has=page.locator(f"th:text-is('{param}')"))


def test_two_experiments_compare_by_their_params(chromium, links):
    with opened(chromium, links["Published beside ours"]) as page:
        page.get_by_role("link", name="resnet68-text", exact=True).wait_for()
        for arm in ARMS:
            page.locator(f'[row-index="{row_of(page, arm)}"] input[type=checkbox]').first.check()
        page.get_by_role("button", name="Compare").click()
        rate, epochs = compared(page, "optim.lr"), compared(page, "budget.epochs")
        rate.wait_for()
        assert rate.locator("td").all_inner_texts() == ["0.01", "0.02"]
        assert epochs.locator("td").all_inner_texts() == ["12", "12"]
        rate.scroll_into_view_if_needed()
        shoot(page, "compare")
        page.get_by_role("switch").first.click()  # show what differs only
        epochs.wait_for(state="detached")
        assert rate.locator("td").all_inner_texts() == ["0.01", "0.02"]
        rate.scroll_into_view_if_needed()
        shoot(page, "compare-diff")


def test_a_run_shows_its_note_and_its_confusion_matrix(chromium, links):
    with opened(chromium, links["Published beside ours"]) as page:
        page.get_by_role("link", name="s1 resnet68", exact=True).click()
        page.get_by_text("Seed 1 of resnet68 of").first.wait_for()
        assert "published 90.14 %" in page.get_by_text("Seed 1 of resnet68 of").first.inner_text()
        shoot(page, "run")
        page.get_by_role("tab", name="Artifacts").click()
        page.get_by_text("confusion", exact=True).click()
        page.get_by_text("last.json", exact=True).wait_for()
        page.get_by_text("last.png", exact=True).click()
        picture = page.locator("img[src^='blob:'], img[src*='last.png'], img[src*='get-artifact']").first
        picture.wait_for()
        page.wait_for_function("e => e.complete && e.naturalWidth > 400", arg=picture.element_handle())
        shoot(page, "confusion")


# --- our own pages, as files ----------------------------------------------------------------------------------------

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)> [x](javascript:alert(3)) <svg onload=alert(4)>"


@contextmanager
def own_page(chromium, folder, markdown, width=1280):
    """Yield a page of ours made from Markdown."""
    path = folder / "report.html"
    path.write_bytes(html.page(markdown, "A title", {}, "../index.html"))
    with page_at(chromium, path, width) as page:
        yield page


@contextmanager
def page_at(chromium, path, width):
    """Yield one of our pages; it must have asked for nothing, opened no dialog and logged nothing."""
    context, wrong = chromium.new_context(viewport={"width": width, "height": 800}), []
    context.set_default_timeout(WAIT)
    page = context.new_page()
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda r: r.url.partition("#")[0] in (path.as_uri(), "data:,") or wrong.append(r.url))
    try:
        page.goto(path.as_uri())
        yield page
        assert wrong == []
    finally:
        context.close()


def claims_page(many=20):
    numbers = ["90.14 % ± 0.20", "−1.23", "1,050,202", "–", "+2,642", "9.5 %"]
    verdicts = ["reproduced", "fell short", "not run: no run yet", "not testable", "mixed", "equal"]
    head = ["Claim", "Where", "Ours", "Verdict"]
    short = [[code(f"c-{i}"), EVIL, n, v] for i, (n, v) in enumerate(zip(numbers, verdicts, strict=True))]
    long = [[code(f"far-{i}"), "a long sentence of many words " * 8, i, "exceeded"] for i in range(many)]
    tables = [table(head, "llrl", short), folded(f"{many} claims", table(head, "llrl", long), many)]
    return f"# {escape(EVIL)}\n\n## Ours\n\n{tables[0]}\n\n## More\n\n{tables[1]}\n\n{escape(EVIL)}\n"


def column(page, number):
    return page.locator(f"table >> nth=0 >> tbody td:nth-child({number})").all_inner_texts()


def test_our_tables_sort_by_number_with_the_dashes_last(chromium, tmp_path):
    with own_page(chromium, tmp_path, claims_page()) as page:
        before, ours = column(page, 3), page.locator("table >> nth=0 >> th >> nth=2")
        button = ours.get_by_role("button")
        button.focus()
        page.keyboard.press("Enter")
        upwards = ["−1.23", "9.5 %", "90.14 % ± 0.20", "+2,642", "1,050,202", "–"]
        assert column(page, 3) == upwards
        assert ours.get_attribute("aria-sort") == "ascending"
        button.click()
        assert column(page, 3) == [*upwards[-2::-1], "–"]
        assert ours.get_attribute("aria-sort") == "descending"
        button.click()
        assert (column(page, 3), ours.get_attribute("aria-sort")) == (before, None)
        page.locator("table >> nth=0 >> th >> nth=3").get_by_role("button").click()
        assert [text.partition(":")[0] for text in column(page, 4)] == [
            "reproduced", "equal", "mixed", "fell short", "not run", "not testable",
        ]  # fmt: skip


def test_our_filter_finds_claims_in_folds_and_closes_them_again(chromium, tmp_path):
    with own_page(chromium, tmp_path, claims_page()) as page:
        fold, row = page.locator("main details"), page.locator("#claim-far-7")
        assert page.locator("#count").inner_text() == "26 claims"
        page.fill("#words", "far-7 sentence")
        assert row.is_visible()
        assert page.locator("#count").inner_text() == "1 of 26 claims"
        assert page.locator("main tbody tr:visible").count() == 1
        page.fill("#words", "")
        assert fold.get_attribute("open") is None
        page.select_option("#verdict", "mixed")
        assert page.locator("main tbody tr:visible").all_inner_texts()[0].startswith("c-4")
        page.evaluate("location.hash = '#claim-far-9'")
        page.locator("#claim-far-9").wait_for()
        assert page.locator("main tbody tr:visible").count() == 26


def test_our_pages_fit_a_phone_and_hold_hostile_text(chromium, tmp_path):
    with own_page(chromium, tmp_path, claims_page(), width=390) as page:
        page.evaluate("document.querySelectorAll('details').forEach((fold) => { fold.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        assert page.locator("main img, main svg, main script").count() == 0
        assert page.locator("h1").inner_text() == EVIL
        page.locator(".table >> nth=1").evaluate("box => { box.scrollLeft = 200; }")
        box = page.locator(".table >> nth=1").bounding_box()
        assert page.locator("#claim-far-0 td >> nth=0").bounding_box()["x"] == pytest.approx(box["x"], abs=2)


def test_our_pages_print_what_is_folded(chromium, tmp_path):
    with own_page(chromium, tmp_path, claims_page()) as page:
        assert not page.locator("#claim-far-3").is_visible()
        page.emulate_media(media="print")
        assert page.locator("#claim-far-3").bounding_box()["height"] > 0
        assert not page.locator(".bar").is_visible()


# --- every page of a whole suite, from made-up records ---------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return a folder with the pages of all reports over synthetic records: every experiment, three seeds."""
    folder, reports = tmp_path_factory.mktemp("whole"), load_all()
    render(reports, synthetic.records(reports, 3), {}, folder)
    return folder


def in_a_table(claim):
    """Whether a report's page has a claim in a table; what no run decides is listed with its reason."""
    return claim.kind not in UNTESTABLE and getattr(claim, "why_not_run", None) is None


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", ["index.html", *(f"{report}/report.html" for report in sorted(load_all()))])
def test_the_pages_of_a_whole_suite_ask_for_nothing_and_fit(chromium, whole, name, width):
    reports, report = load_all(), name.partition("/")[0]
    tabled = {name: [c for c in each.claims if in_a_table(c)] for name, each in reports.items()}
    expected = len(tabled[report]) if report in reports else sum(len(each.claims) for each in reports.values())
    with page_at(chromium, whole / name, width) as page:
        assert page.locator("#count").inner_text() == f"{expected} claims"
        page.evaluate("document.querySelectorAll('details').forEach((fold) => { fold.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.locator("main td .chip").count() > expected / 2
        if report in reports:
            assert page.get_by_text("synthetic").count() > 0  # nobody may take them for results
            assert page.locator("main svg[role=img]").count() > 10
        shoot(page, f"whole-{report}-{width}")
