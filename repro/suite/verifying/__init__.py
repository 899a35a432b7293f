"""Checking records against themselves, and the committed tables against the records: `repro verify`."""

from repro.suite.verifying.checking import Verified, verify
from repro.suite.verifying.rules import Broken, Rule

__all__ = ["Broken", "Rule", "Verified", "verify"]
