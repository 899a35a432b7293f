"""Bring a file here over http, however slow or shaky the line: streamed, and gone on with where it broke off."""

import fcntl
import http.client
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

from repro.errors import UserError

#: told after every chunk: bytes here so far, bytes in all (None where the server does not say)
Progress = Callable[[int, int | None], None]
CHUNK = 1 << 16
ATTEMPTS = 5
MOST = 1 << 30  # bytes; the official archive has 170 MB, and a server may send without an end


class Broken(Exception):
    """A download that did not reach its end, with the reason in words."""


def silent(_done: int, _total: int | None) -> None:
    """Show nothing."""


def download(url: str, part: Path, progress: Progress = silent, timeout: float = 30.0) -> None:
    """Bring `part` to its full length; raises Broken, and keeps what has come for the next call.

    `timeout` is in seconds without a byte. A line that breaks off after some progress is taken up again at once, up
    to four times. Nothing is created before the first byte has come.
    """
    for attempt in range(ATTEMPTS):
        before = _length(part)
        try:
            return _go_on(url, part, before, progress, timeout)
        except Broken:
            if attempt == ATTEMPTS - 1 or _length(part) <= before:
                raise


def _go_on(url: str, part: Path, have: int, progress: Progress, timeout: float) -> None:
    """Ask for the bytes that are missing and append them."""
    headers = {"User-Agent": "repro-cifar10"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing lies beyond what is here: the checksum will tell whether it is right
            return
        raise Broken(f"{url} answered {error.code} {error.reason}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Broken(f"{url}: {_reason(error, timeout)}") from None
    with response:
        start = _start(response, have)
        total = None if response.length is None else start + response.length
        done = _append(_chunks(response, timeout), part, start, lambda count: progress(count, total))
    if done < (total or 1):
        raise Broken(
            f"the connection closed after {done / 1e6:.1f} of {total / 1e6:.1f} MB" if total else "nothing came"
        )


def _chunks(response: http.client.HTTPResponse, timeout: float) -> Iterator[bytes]:
    """Yield what arrives as it arrives; only the network's errors are turned into Broken, never the disk's."""
    while True:
        try:
            chunk = response.read1(CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise Broken(_reason(error, timeout)) from None
        if not chunk:
            return
        yield chunk


def _start(response: http.client.HTTPResponse, have: int) -> int:
    """Return where the answer begins: after what is here if the server went along with that, else at 0."""
    begins = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return have if response.status == 206 and begins and int(begins[1]) == have else 0


def _append(chunks: Iterator[bytes], part: Path, done: int, told: Callable[[int], None]) -> int:
    """Write chunks behind the first `done` bytes of a file that this process alone writes; return its new length."""
    if not (first := next(chunks, b"")):
        return done
    part.parent.mkdir(parents=True, exist_ok=True)
    with open(part, "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{part}: is being downloaded by another process; wait for it to finish") from None
        if file.tell() < done or not part.exists() or not os.path.samestat(os.fstat(file.fileno()), part.stat()):
            raise Broken("another process has taken it over")
        file.truncate(done)
        for chunk in chain([first], chunks):
            file.write(chunk)
            done += len(chunk)
            told(done)
            if done > MOST:
                raise Broken(f"it sends more than {MOST >> 20} MiB, which the official archive does not have")
    return done


def _length(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _reason(error: Exception, timeout: float) -> str:
    cause = getattr(error, "reason", error)
    return f"no byte for {timeout:g} s" if isinstance(cause, TimeoutError) else str(cause) or type(cause).__name__
