"""Child processes: a fresh interpreter each, ended by their parent or with it, never by Ctrl-C on their own."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any, Protocol

GRACE_S = 15  # to tell MLflow that a run was cut short
#: signals that end a request as Ctrl-C does
ENDING = (signal.SIGTERM, signal.SIGHUP)


def start(target: Callable[..., None], *arguments: Any) -> tuple[SpawnProcess, Connection]:
    """Start `target(connection, *arguments)` in a process of its own; return it and our end of the connection.

    CUDA forbids forking. The child never sees the terminal's Ctrl-C: the parent gets it, and ends its children.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_child, args=(target, theirs, *arguments), daemon=True)
    resource_tracker.ensure_running()  # the first start would do it, and unblock the signal again before it forks
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # children inherit the mask
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    theirs.close()  # else our end would never see that the child is gone
    return process, ours


class Ending(Protocol):
    """What can be asked to end, and waited for: a process, or a thread that stands in for one."""

    def is_alive(self) -> bool:
        """Whether it has not ended yet."""

    def terminate(self) -> None:
        """Ask it to end."""

    def kill(self) -> None:
        """End it."""

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end, so many seconds at most."""


def stop(process: Ending, grace_s: float = GRACE_S) -> None:
    """End a child: asked first, then killed."""
    if process.is_alive():
        process.terminate()
        process.join(grace_s)
    if process.is_alive():
        process.kill()
    process.join()


def _child(target: Callable[..., None], connection: Connection, *arguments: Any) -> None:
    # For its parent it is a daemon, ended with it. One may not start processes; this one may, as for its figures, and
    # ends them itself.
    multiprocessing.current_process().daemon = False
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # of a closed terminal its parent is told, too, and ends it
    threading.Thread(target=_follow_parent, daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        target(connection, *arguments)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # from here on it leaves by itself


@contextlib.contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Let SIGTERM end what follows as Ctrl-C does: what is durable stays, MLflow is told, and the exit code is 130.

    So does SIGHUP, as of a terminal that is closed, unless it is ignored (nohup).
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in ENDING}
    for number, handler in before.items():
        if number == signal.SIGTERM or handler != signal.SIG_IGN:
            signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(*_rest: object) -> None:
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)  # once: what it interrupts is tidied up in peace
    raise KeyboardInterrupt


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
