"""The tables of a page, as tokens: which rows are claims, which cells verdicts, which columns numbers."""

import re
from dataclasses import dataclass, field
from itertools import pairwise

from markdown_it.token import Token

from repro.judge.rows import WORDS

#: columns whose cells begin with a verdict word
_VERDICTS = ("Verdict", "State")
_WORD = re.compile(f"({'|'.join(sorted(map(re.escape, WORDS), key=len, reverse=True))})(?![\\w-])")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PAGE = re.compile(r"([\w.-]+)/report\.md")
#: the section whose list items are claims too
_LISTED = "Claims no run can decide"
#: a first column no longer than this stays in sight while the rest scrolls
_NARROW = 40


@dataclass
class Row:
    """A table's row: its token and the tokens of its cells' content."""

    opened: Token
    cells: list[Token] = field(default_factory=list)


@dataclass
class Table:
    """A table: its token, the heads of its columns, its rows without the head."""

    opened: Token
    head: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)


def find(tokens: list[Token]) -> list[Table]:
    """Return the page's tables in their order."""
    found: list[Table] = []
    inside, heads = False, False
    for token in tokens:
        if token.type == "table_open":
            found.append(Table(token))
            inside = True
        elif token.type == "table_close":
            inside = False
        elif token.type in ("thead_open", "tbody_open"):
            heads = token.type == "thead_open"
        elif token.type == "tr_open" and not heads:
            found[-1].rows.append(Row(token))
        elif token.type == "inline" and inside:
            found[-1].head.append(text_of(token)) if heads else found[-1].rows[-1].cells.append(token)
        elif token.type in ("th_open", "td_open"):
            _aligned(token)
    return found


def _aligned(cell: Token) -> None:
    """Turn the parser's alignment into a class, because the page's policy knows no style attributes."""
    found = re.search(r"right|center", str(cell.attrs.pop("style", "")))
    if found:
        cell.attrSet("class", found[0])
    if cell.type == "th_open":
        cell.attrSet("scope", "col")


def mark(tables: list[Table]) -> None:
    """Class the tables of claims and those with a narrow first column, and make verdict words chips."""
    for table in tables:
        kinds = ["claims"] if "Claim" in table.head else []
        if all(len(text_of(row.cells[0])) <= _NARROW for row in table.rows if row.cells):
            kinds.append("keyed")
        table.opened.attrSet("class", " ".join(kinds))
        for row in table.rows:
            for head, cell in zip(table.head, row.cells, strict=False):
                if head in _VERDICTS:
                    _chips(cell)


def _chips(cell: Token) -> None:
    children = cell.children or []
    for i, child in enumerate(children):
        if child.type == "text" and child.content:
            found = _WORD.match(child.content)
            if found:
                rest = Token("text", "", 0, content=child.content[found.end() :])
                children[i : i + 1] = [Token("chip", "", 0, content=found[0]), rest]
            return


def address_claims(tokens: list[Token], tables: list[Table]) -> set[str]:
    """Give each claim's row or list item an id, link its name wherever the page has it, and return the ids.

    A claim that stands in several tables has its address in the widest, which says most.
    """
    opened = _listed(tokens)
    rows: dict[str, tuple[int, Row]] = {}
    for table in tables:
        for row in table.rows if table.head[:1] in (["Claim"], ["Claims"]) else []:
            name = _leading_name(row.cells[0])
            if name and (name not in rows or len(row.cells) > rows[name][0]):
                rows[name] = (len(row.cells), row)
    opened |= {name: row.opened for name, (_, row) in rows.items()}
    for name, token in opened.items():
        token.attrSet("id", f"claim-{name}")
    # An experiment may have a claim's name; what is meant by it then is open.
    named = {text_of(row.cells[0]) for table in tables for row in table.rows if table.head[:1] == ["Experiment"]}
    own = {id(row.cells[0]) for table in tables for row in table.rows if table.head[:1] == ["Claim"]}
    of_claims, elsewhere = ({name: f"#claim-{name}" for name in names} for names in (opened, opened.keys() - named))
    for before, token in zip([None, *tokens], tokens, strict=False):
        if token.type == "inline" and not (before and before.type == "heading_open"):
            _link(token, of_claims if id(token) in own else elsewhere)
    return {f"claim-{name}" for name in opened}


def _listed(tokens: list[Token]) -> dict[str, Token]:
    """Return the list items of the section of claims that no run decides, by the claim's name."""
    found: dict[str, Token] = {}
    section, item = "", None
    for before, token in pairwise(tokens):
        if before.type == "heading_open" and before.tag == "h2":
            section = text_of(token)
        elif token.type == "list_item_open":
            item = token
        elif token.type == "inline" and item is not None and section == _LISTED:
            if name := _leading_name(token):
                found.setdefault(name, item)
            item = None
    return found


def link_to_reports(tokens: list[Token], tables: list[Table]) -> None:
    """Link each claim of the overview to its row on its report's page: the page that a link before it named."""
    columns = {id(cell): i for table in tables for row in table.rows for i, cell in enumerate(row.cells)}
    heads = {id(cell): table.head for table in tables for row in table.rows for cell in row.cells}
    report = ""
    for token in tokens:
        for child in token.children or []:
            found = _PAGE.fullmatch(str(child.attrs.get("href", "")))
            report = found[1] if found else report
        name, head = _leading_name(token), heads.get(id(token), [])
        if report and name and columns.get(id(token), len(head)) < len(head) and head[columns[id(token)]] == "Claim":
            _link(token, {name: f"{report}/report.html#claim-{name}"})


def _leading_name(cell: Token) -> str:
    """Return the claim's name that a cell begins with as a code span, or nothing."""
    for child in cell.children or []:
        if child.type == "code_inline":
            return child.content if _ID.fullmatch(child.content) else ""
        if child.content:
            return ""
    return ""


def _link(token: Token, addresses: dict[str, str]) -> None:
    """Turn code spans that are names into links, where they are none yet."""
    depth = 0
    for child in token.children or []:
        depth += (child.type == "link_open") - (child.type == "link_close")
        if child.type == "code_inline" and not depth and child.content in addresses:
            child.type, child.meta = "claim", {"href": addresses[child.content]}


def text_of(token: Token) -> str:
    """Return what a reader sees of an inline token, as plain text."""
    return "".join(child.content for child in token.children or [] if child.type != "html_inline") or ""
