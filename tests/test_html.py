"""HTML pages: what the Markdown says and no more, inert against hostile text, whole, and the same every time."""

import base64
import hashlib
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from importlib.resources import files
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from repro import plots
from repro.judge.rows import NEGATIVE, POSITIVE, WORDS
from repro.report import html
from repro.report.cells import folded
from repro.report.html.body import chip_class
from repro.report.markdown import Md, code, escape, table

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "reports").glob("*/report.md"))
EVIL = '<script>alert(1)</script> <img src=x onerror=alert(2)> [x](javascript:alert(3)) <svg onload="alert(4)"> `a`'
SVG = b"""<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"
 width="9pt" height="9pt" viewBox="0 0 9 9" onload="alert(1)"><style>*{fill: red}</style><script>alert(2)</script>
<defs><clipPath id="c"><rect width="9" height="9"/></clipPath><path id="m" d="M 0 0
L 1 1"/></defs><a xlink:href="javascript:alert(3)"><rect/></a><image xlink:href="http://evil.example/a.png"/>
<foreignObject><p>no</p></foreignObject><g id="unused" style="fill: #222222; background: url(http://evil.example)">
<use xlink:href="#m" clip-path="url(#c)"/><text>loss &lt; 1</text></g></svg>"""


def tree(data):
    """Return a page as elements, without style and script; whatever is not well-formed fails here."""
    text = re.sub(r"<(style|script)>.*?</\1>", "", data.decode(), flags=re.DOTALL)
    return ET.fromstring(text.removeprefix("<!DOCTYPE html>\n"))


def words(element):
    return " ".join("".join(element.itertext()).split())


def page(markdown, figures=None):
    return html.page(markdown, "A title", figures or {}, "../index.html")


def main(data):
    return tree(data).find(".//main")


def claims(rows, verdict="Verdict"):
    return table(["Claim", "Published", verdict], "lrl", rows)


@pytest.mark.parametrize("path", PAGES[3:4] or PAGES[:1], ids=lambda path: path.parent.name)
def test_every_table_row_fold_and_figure_of_the_markdown_is_there(path):
    text = path.read_text()
    figures = {file.name: file.read_bytes() for file in path.parent.glob("figures/*.svg")}
    content = main(page(text, figures))
    shown = [[[words(cell) for cell in row] for row in found.iter("tr")] for found in content.iter("table")]
    parser = MarkdownIt("commonmark").enable("table")
    assert shown == markdown_tables(parser.parse(text))
    assert len(content.findall(".//details")) == text.count("<details>")
    assert len([s for s in content.iter("svg")]) == text.count("](figures/")
    names = [element.get("id") for element in tree(page(text, figures)).iter() if element.get("id")]
    assert len(names) == len(set(names))
    places = {a.get("href")[1:] for a in tree(page(text, figures)).iter("a") if a.get("href").startswith("#")}
    assert places <= set(names)
    assert len(page(text, figures)) < 1_000_000


def markdown_tables(tokens):
    """Return each table of a parsed page as rows of plain cells."""
    found = []
    for before, token in zip([None, *tokens], tokens, strict=False):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type == "inline" and before.type in ("th_open", "td_open"):
            found[-1][-1].append(" ".join("".join(child.content for child in token.children).split()))
    return found


def test_hostile_text_is_shown_and_does_nothing():
    text = f"# {escape(EVIL)}\n\n{claims([[code('a'), EVIL, EVIL]])}\n\n{escape(EVIL)}\n"
    content = main(page(text))
    for element in (content.find("h1"), content.find("p"), content.find(".//td[@class='right']")):
        assert words(element) == EVIL
    check_harmless(page(text))


@pytest.mark.parametrize("raw", [
    EVIL, "<script>alert(1)</script>", "<details onclick=x><summary>y</summary>", "<iframe src=x></iframe>",
    "<details><summary><b onclick=alert(1)>x</b></summary>\n\ntext\n\n</details>", "</details></main><p>x",
    "</details>", "<details><summary>never closed</summary>", "[a](JaVaScRiPt:alert(1)) [b](data:text/html,x)",
    "[c](vbscript:x) [d](//evil.example/x) [e](http://evil.example) [f](&#106;avascript:alert(1))",
    "![x](http://evil.example/a.png) ![y](figures/../../secret.svg)", "a <b onmouseover=x>b</b> <!-- c -->",
])  # fmt: skip
def test_markdown_that_was_never_escaped_is_inert_too(raw):
    check_harmless(page(f"# T\n\n{raw}\n\nafter\n"))


