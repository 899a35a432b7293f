"""Places where a test lets the program die, find the disk full, or stand still; without a test they do nothing.

`REPRO_FAILPOINT=name[:count][=action]` acts when the named place is reached for the count-th time (1) in a process:
`kill` (as kill -9; also without an action), `enospc` (the disk is full, from then on), `sleep` (it stands there until
it is ended). It is for tests only.
"""

import errno
import os
import signal
import time
from collections import Counter

from repro.errors import UserError

ACTIONS = ("kill", "enospc", "sleep")
_reached: Counter[str] = Counter()


def reach(name: str) -> None:
    """Act where the environment asks for it here; without that it costs one look-up."""
    if (wanted := os.environ.get("REPRO_FAILPOINT")) is not None:
        _act(name, *parse(wanted))


def parse(text: str) -> tuple[str, int, str]:
    """Return name, count and action; raises UserError for anything else."""
    place, _, action = text.partition("=")
    name, _, count = place.partition(":")
    if not name or not (count or "1").isdecimal() or (action or "kill") not in ACTIONS:
        raise UserError(f"REPRO_FAILPOINT={text}: expected name[:count][=kill|enospc|sleep]; it is for tests, unset it")
    return name, int(count or 1), action or "kill"


def _act(name: str, place: str, count: int, action: str) -> None:
    if name != place:
        return
    _reached[name] += 1
    if action == "enospc" and _reached[name] >= count:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if _reached[name] != count or action == "enospc":
        return
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    while True:
        time.sleep(60)
