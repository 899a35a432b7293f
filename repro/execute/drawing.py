"""Figures of finished runs, drawn in a process of their own where a training goes on beside them.

Drawing is Python at work for a second: in a thread of the process that trains, it would hold up every step meanwhile.
"""

from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from repro.execute import process
from repro.record import RunRecord
from repro.track import RunInfo
from repro.track.projection import Files, pictures

#: seconds of training from which a run's figures are worth a process; it takes one to start
APART_S = 20.0
DRAWN_S = 60.0  # long after it should be there, with a machine that is busy


class Drawer:
    """Draws the figures of one run after the other, as `pictures` does; the process is started when it is needed.

    It ends with this one.
    """

    def __init__(self) -> None:
        self.child: tuple[SpawnProcess, Connection] | None = None

    def __call__(self, info: RunInfo, record: RunRecord) -> Files:
        """Return a run's figures, path -> bytes. What the process cannot do is done, or refused, here."""
        if record.seconds < APART_S:
            return pictures(info, record)
        drawn = self._apart(info, record.to_bytes())
        return pictures(info, record) if drawn is None else drawn

    def _apart(self, info: RunInfo, data: bytes) -> Files | None:
        if self.child is None:
            self.child = process.start(serve)
        child, connection = self.child
        try:
            connection.send((info, data))
            if connection.poll(DRAWN_S):
                drawn: Files | None = connection.recv()
                return drawn
        except (EOFError, OSError):
            pass  # it was ended: by somebody, or for its memory
        process.stop(child, grace_s=1)
        connection.close()
        self.child = None
        return None


def serve(connection: Connection) -> None:
    """Draw what comes through the connection until the other end is closed."""
    while True:
        try:
            info, data = connection.recv()
        except EOFError:
            return
        try:
            drawn = pictures(info, RunRecord.from_bytes(data))
        except Exception:  # it is raised again where it was asked for, with its trace
            drawn = None
        connection.send(drawn)
