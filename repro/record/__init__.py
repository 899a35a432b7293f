"""The journal of a run while it trains, and the record of what it did, as JSON."""

from repro.record.files import write_atomically
from repro.record.journal import Entry, Journal
from repro.record.run import CLASSES, FULL_TEST, FULL_TRAIN, MAX_BYTES, SCHEMA, RunRecord, read_records, upgrade

__all__ = [
    "CLASSES", "FULL_TEST", "FULL_TRAIN", "MAX_BYTES", "SCHEMA", "Entry", "Journal", "RunRecord", "read_records",
    "upgrade", "write_atomically",
]  # fmt: skip
