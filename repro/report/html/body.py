"""A finished Markdown page as HTML: headings and claims with addresses, figures in place, verdict words as chips."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape, unescape
from itertools import pairwise
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

from repro.judge.rows import NEGATIVE, POSITIVE, WORDS
from repro.report.html import tables
from repro.report.html.svg import inline

_FOLD = re.compile(r"<details><summary>(.*)</summary>")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


@dataclass(frozen=True)
class Heading:
    """A heading of the table of contents: its level (1 to 6), its id on the page, its plain text."""

    level: int
    id: str
    text: str


@dataclass
class Body:
    """A page's content; `claims`: whether it has tables of claims, `used`: the ids given so far."""

    html: str = ""
    headings: list[Heading] = field(default_factory=list)
    claims: bool = False
    used: set[str] = field(default_factory=set)

    def fresh(self, text: str) -> str:
        """Return an id made of a text's letters and digits, not yet used on the page."""
        stem = "-".join(re.findall(r"[^\W_]+", text.lower())) or "section"
        name, number = stem, 1
        while name in self.used:
            number += 1
            name = f"{stem}-{number}"
        self.used.add(name)
        return name


def body(markdown: str, figures: Mapping[str, bytes], overview: bool = False) -> Body:
    """Return the page's content; in the `overview` claims link to the reports' pages instead of to this one."""
    parser = _parser()
    tokens = parser.parse(markdown)
    found = Body()
    all_tables = tables.find(tokens)
    found.claims = any("Claim" in table.head for table in all_tables)
    if overview:
        tables.link_to_reports(tokens, all_tables)
    else:
        found.used |= tables.address_claims(tokens, all_tables)
    tables.mark(all_tables)
    _headings(tokens, found)
    _name_tables(tokens, found)
    found.html = parser.renderer.render(tokens, parser.options, {"figures": figures, "shown": [0], "depth": [0]})
    # A fold that the Markdown never closes must not swallow what the page sets after it.
    found.html += "</details>" * (found.html.count("<details>") - found.html.count("</details>"))
    return found


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark").enable("table")
    parser.validateLink = _harmless  # type: ignore[method-assign,assignment]
    for name, rule in (
        ("html_block", _html_block), ("html_inline", _html_inline), ("image", _image), ("link_open", _link_open),
        ("table_open", _table_open), ("table_close", _table_close), ("chip", _chip), ("claim", _claim),
    ):  # fmt: skip
        parser.add_render_rule(name, rule)
    return parser


def _harmless(address: str) -> bool:
    """Whether a link may stay: to a file beside the page, a place on it, or a site over https."""
    plain = "".join(unescape(address).split())
    scheme = _SCHEME.match(plain)
    return scheme[0] == "https:" if scheme else not plain.startswith(("//", "\\"))


def _headings(tokens: list[Token], found: Body) -> None:
    """Give each heading its id and note it for the table of contents."""
    for opened, inside in pairwise(tokens):
        if opened.type == "heading_open":
            text = tables.text_of(inside)
            name = found.fresh(text)
            opened.attrSet("id", name)
            found.headings.append(Heading(int(opened.tag[1:]), name, text))


def _name_tables(tokens: list[Token], found: Body) -> None:
    """Name each table's scroll box by the heading above it."""
    text, level = "", iter(found.headings)
    for token in tokens:
        if token.type == "heading_open":
            text = next(level).text
        elif token.type == "table_open":
            token.meta["name"] = text or "Table"


# --- what the renderer calls: (self, tokens, index, options, env) -> HTML -------------------------------------------


def _html_block(self: Any, tokens: Any, i: int, options: Any, env: Any) -> str:
    """Pass our own folds; show everything else as the text it is."""
    lines = []
    for line in tokens[i].content.strip().split("\n"):
        fold = _FOLD.fullmatch(line.strip())
        if fold:
            env["depth"][0] += 1
            lines.append(f"<details><summary>{escape(unescape(fold[1]))}</summary>")
        elif line.strip() == "</details>" and env["depth"][0]:
            env["depth"][0] -= 1
            lines.append("</details>")
        else:
            lines.append(f"<p>{escape(line)}</p>")
    return "\n".join(lines) + "\n"


def _html_inline(self: Any, tokens: Any, i: int, options: Any, env: Any) -> str:
    return escape(tokens[i].content)


def _image(self: Any, tokens: Any, i: int, options: Any, env: Any) -> str:
    """Set a figure into the page; one that is not there leaves its words."""
    words = self.renderInlineAsText(tokens[i].children, options, env)
    data = env["figures"].get(str(tokens[i].attrs["src"]).removeprefix("figures/"))
    if data is None:
        return f"<em>{escape(words)}</em>"
    env["shown"][0] += 1
    return inline(data, f"f{env['shown'][0]}-", words)


def _link_open(self: Any, tokens: Any, i: int, options: Any, env: Any) -> str:
    """Open a link; one to a page goes to its HTML form, one to another site tells it nothing."""
    address = str(tokens[i].attrs["href"])
    rest, hash_, place = address.partition("#")
    rest = re.sub(r"(^|/)README\.md$", r"\1index.html", re.sub(r"(^|/)report\.md$", r"\1report.html", rest))
    outside = ' rel="noreferrer noopener"' if _SCHEME.match(address) else ""
    return f'<a href="{escape(rest + hash_ + place)}"{outside}>'


def _table_open(self: Any, tokens: Any, i: int, options: Any, env: Any) -> str:
    # The box scrolls, so the keyboard has to reach it.
    name, kinds = escape(tokens[i].meta["name"]), tokens[i].attrs.get("class", "")
    return f'<div class="table" role="region" tabindex="0" aria-label="{name}"><table class="{kinds}">\n'


def _table_close(self: Any, tokens: Any, i: int, options: Any, env: Any) -> str:
    return "</table></div>\n"


def _chip(self: Any, tokens: Any, i: int, options: Any, env: Any) -> str:
    """A verdict word; the style sheet adds a colour and a symbol, and tables sort it by its rank."""
    word = tokens[i].content
    tone = "good" if word in POSITIVE else "bad" if word in NEGATIVE else "open"
    return f'<span class="chip {tone} {chip_class(word)}" data-order="{WORDS.index(word)}">{escape(word)}</span>'


def chip_class(word: str) -> str:
    """Return a verdict word's class in the style sheet."""
    return "word-" + "-".join(re.findall(r"\w+", word))


def _claim(self: Any, tokens: Any, i: int, options: Any, env: Any) -> str:
    return f'<a href="{escape(tokens[i].meta["href"])}"><code>{escape(tokens[i].content)}</code></a>'
