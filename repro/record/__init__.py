"""The journal of a run while it trains, and the record of what it did, as JSON."""

from repro.record.drift import Difference, differences, drift
from repro.record.files import RECORD_BYTES, free_name, hold, read_bounded, remove_halves, write_atomically
from repro.record.journal import Entry, Journal
from repro.record.run import CLASSES, EXTRAS, FULL_TEST, FULL_TRAIN, MAX_BYTES, SCHEMA, RunRecord, read_records, upgrade
from repro.record.sound import check_plain, check_sound

__all__ = [
    "CLASSES", "EXTRAS", "FULL_TEST", "FULL_TRAIN", "MAX_BYTES", "RECORD_BYTES", "SCHEMA", "Difference", "Entry",
    "Journal", "RunRecord", "check_plain", "check_sound", "differences", "drift", "free_name", "hold",
    "read_bounded", "read_records", "remove_halves", "upgrade", "write_atomically",
]  # fmt: skip
