"""A TCP proxy on loopback that can be slow, cut, deaf or half-open: the network between a job and its broker.

One thread with an event loop of its own. What it does to connections is set from outside and holds until `heal`.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from typing import Any

HOST = "127.0.0.1"
_MOST = 1 << 16  # bytes that are passed on at once


class _Link:
    """Both sides of one connection. `silent`: nothing passes any more, and neither side is told."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client, self.server, self.silent = client, server, False

    def abort(self) -> None:
        for side in (self.client, self.server):
            side.transport.abort()


class Proxy:
    """Listens on `port` and passes everything on to `target`, both on loopback. A context manager: `start` and `close`."""

    def __init__(self, port: int, target: int) -> None:
        self.port, self.target = port, target
        self._delay_s = self._bytes_s = 0.0
        self._refuses = self._deaf = False
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._server: asyncio.Server | None = None

    def start(self) -> None:
        """OSError when the port is taken."""
        self._thread.start()
        self._server = self._call(asyncio.start_server(self._accept, HOST, self.port))

    def close(self) -> None:
        """Ends all connections and the thread."""
        if self._server is not None:
            self._call(self._end())
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()

    def __enter__(self) -> "Proxy":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self._links)

    # --- faults ---

    def slow(self, delay_s: float, bytes_s: float) -> None:
        """Every piece comes `delay_s` later, and each direction of a connection takes at most so many bytes a second."""
        self._do(lambda: self._set(delay_s=delay_s, bytes_s=bytes_s))

    def cut(self) -> None:
        """Resets all connections, and each new one until `heal`."""

        def cut() -> None:
            self._set(refuses=True)
            self._abort()

        self._do(cut)

    def half_open(self) -> None:
        """Nothing passes any more on the connections that there are, and neither side is told; `heal` does not help them. New ones pass."""

        def silence() -> None:
            for link in self._links:
                link.silent = True

        self._do(silence)

    def lose_answers(self) -> None:
        """What clients send arrives, what the server answers does not; `heal` resets these connections."""
        self._do(lambda: self._set(deaf=True))

    def heal(self) -> None:
        """Passes everything on again."""

        def heal() -> None:
            if self._deaf:
                self._abort()  # an answer that is lost cannot come later
            self._set()

        self._do(heal)

    def _set(self, delay_s: float = 0.0, bytes_s: float = 0.0, refuses: bool = False, deaf: bool = False) -> None:
        self._delay_s, self._bytes_s, self._refuses, self._deaf = delay_s, bytes_s, refuses, deaf

    def _abort(self) -> None:
        for link in list(self._links):
            link.abort()

    # --- passing on ---

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(asyncio.CancelledError):  # by `close`; asyncio would complain
                await self._connect(reader, writer)
        finally:
            self._tasks.discard(task)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refuses:
            writer.transport.abort()
            return
        try:
            answers, server = await asyncio.open_connection(HOST, self.target)
        except OSError:
            writer.transport.abort()
            return
        link = _Link(writer, server)
        self._links.add(link)
        try:
            await asyncio.gather(self._pump(link, reader, server, True), self._pump(link, answers, writer, False))
        finally:
            link.abort()
            self._links.discard(link)

    async def _pump(self, link: _Link, source: asyncio.StreamReader, sink: asyncio.StreamWriter, asks: bool) -> None:
        """Until its source ends; then the sink is told, unless the link is silent."""
        with contextlib.suppress(OSError):
            while data := await source.read(_MOST):
                if self._delay_s or self._bytes_s:
                    await asyncio.sleep(self._delay_s + (len(data) / self._bytes_s if self._bytes_s else 0.0))
                if link.silent or (self._deaf and not asks):
                    continue
                sink.write(data)
                await sink.drain()
        if not link.silent:
            sink.close()

    async def _end(self) -> None:
        assert self._server is not None
        self._server.close()
        self._abort()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- from other threads ---

    def _call(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def _do(self, work: Callable[[], None]) -> None:
        async def run() -> None:
            work()

        self._call(run())
