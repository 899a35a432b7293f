"""A figure's SVG file as an element of the page: no style, script or address of its own, ids that clash with none.

Only what is listed passes. Styles become attributes, which the page's style sheet can outrank: that is how figures
follow a dark page, and why the page's policy needs no inline styles.
"""

import re
import xml.etree.ElementTree as ET
from html import escape

_ELEMENTS = {
    "svg", "g", "defs", "path", "use", "text", "tspan", "rect", "line", "polyline", "polygon", "circle", "ellipse",
    "clipPath", "image", "linearGradient", "radialGradient", "stop", "pattern", "title", "desc",
}  # fmt: skip
_STYLES = {
    "fill", "fill-opacity", "fill-rule", "stroke", "stroke-opacity", "stroke-width", "stroke-linecap",
    "stroke-linejoin", "stroke-dasharray", "stroke-dashoffset", "stroke-miterlimit", "opacity", "font-size",
    "font-family", "font-weight", "font-style", "text-anchor", "dominant-baseline", "clip-path", "stop-color",
    "stop-opacity", "image-rendering", "display", "visibility",
}  # fmt: skip
_SHAPES = {
    "d", "x", "y", "dx", "dy", "x1", "y1", "x2", "y2", "cx", "cy", "r", "rx", "ry", "fx", "fy", "width", "height",
    "points", "transform", "viewBox", "preserveAspectRatio", "offset", "gradientUnits", "gradientTransform",
    "patternUnits", "patternTransform", "clipPathUnits",
}  # fmt: skip
_PIXELS = re.compile(r"data:image/png;base64,[A-Za-z0-9+/=\s]*")
_OWN = re.compile(r"url\(#([^)\s]+)\)")


def inline(data: bytes, prefix: str, words: str) -> str:
    """Return an SVG file as an element that scrolls on narrow screens, with a caption.

    `words` say what it shows, for those who cannot see it too; `prefix` keeps its ids apart from other figures'.
    """
    root = ET.fromstring(data)
    text = data.decode()
    used = set(_OWN.findall(text)) | set(re.findall(r'href="#([^"]+)"', text))
    # Pixels keep their colours on a dark page, so the rest of such a figure has to as well.
    paper = " paper" if any(_name(node.tag) == "image" for node in root.iter()) else ""
    label = f' role="img" aria-label="{escape(words)}" stroke-linejoin="round"'
    drawn = _element(root, prefix, used, label)
    return f'<span class="figure{paper}">{drawn}</span><span class="caption">{escape(words)}</span>'


def _name(tag: object) -> str:
    return str(tag).rpartition("}")[2]


def _element(node: ET.Element, prefix: str, used: set[str], more: str = "") -> str:
    name = _name(node.tag)
    if name not in _ELEMENTS:
        return ""
    inside = "".join(_element(child, prefix, used) + _kept(child.tail) for child in node)
    content = (escape(" ".join(node.text.split())) if node.text else "") + inside
    if name in ("g", "defs") and not content:
        return ""
    given = "".join(f' {key}="{escape(value)}"' for key, value in _attributes(node, prefix, used).items())
    return f"<{name}{given}{more}>{content}</{name}>" if content else f"<{name}{given}{more}/>"


def _kept(tail: str | None) -> str:
    return escape(tail) if tail and tail.strip() else ""


def _attributes(node: ET.Element, prefix: str, used: set[str]) -> dict[str, str]:
    """Return an element's attributes: the listed ones, styles among them, with the page's ids."""
    raw = {_name(key): value for key, value in node.attrib.items()}
    for part in raw.pop("style", "").split(";"):
        key, colon, value = part.partition(":")
        if colon and key.strip() in _STYLES:
            raw[key.strip()] = value.strip()
    kept = {}
    for key, value in raw.items():
        if key in _SHAPES | _STYLES:
            moved = _OWN.sub(rf"url(#{prefix}\1)", value)
            if "url(" not in _OWN.sub("", value):
                kept[key] = " ".join(moved.split())
        elif key == "id" and value in used:
            kept[key] = prefix + value
        elif key == "href" and value.startswith("#"):
            kept[key] = f"#{prefix}{value[1:]}"
        elif key == "href" and _name(node.tag) == "image" and _PIXELS.fullmatch(value):
            kept[key] = "".join(value.split())
    return kept
