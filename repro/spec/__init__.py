"""What a report claims and how it says it was trained: YAML in, typed and frozen objects out. Imports no torch."""
