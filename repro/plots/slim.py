"""Matplotlib's SVG without what says nothing, two fifths of it: the same elements at the same places in the same style.

Every picture of every report is kept beside the evidence, so their size counts.
"""

import re

#: the one family of all text; Verdana has nearly the widths of DejaVu Sans where that is missing
FAMILY = "'DejaVu Sans', Verdana, sans-serif"
_COMMENT = re.compile(r"<!--.*?-->\n?")
_EDGES = re.compile(r"^[ \t]+|[ \t]+$", re.MULTILINE)
_TAG, _LONG = re.compile(r"<[^>]*>"), re.compile(r"-?\d+\.\d{3,}")
_OWN_FAMILY = re.compile(r"font-family: 'DejaVu Sans'(?:; |(?=\"))")
_UNTURNED = re.compile(r' transform="rotate\(-0 [^"]*"')
_WRAPPED = re.compile(r'<g id="text_\d+">\n(<text[^\n]*</text>\n)</g>\n')
_MARK = re.compile(r'<use ([^>\n]*?)( style="[^"\n]*")/>')
_ALIKE = re.compile(r'<(?:text|use)( style="[^"\n]*")[^\n]*\n(?:<(?:text|use)\1[^\n]*\n)+')


def slim(svg: str) -> str:
    """Return an SVG of matplotlib's with less text; what is not in its form stays as it is."""
    svg = _EDGES.sub("", _COMMENT.sub("", svg))
    svg = _TAG.sub(lambda tag: _LONG.sub(_rounded, tag[0]), svg)
    svg = _OWN_FAMILY.sub("", svg).replace("<svg ", f'<svg font-family="{FAMILY}" ', 1)
    svg = _WRAPPED.sub(r"\1", _UNTURNED.sub("", svg))
    return _ALIKE.sub(_grouped, _MARK.sub(r"<use\2 \1/>", svg))


def _rounded(number: re.Match[str]) -> str:
    """Hundredths of a point are enough, and hide the last bit in which machines may differ."""
    return f"{float(number[0]):.2f}"


def _grouped(run: re.Match[str]) -> str:
    """Give neighbours of one style a group that has it; an opacity is not inherited, and stays theirs."""
    lines, style = run[0], run[1]
    return lines if re.search(r"(?<!-)opacity", style) else f"<g{style}>\n{lines.replace(style, '')}</g>\n"
