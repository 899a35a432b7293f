"""Pictures as bytes: curves, confusion matrices, bands, galleries of images. The one room that imports matplotlib.

The same numbers give the same bytes: no dates, no software versions, a fixed font, size and hash salt, and
nothing of the user's own matplotlib settings. Colours are Okabe and Ito's, which colour-blind readers can
tell apart; lines differ in dash as well.
"""

from repro.plots.bands import bands_figure
from repro.plots.bracket import MARKS, BracketLine, bracket_figure
from repro.plots.cache import cached
from repro.plots.cost import CostLine, cost_figure
from repro.plots.curves import GROUPS, SERIES, Published, Trace, curves_figure, curves_png
from repro.plots.forest import ForestLine, ForestPanel, forest_figure
from repro.plots.gallery import Block, gallery_png
from repro.plots.matrix import confusion_figure, confusion_png
from repro.plots.trio import beyond_noise, trio_figure

__all__ = [
    "GROUPS", "MARKS", "SERIES", "Block", "BracketLine", "CostLine", "ForestLine", "ForestPanel", "Published", "Trace",
    "bands_figure", "beyond_noise", "bracket_figure", "cached", "confusion_figure", "confusion_png", "cost_figure",
    "curves_figure", "curves_png", "forest_figure", "gallery_png", "trio_figure",
]  # fmt: skip
