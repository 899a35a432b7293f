"""Claims set beside records: what was published, what our runs gave, and what can be said of the two."""

from repro.judge.claims import OrderSpread, Row, RunValue, choose, judge, records_of

__all__ = ["OrderSpread", "Row", "RunValue", "choose", "judge", "records_of"]
