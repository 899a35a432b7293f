"""Pages and tables: published numbers beside ours, a pure function of specs and records."""
