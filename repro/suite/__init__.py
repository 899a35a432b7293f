"""What the commands mean: which runs a request stands for, carrying them out, and the pages afterwards."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from repro.suite.carrying import carry_out, open_tracker
    from repro.suite.concluding import conclude, where_next
    from repro.suite.forecasting import estimate, foresee
    from repro.suite.moving import export_bundle, import_bundle
    from repro.suite.pages import show_pages, write_pages
    from repro.suite.planning import Plan, Say, notes_for, notes_of, plan
    from repro.suite.summarising import summarise
    from repro.suite.until import show_steps, train_until_decided

__all__ = [
    "Plan", "Say", "carry_out", "conclude", "estimate", "export_bundle", "foresee", "import_bundle", "notes_for",
    "notes_of", "open_tracker", "plan", "show_pages", "show_steps", "summarise", "train_until_decided", "where_next",
    "write_pages",
]  # fmt: skip
_ROOMS = {
    "carrying": ("carry_out", "open_tracker",),
    "concluding": ("conclude", "where_next",),
    "forecasting": ("estimate", "foresee",),
    "moving": ("export_bundle", "import_bundle",),
    "pages": ("show_pages", "write_pages",),
    "planning": ("Plan", "Say", "notes_for", "notes_of", "plan",),
    "summarising": ("summarise",),
    "until": ("show_steps", "train_until_decided",),
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a room when something of it is asked for: pages need no torch, which takes seconds and half a gigabyte."""
    for room, names in _ROOMS.items():
        if name in names:
            return getattr(import_module(f"repro.suite.{room}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
