"""What the commands mean: which runs a request stands for, carrying them out, and the pages afterwards."""

from repro.suite.carrying import carry_out, open_tracker, summarise
from repro.suite.concluding import conclude, where_next
from repro.suite.forecasting import estimate, foresee
from repro.suite.moving import export_bundle, import_bundle
from repro.suite.pages import show_pages, write_pages
from repro.suite.planning import Plan, Say, notes_for, notes_of, plan

__all__ = [
    "Plan", "Say", "carry_out", "conclude", "estimate", "export_bundle", "foresee", "import_bundle", "notes_for",
    "notes_of", "open_tracker", "plan", "show_pages", "summarise", "where_next", "write_pages",
]  # fmt: skip