def check_harmless(data):
    root = tree(data)
    kept = {"html", "head", "meta", "title", "link", "body", "a", "header", "form", "input", "select", "option",
            "output", "div", "nav", "details", "summary", "ul", "li", "main", "h1", "p", "table", "thead", "tbody",
            "tr", "th", "td", "code", "em", "span"}  # fmt: skip
    assert {element.tag for element in root.iter()} <= kept
    for element in root.iter():
        assert not [name for name in element.attrib if name.startswith("on") or name in ("style", "src", "srcdoc")]
        address = element.get("href", "#")
        assert address in ("../index.html", "data:,") or re.fullmatch(r"#[\w.-]*", address), address


def test_figures_come_in_with_ids_of_their_own_and_nothing_that_acts():
    content = main(
        page("![one](figures/a.svg)\n\n![two < 2](figures/a.svg)\n\n![three](figures/b.svg)", {"a.svg": SVG})
    )
    first, second = content.iter("svg")
    assert (first.get("aria-label"), second.get("aria-label"), first.get("role")) == ("one", "two < 2", "img")
    assert {e.tag for e in first.iter()} == {"svg", "defs", "clipPath", "rect", "path", "image", "g", "use", "text"}
    assert words(first) == "loss < 1"
    use, group = first.find(".//use"), first.findall("g")[0]
    assert (use.get("href"), use.get("clip-path"), group.attrib) == ("#f1-m", "url(#f1-c)", {"fill": "#222222"})
    assert {e.get("id") for e in second.iter()} - {None} == {"f2-c", "f2-m"}
    text = ET.tostring(content, encoding="unicode")
    assert not [bad for bad in ("alert", "evil", "onload", "javascript", "<style") if bad in text]
    assert words(content.find(".//em")) == "three"


def test_our_own_figures_keep_their_text_and_marks():
    drawn = plots.curves_figure({"test/loss": [[2.0, 1.0, 0.5]], "test/acc_pct": [[50.0, 60.0, 70.0]]}, "a title")
    svg = next(main(page("![x](figures/a.svg)", {"a.svg": drawn})).iter("svg"))
    own = ET.fromstring(drawn)
    for tag in ("text", "path", "use", "clipPath"):
        assert len(list(svg.iter(tag))) == len(list(own.iter(f"{{http://www.w3.org/2000/svg}}{tag}")))
    assert {e.get("stroke") for e in svg.iter()} >= {"#d55e00", "#222222", "#e4e4e4"}
    assert not [e for e in svg.iter() if e.get("style")]


def test_every_colour_of_the_figures_follows_a_dark_page():
    style = files("repro.report").joinpath("templates", "style.css").read_text()
    used = re.findall(r'"(#[0-9a-fA-F]{6})"', (ROOT / "repro" / "plots" / "style.py").read_text())
    for colour in {"#ffffff", *map(str.lower, used)}:
        for kind in ("fill", "stroke"):
            assert f'[{kind}="{colour}"]' in style


def test_claims_have_addresses_in_their_widest_table_and_links_to_them():
    short, wide = table(["Claim", "n"], "lr", [[Md("**`acc`**"), 1]]), claims([[code("acc"), "90 %", "reproduced"]])
    text = f"## `acc`\n\n{short}\n\n{wide}\n\n- `acc`: see `other`\n"
    content = main(page(text))
    row = content.find(".//tr[@id='claim-acc']")
    assert [words(cell) for cell in row] == ["acc", "90 %", "reproduced"]
    assert [a.get("href") for a in content.iter("a")] == ["#claim-acc"] * 3
    shared = page(f"{text}\n\n{table(['Experiment', 'n'], 'lr', [[code('acc'), 1]])}\n")
    assert [a.get("href") for a in main(shared).iter("a")] == ["#claim-acc"] * 2  # the claims' own rows


def test_claims_that_no_run_decides_have_addresses_in_their_list():
    text = "# T\n\n## Claims no run can decide\n\n### Why\n\n- `y` (2.3): Because. *Why not:* `y` has no number\n\n"
    items = list(main(page(f"{text}## Else\n\n- `z`: no claim\n")).iter("li"))
    assert [item.get("id") for item in items] == ["claim-y", None]


