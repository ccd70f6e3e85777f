"""A TCP proxy in a thread, with the faults of real links: slow, stalled, swallowed, one way, half open, reset, cut."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

_PIECE_BYTES: Final = 256
"""Bytes that are read at a time when a rate is limited, so that live packets are not behind a full buffer."""
_BUFFER_BYTES: Final = 4096


class Way(Enum):
    """Direction of bytes."""

    UP = "from the client to the broker"
    DOWN = "from the broker to the client"


@dataclass
class Faults:
    """What the link is like now; may be changed at any time, from any thread.

    Attributes:
        bytes_per_s: rate of each direction; None: no limit.
        delay_s: time on the way, each direction, seconds.
        stalled: directions in which nothing is read, so that senders block.
        swallowed: directions in which bytes are read and thrown away.
        refuse: whether new connections are closed at once.
        cut_after: number of bytes from the client after which the connection is reset, in mid-packet; None: never.
    """

    bytes_per_s: float | None = None
    delay_s: float = 0.0
    stalled: frozenset[Way] = frozenset()
    swallowed: frozenset[Way] = frozenset()
    refuse: bool = False
    cut_after: int | None = None


class Proxy:
    """Forwards connections to a port on this machine.

    Use it in a `with` statement. Real time passes on the link, and only there.

    Args:
        target: port of the broker.
        faults: what the link is like.

    Attributes:
        port: port to connect to.
        faults: what the link is like; assign a new one to change it.
        carried: bytes that arrived at the broker and at the client, by direction.
        connections: number of connections so far.
    """

    def __init__(self, target: int, faults: Faults | None = None) -> None:
        self.faults = faults or Faults()
        self.carried = dict.fromkeys(Way, 0)
        self.connections = 0
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        self.port: int = self._listener.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def __enter__(self) -> Self:
        self._listener.setblocking(False)
        self._thread.start()
        self._call(lambda: self._start(self._accept()))
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        self._listener.close()

    def reset(self) -> None:
        """Reset all connections (RST), at both ends."""
        self._call(self._reset)

    def half_open(self) -> None:
        """Forget the broker's ends of all connections; the clients hear nothing of it."""
        self.faults = Faults(swallowed=frozenset(Way))

    def _call(self, do: Callable[[], None]) -> None:
        async def call() -> None:
            do()

        asyncio.run_coroutine_threadsafe(call(), self._loop).result(10)

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _end(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for each in list(self._open):
            self._close(each)

    async def _accept(self) -> None:
        while True:
            client, _address = await self._loop.sock_accept(self._listener)
            self.connections += 1
            if self.faults.refuse:
                client.close()
                continue
            self._start(self._connect(client))

    async def _connect(self, client: socket.socket) -> None:
        broker = socket.socket()
        for each in (client, broker):
            each.setblocking(False)
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open.add(each)
        try:
            await self._loop.sock_connect(broker, ("127.0.0.1", self._target))
        except OSError:
            self._close(client)
            self._close(broker)
            return
        for way, source, sink in ((Way.UP, client, broker), (Way.DOWN, broker, client)):
            on_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
            self._start(self._take(way, source, sink, on_way))
            self._start(self._deliver(way, sink, on_way))

    async def _take(
        self, way: Way, source: socket.socket, sink: socket.socket, on_way: asyncio.Queue[tuple[float, bytes]]
    ) -> None:
        """Read what is sent in one direction, as fast as the link carries it. Closes both ends when one does."""
        loop, free_s, taken = self._loop, 0.0, 0
        with contextlib.suppress(OSError):
            while True:
                while way in self.faults.stalled:  # noqa: ASYNC110 another thread changes it
                    await asyncio.sleep(0.02)
                piece = await loop.sock_recv(source, _PIECE_BYTES if self.faults.bytes_per_s else 65_536)
                if not piece:
                    break
                if way in self.faults.swallowed:
                    continue
                if self.faults.bytes_per_s:
                    free_s = max(free_s, loop.time()) + len(piece) / self.faults.bytes_per_s
                    await asyncio.sleep(free_s - loop.time())
                cut_after = self.faults.cut_after if way is Way.UP else None
                if cut_after is not None and taken + len(piece) > cut_after:
                    await loop.sock_sendall(sink, piece[: max(0, cut_after - taken)])
                    self._reset()
                    return
                taken += len(piece)
                on_way.put_nowait((loop.time() + self.faults.delay_s, piece))
        if not self.faults.swallowed:
            self._close(source)
            self._close(sink)

    async def _deliver(self, way: Way, sink: socket.socket, on_way: asyncio.Queue[tuple[float, bytes]]) -> None:
        """Write what has been on the way for long enough."""
        with contextlib.suppress(OSError):
            while sink in self._open:
                due_s, piece = await on_way.get()
                if due_s > self._loop.time():
                    await asyncio.sleep(due_s - self._loop.time())
                await self._loop.sock_sendall(sink, piece)
                self.carried[way] += len(piece)

    def _reset(self) -> None:
        for each in list(self._open):
            with contextlib.suppress(OSError):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._close(each)

    def _close(self, sock: socket.socket) -> None:
        if sock in self._open:
            self._open.discard(sock)
            self._loop.remove_reader(sock.fileno())
            self._loop.remove_writer(sock.fileno())
            sock.close()
