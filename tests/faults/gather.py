"""Turn a log of trials (REPRO_FAULTS_LOG) into figures: `python tests/faults/gather.py LOG [--out FILE]`."""

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from holding import versions

from repro.record import write_atomically
from repro.report import reliability

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("log", type=Path)
    parser.add_argument("--out", type=Path, help="Write the figures here; without it they are printed.")
    asked = parser.parse_args()
    lines = [json.loads(line) for line in asked.log.read_text().splitlines()]
    found = reliability.gather(lines, versions(), datetime.now(UTC).date().isoformat())
    if asked.out:
        write_atomically(asked.out, (json.dumps(found, indent=1) + "\n").encode())
    for row in found["promises"]:
        print(f"{row['held']:4} of {row['trials']:4}  {row['promise']}")
    sys.exit(any(row["broken"] for row in found["promises"]))
