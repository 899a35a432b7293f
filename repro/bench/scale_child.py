"""One command in a process of its own: how long it took, its CPU time, and the most memory it held.

    python -m repro.bench.scale_child FIGURES COMMAND...

What a system says of a child's memory includes that of the process it was forked from, so commands are not started by
a benchmark that has torch and MLflow in memory, but by this one, which imports nothing.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path


def main() -> None:
    """Run the command and write seconds, CPU seconds, bytes and exit code to the file FIGURES."""
    place, *command = sys.argv[1:]
    began = time.perf_counter()
    child = subprocess.Popen(command)
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - began
    unit = 1 if sys.platform == "darwin" else 1024
    figures = {
        "seconds": seconds, "cpu_s": usage.ru_utime + usage.ru_stime, "peak_bytes": usage.ru_maxrss * unit,
        "code": os.waitstatus_to_exitcode(status),
    }  # fmt: skip
    Path(place).write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
