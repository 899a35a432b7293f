"""What interrupted runs leave behind, found and mended: `repro doctor`."""

from repro.suite.doctoring.examining import doctor
from repro.suite.doctoring.findings import Finding

__all__ = ["Finding", "doctor"]