@pytest.mark.parametrize("folder", [ROOT / "reports", ROOT / "tests" / "golden" / "reports"], ids=["ours", "demo"])
def test_every_link_of_the_overview_to_a_claim_leads_somewhere(tmp_path, folder):
    pages = {path.parent.name: html.page(path.read_text(), "T", {}, "..") for path in folder.glob("*/report.md")}
    ids = {name: {e.get("id") for e in tree(data).iter()} for name, data in pages.items()}
    links = {a.get("href", "") for a in tree(html.index((folder / "README.md").read_text(), "T")).iter("a")}
    places = [link.split("/report.html#") for link in links if "#claim-" in link]
    assert places
    assert [place for place in places if place[1] not in ids[place[0]]] == []


def test_the_overview_links_claims_to_the_reports_pages():
    rows = [[Md(f"[{name}]({name}/report.md)"), code("x"), 1] for name in "ab"]
    head = table(["Report", "Claim", "n"], "llr", rows)
    text = f"# T\n\n[csv](claims.csv)\n\n{head}\n\n[the page](c/report.md)\n\n{claims([[code('y'), 1, '']])}\n"
    data = html.index(text, "T")
    assert [a.get("href") for a in main(data).iter("a")] == [
        "claims.csv", "a/report.html", "a/report.html#claim-x", "b/report.html", "b/report.html#claim-x",
        "c/report.html", "c/report.html#claim-y",
    ]  # fmt: skip
    assert tree(data).find(".//a[@class='home']") is None


def test_verdict_words_are_chips_in_their_columns_only():
    rows = [[code(f"c{i}"), word, f"{word}: why"] for i, word in enumerate(WORDS)]
    rows.append([code("other"), "1", "equalled, not a word"])
    chips = main(page(claims(rows))).findall(".//span[@data-order]")
    assert [chip.text for chip in chips] == list(WORDS)
    for chip in chips:
        tone = "good" if chip.text in POSITIVE else "bad" if chip.text in NEGATIVE else "open"
        assert chip.get("class") == f"chip {tone} {chip_class(chip.text)}"


def test_every_verdict_word_has_a_symbol():
    style = files("repro.report").joinpath("templates", "style.css").read_text()
    for word in WORDS:
        assert re.search(rf"\.{chip_class(word)}::before[^{{]*{{ content: ", style), word


def test_the_contents_lead_to_every_heading():
    root = tree(page("# T\n\n## A `b` <i>c</i>\n\n### A b\n\n## A b c\n\n## –\n"))
    heads = [(h.get("id"), words(h)) for h in root.find(".//main") if h.tag in ("h2", "h3")]
    links = [(a.get("href")[1:], words(a)) for a in root.findall(".//nav//a")]
    assert [name for name, _ in links] == [name for name, _ in heads]
    assert len({name for name, _ in heads}) == 4


def test_folds_survive_and_stay_balanced():
    many = folded("20 claims & more", claims([[code(f"c{i}"), i, ""] for i in range(20)]), 20)
    content = main(page(f"# T\n\n{many}\n\nafter\n"))
    fold = content.find("details")
    assert words(fold.find("summary")) == "20 claims & more"
    assert len(fold.findall(".//tbody/tr")) == 20
    assert words(content.findall("p")[-1]) == "after"


def test_the_policy_names_exactly_the_pages_own_style_and_script():
    data = page("# T\n").decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', data)[1].replace("&#39;", "'")
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for kind in ("style", "script"):
        (text,) = re.findall(rf"<{kind}>(.*?)</{kind}>", data, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert "http" not in re.sub(r"http-equiv", "", data)


def test_a_fresh_process_gives_the_same_bytes():
    program = (
        "import sys; from repro.report import html; sys.stdout.buffer.write(html.page(sys.stdin.read(), 'A title', {}, "
        "'../index.html'))\nassert not {'torch', 'mlflow', 'matplotlib'} & set(sys.modules)"
    )
    text = f"# T\n\n{claims([[code('a'), 1, 'mixed']])}\n"
    done = subprocess.run(
        [sys.executable, "-c", program], input=text.encode(), capture_output=True, check=True, cwd=ROOT
    )
    assert done.stdout == page(text)
