"""A slimmed figure is the same picture: the same elements, places and words, each in the style that it had."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from repro import plots
from repro.plots import style
from repro.plots.slim import FAMILY, slim

EPOCHS = tuple(range(1, 41))
CURVE = np.linspace(10, 90, 40) + np.pi / 1000
LINE = plots.ForestLine("a", "reproduced", "for", "90.0", "90.1", mean=0.1, runs=[0.1, -0.2], low=-0.3, high=0.4)
FIGURES = {
    "curves": lambda: plots.curves_figure(
        {"test/acc_pct": [CURVE, CURVE + 1], "test/loss": [np.geomspace(2.3, 0.01, 40)]}, "A run",
        published=[plots.Published("test/loss", 0.123, "0.123", 12), plots.Published("test/acc_pct", 87.0, "87")],
        traces=[plots.Trace("test/acc_pct", EPOCHS, tuple(CURVE - 2))],
    ),
    "confusion": lambda: plots.confusion_figure(np.eye(10) * 900 + np.arange(10), [*"abcdefghij"], "1 < 2 & 3"),
    "trio": lambda: plots.trio_figure([np.eye(3) * 900 + 7], np.eye(3) * 800 + 9, [*"abc"], "Both"),
    "bands": lambda: plots.bands_figure({"one": (CURVE, CURVE + 1), "two": (CURVE - 1, CURVE + 2)}, "Bands"),
    "forest": lambda: plots.forest_figure([plots.ForestPanel("points", [LINE] * 3)], "Forest"),
    "cost": lambda: plots.cost_figure([plots.CostLine("a", "gpu", [1.0, 2.0], 100.0)], "Cost"),
    "bracket": lambda: plots.bracket_figure([plots.BracketLine("a", "last", "x", {"last": 0.0}, [0.5])], "Bracket"),
}  # fmt: skip


def painted(svg):
    """Return what an SVG paints, in order: element, place, words, style with all that it inherits."""
    found = []

    def walk(node, style, opacities):
        tag = node.tag.rpartition("}")[2]
        attributes = {key.rpartition("}")[2]: value for key, value in node.attrib.items()}
        own = dict(part.split(": ") for part in attributes.pop("style", "").split("; ") if part)
        own |= {key: attributes.pop(key) for key in ("font-family",) if key in attributes}
        opacities += (own.pop("opacity", "1"),)  # of a group as a whole, no matter of inheritance
        style = style | own
        turned = attributes.get("transform", "")
        if turned.startswith("rotate(-0 "):
            del attributes["transform"]
        if tag == "g":
            assert not attributes.keys() - {"id", "clip-path"}
        else:
            place = sorted((k, rounded(v)) for k, v in attributes.items() if not (tag == "svg" and k == "version"))
            shown = {k: rounded(v) for k, v in style.items() if k != "font-family"}
            family = re.sub(r", Verdana, sans-serif", "", style["font-family"]) if tag == "text" else None
            found.append((tag, place, shown, family, [o for o in opacities if o != "1"], words(node.text)))
        for child in node:
            walk(child, style, opacities)

    walk(ET.fromstring(svg), {}, ())
    return found


def rounded(value):
    return re.sub(r"-?\d+\.\d+", lambda number: f"{float(number[0]):.2f}", " ".join(value.split()))


def words(text):
    return " ".join((text or "").split())


@pytest.mark.parametrize("name", FIGURES)
def test_a_slim_figure_paints_what_matplotlib_drew(name, monkeypatch):
    drawn = []
    monkeypatch.setattr(style, "slim", lambda svg: drawn.append(svg) or slim(svg))
    ours = FIGURES[name]().decode()
    assert painted(ours) == painted(drawn[0])
    assert len(ours) < 0.8 * len(drawn[0])


def test_numbers_in_words_keep_their_digits():
    svg = FIGURES["curves"]().decode()
    assert ">0.123</text>" in svg
    assert not re.findall(r"<[^>]*\d\.\d{3}[^>]*>", svg)


def test_an_opacity_is_not_handed_to_a_group():
    # Two marks of half opacity that overlap show through each other; a group of half opacity is one sheet.
    marks = '<use x="1" style="fill: #222222; opacity: 0.5"/>\n' * 2
    assert "<g" not in slim(marks)
    inherited = marks.replace("opacity", "fill-opacity")
    assert slim(inherited) == '<g style="fill: #222222; fill-opacity: 0.5">\n<use x="1"/>\n<use x="1"/>\n</g>\n'


def test_what_matplotlib_does_not_write_stays():
    other = '<svg viewBox="0 0 1 1"><text x="1">  a\n b </text><use style="a: b" href="#c"></use></svg>\n'
    assert slim(other) == other.replace("<svg", f'<svg font-family="{FAMILY}"').replace("\n b", "\nb")
