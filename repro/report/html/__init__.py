"""A report's page and the overview as one HTML file each: no network, no framework, the same bytes every time.

The finished Markdown is the only source, so that both forms say the same. Foreign text was made inert there
(`repro.report.markdown`); here all HTML but our own folds is shown as text, and links leave the page only when clicked.
"""

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined

from repro.report.html.body import Body, body


def page(markdown: str, title: str, figures: Mapping[str, bytes], home: str | None) -> bytes:
    """Return a report's page.

    `markdown` is the finished `report.md`, `figures` the SVG files that it shows as `figures/NAME`, by NAME;
    `home` is the overview's address as seen from the page, None for no such link.
    """
    return _document(body(markdown, figures), title, home)


def index(markdown: str, title: str) -> bytes:
    """Return the overview, whose claims link to their rows on the reports' pages; `markdown` is the finished text."""
    return _document(body(markdown, {}, overview=True), title, None)


def _document(content: Body, title: str, home: str | None) -> bytes:
    style, script = _part("style.css"), _part("page.js")
    policy = "; ".join([
        "default-src 'none'", f"style-src {_hash(style)}", f"script-src {_hash(script)}", "img-src data:",
        "base-uri 'none'", "form-action 'none'",
    ])  # fmt: skip
    text = _environment().get_template("page.html.j2").render(
        title=title, home=home, policy=policy, style=style, script=script, content=content.html,
        headings=content.headings, claims=content.claims,
    )  # fmt: skip
    return text.encode()


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("repro.report"),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


@cache
def _part(name: str) -> str:
    return files("repro.report").joinpath("templates", name).read_text("utf-8")


def _hash(text: str) -> str:
    """Return a source's hash as a content security policy writes it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
