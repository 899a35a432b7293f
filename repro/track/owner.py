"""Whose an MLflow run is: the process that writes it, told apart from every other one, also after a reboot.

A process is named by its host, the boot of that host, the space that its number belongs to (containers have their own),
its number, and when it began: a number alone is used again. Linux tells all of it in /proc; elsewhere `ps` and
`sysctl` do, as far as they can.
"""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

TAG, HOST = "repro.owner", "repro.host"
FOLDER = "repro.folder"  # digest of the state folder's name for itself
State = Literal["alive", "gone", "elsewhere", "unknown"]


@dataclass(frozen=True)
class Owner:
    """A process, as far as its host tells; an empty text is not known."""

    host: str
    boot: str
    space: str
    pid: int
    began: str

    @classmethod
    def of(cls, tags: Mapping[str, str]) -> "Owner | None":
        """Return the owner that a run's tags name, None where they name none."""
        try:
            plain = json.loads(tags.get(TAG, ""))
            words = [str(plain[name]) for name in ("boot", "space", "began")]
            return cls(tags.get(HOST, ""), words[0], words[1], int(plain["pid"]), words[2])
        except (ValueError, KeyError, TypeError):
            return None

    @property
    def tags(self) -> dict[str, str]:
        """The tags that name this process; the host has one of its own, to be searched by."""
        plain: dict[str, Any] = asdict(self)
        return {HOST: plain.pop("host"), TAG: json.dumps(plain, sort_keys=True)}


def mine() -> Owner:
    """Return this process."""
    return Owner(host(), boot_id(), pid_space(), os.getpid(), began(os.getpid()) or "")


def tags() -> dict[str, str]:
    """Return the tags that name this process as a run's owner."""
    return mine().tags


def state(owner: Owner | None, here: Owner | None = None) -> State:
    """Return what is known of a process: alive or gone on this host, else that it is elsewhere, or nothing.

    `here`: a process of this host, by default this one.
    """
    if owner is None:
        return "unknown"
    here = here or mine()
    if owner.host != here.host:
        return "elsewhere"
    if owner.boot and here.boot and owner.boot != here.boot:
        return "gone"  # no process outlives its boot
    if owner.space != here.space:
        return "elsewhere"  # its number means another process there
    now = began(owner.pid)
    return "gone" if now is None or (owner.began and now and now != owner.began) else "alive"


def taken(tags: Mapping[str, str], folder: str) -> bool:
    """Whether a RUNNING run is another one's: another host's, or a living other process's.

    `folder`: what FOLDER says of the state folder in which the run is held by this process, empty where it holds none.
    Whoever held it there before is gone, whatever its host is called (a container has another name each time).
    """
    if folder and tags.get(FOLDER) == folder:
        return False
    owner, here = Owner.of(tags), mine()
    if tags.get(HOST) != here.host:
        return True
    return owner is not None and owner != here and state(owner, here) == "alive"


def began(pid: int) -> str | None:
    """Return a word for when a process of this host began, empty where that is not told; None where there is none.

    One that has ended, and that nobody has asked how, is none.
    """
    if sys.platform == "linux":
        try:
            # After the name, which may hold anything and ends at the last bracket: state, then 18 fields to the start.
            fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else fields[19]
    return _told_by_ps(pid)


def _told_by_ps(pid: int) -> str | None:
    told = _asked("ps", "-o", "stat=,lstart=", "-p", str(pid))
    return None if not told or told.startswith("Z") else told.partition(" ")[2].strip()


def host() -> str:
    """Return a word for this host: a digest, for its name is nobody's business in a store that others read."""
    return sha256(platform.node().encode()).hexdigest()[:12]


@cache
def boot_id() -> str:
    """Return a word that is another one after every boot of this host, empty where none is told."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return _asked("sysctl", "-n", "kern.bootsessionuuid")


def pid_space() -> str:
    """Return the space that process numbers belong to, empty where there is one only."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _asked(*command: str) -> str:
    environment = {**os.environ, "LC_ALL": "C", "TZ": "UTC"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, env=environment)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
