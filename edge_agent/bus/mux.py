"""A TCA9548A multiplexer: eight more buses at one address, each selected and used under one lock.

Source: TI datasheet SCPS207 rev. H, section 8.6: writing 1 << channel connects it after the STOP; 0 disconnects all.

The channel is selected before every transfer, because a multiplexer loses the selection with its power. It stays open
until another channel or the adapter itself is used, and is closed first: its chips would answer for chips of the same
address elsewhere.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from edge_agent.errors import NoAcknowledge

if TYPE_CHECKING:
    from edge_agent.bus.base import I2CBus


class MuxAdapter:
    """An adapter with multiplexers on it. Implements `I2CBus` for the chips that are on it directly.

    Args:
        bus: the adapter.
    """

    def __init__(self, bus: I2CBus) -> None:
        self._bus = bus
        self._lock = threading.Lock()
        self._open: set[int] = set()
        """Addresses of multiplexers that may have an open channel; at first all, left open by other programs."""

    def channel(self, mux: int, channel: int) -> MuxChannel:
        """The bus on a channel, 0 to 7, of the multiplexer at an address, 0x70 to 0x77."""
        self._open.add(mux)
        return MuxChannel(self, mux, channel)

    def transfer(self, address: int, write: bytes, read: int) -> bytes:
        """As I2CBus, with all channels closed."""
        with self._lock:
            self._select(None, 0)
            return self._bus.transfer(address, write, read)

    def ping(self, address: int) -> bool:
        """As I2CBus, with all channels closed."""
        with self._lock:
            self._select(None, 0)
            return self._bus.ping(address)

    def close(self) -> None:
        """As I2CBus."""
        self._bus.close()

    def transfer_behind(self, mux: int, channel: int, address: int, write: bytes, read: int) -> bytes:
        """As `transfer`, with this channel open and no other."""
        with self._lock:
            self._select(mux, channel)
            return self._bus.transfer(address, write, read)

    def ping_behind(self, mux: int, channel: int, address: int) -> bool:
        """As `ping`, with this channel open and no other."""
        with self._lock:
            self._select(mux, channel)
            return self._bus.ping(address)

    def _select(self, mux: int | None, channel: int) -> None:
        for other in self._open - {mux}:
            self._open.discard(other)
            with contextlib.suppress(NoAcknowledge):  # gone, and its channels with it
                self._bus.transfer(other, b"\x00", 0)
        if mux is None:
            return
        self._open.add(mux)
        try:
            self._bus.transfer(mux, bytes((1 << channel,)), 0)
        except NoAcknowledge as error:
            raise NoAcknowledge(f"the multiplexer does not answer: {error}", errno=error.errno) from error


class MuxChannel:
    """The bus on one channel of a multiplexer. Implements `I2CBus`."""

    def __init__(self, adapter: MuxAdapter, mux: int, channel: int) -> None:
        self._adapter = adapter
        self._mux = mux
        self._channel = channel

    def transfer(self, address: int, write: bytes, read: int) -> bytes:
        """As I2CBus. Raises NoAcknowledge also when it is the multiplexer that does not answer."""
        return self._adapter.transfer_behind(self._mux, self._channel, address, write, read)

    def ping(self, address: int) -> bool:
        """As I2CBus. Raises NoAcknowledge when it is the multiplexer that does not answer."""
        return self._adapter.ping_behind(self._mux, self._channel, address)

    def close(self) -> None:
        """As I2CBus; closes the adapter for all its channels."""
        self._adapter.close()
