"""What the commands mean: which runs a request stands for, carrying them out, and the pages afterwards."""

from repro.suite.carrying import carry_out, conclude, open_tracker, summarise
from repro.suite.moving import export_bundle, import_bundle
from repro.suite.pages import show_pages, write_pages
from repro.suite.planning import Plan, Say, notes_for, notes_of, plan

__all__ = [
    "Plan", "Say", "carry_out", "conclude", "export_bundle", "import_bundle", "notes_for", "notes_of", "open_tracker",
    "plan", "show_pages", "summarise", "write_pages",
]  # fmt: skip
