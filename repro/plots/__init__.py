"""Pictures as bytes: curves, confusion matrices, bands, galleries of images. The one room that imports matplotlib.

The same numbers give the same bytes: no dates, no software versions, a fixed font, size and hash salt, and
nothing of the user's own matplotlib settings. Colours are Okabe and Ito's, which colour-blind readers can
tell apart; lines differ in dash as well.
"""

from repro.plots.bands import bands_figure
from repro.plots.curves import GROUPS, SERIES, Published, Trace, curves_figure, curves_png
from repro.plots.gallery import Block, gallery_png
from repro.plots.matrix import confusion_figure, confusion_png

__all__ = [
    "GROUPS", "SERIES", "Block", "Published", "Trace", "bands_figure", "confusion_figure", "confusion_png",
    "curves_figure", "curves_png", "gallery_png",
]  # fmt: skip
