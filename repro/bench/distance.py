"""A server some way off: a proxy on this machine that hands bytes on late, in both directions."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

HOST = "127.0.0.1"
CHUNK = 65_536


@contextmanager
def distant(port: int, round_trip_s: float) -> Iterator[str]:
    """Serve what listens on a port of this machine a round trip away; yield the address to use.

    Bytes arrive half the round trip later than they were sent, without limit of bandwidth, and a new connection is
    open after a whole one. The proxy has a thread of its own.
    """
    loop, ready = asyncio.new_event_loop(), threading.Event()
    opened: list[int] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.sleep(round_trip_s)
            there, back = await asyncio.open_connection(HOST, port)
            await asyncio.gather(_carry(reader, back, round_trip_s / 2), _carry(there, writer, round_trip_s / 2))
        except OSError:
            writer.close()  # nobody listens there
        except asyncio.CancelledError:
            pass  # the end of the proxy, which streams would report as a mistake

    async def listen() -> None:
        served = await asyncio.start_server(take, HOST, 0)
        opened.append(served.sockets[0].getsockname()[1])
        ready.set()

    def work() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(listen())
        loop.run_forever()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    ready.wait()
    try:
        yield f"http://{HOST}:{opened[0]}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        _close(loop)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, late_s: float) -> None:
    """Hand on what comes, each piece `late_s` after it came, in order."""
    loop, waiting = asyncio.get_running_loop(), asyncio.Queue[tuple[float, bytes]]()

    async def read() -> None:
        data = b"?"
        while data:
            try:
                data = await reader.read(CHUNK)
            except ConnectionError:
                data = b""
            waiting.put_nowait((loop.time() + late_s, data))

    reading = asyncio.ensure_future(read())
    try:
        while True:
            due, data = await waiting.get()
            await asyncio.sleep(due - loop.time())
            if not data:
                return
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        return  # the other side is gone: so is what was on its way
    finally:
        reading.cancel()
        writer.close()


def _close(loop: asyncio.AbstractEventLoop) -> None:
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:  # of nothing it would be of another loop
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    loop.close()
