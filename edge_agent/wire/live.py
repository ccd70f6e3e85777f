"""Decodes a capture that is still being written, each message as soon as it is complete. Pure.

A message that refers to an announcement that has not come yet is kept until it comes.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from edge_agent.errors import UnknownReference, WireError
from edge_agent.wire.decode import read_message
from edge_agent.wire.known import Known
from edge_agent.wire.stream import Unread, payloads

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.wire.batch import Message, StatusText

MOST_KEPT: Final = 64
MOST_KEPT_BYTES: Final = 1 << 22
"""Most messages, and most bytes of messages, that are kept for one announcement."""
MOST_ANNOUNCEMENTS: Final = 16
"""Most announcements that messages are kept for."""


class _Kept(NamedTuple):
    """A message that cannot be read yet.

    Attributes:
        at: offset of its first byte in the capture.
        octets: its bytes.
        missing: what it refers to.
    """

    at: int
    octets: bytes
    missing: UnknownReference


class LiveStream:
    """Decodes a capture piece by piece.

    Args:
        known: what messages may refer to; what is read is added to it. None: nothing yet.
    """

    def __init__(self, known: Known | None = None) -> None:
        self._known = known or Known()
        self._rest = b""
        self._before = 0
        self._kept: deque[_Kept] = deque()

    def feed(self, piece: bytes, *, more: bool = True) -> Iterator[Message | StatusText | Unread]:
        """Decode the next bytes. Take all results of one piece before the next piece.

        Args:
            piece: any number of bytes; it may end anywhere.
            more: whether others may follow.

        Yields:
            Each message and each JSON object as soon as it is complete, in order. A message that was kept comes after
            what it refers to. `Unread` for a message that is kept no longer.

        Raises:
            WireError: at the first damaged message, naming the offset of its first byte. `give_up` then tells which
                messages are still kept.
        """
        data = self._rest + piece
        before, end = self._before, 0
        self._rest = b""  # after a damaged message nothing is read
        for found in payloads(data, self._read, before=before, more=more):
            end = found.end
            if isinstance(found.item, UnknownReference):
                yield from self._keep(_Kept(before + found.at, found.octets, found.item))
            else:
                yield from self._learn(found.item)
        self._rest, self._before = data[end:], before + end
        if not more:
            yield from self.give_up()

    def give_up(self) -> Iterator[Unread]:
        """Tell which messages are still kept, and forget them."""
        while self._kept:
            yield _unread(self._kept.popleft())

    def _read(self, octets: bytes, at: int) -> tuple[Message, int]:
        return read_message(octets, at, self._known)

    def _learn(self, item: Message | StatusText) -> Iterator[Message | StatusText]:
        self._known.learn(item)
        yield item
        if any(kept.missing.announcement in self._known.announcements for kept in self._kept):
            yield from self._again()

    def _again(self) -> Iterator[Message]:
        """Try to read the kept messages, oldest first; later ones may refer to earlier ones."""
        for _ in range(len(self._kept)):
            kept = self._kept.popleft()
            try:
                message, _end = self._read(kept.octets, 0)
            except UnknownReference as missing:
                self._kept.append(kept._replace(missing=missing))
                continue
            except WireError as error:
                raise type(error)(f"byte {kept.at}: {error}") from None
            self._known.learn(message)
            yield message

    def _keep(self, kept: _Kept) -> Iterator[Unread]:
        """Keep a message, unless it refers to a batch that cannot come any more. The oldest are given up for it."""
        if kept.missing.announcement is None and not self._kept:
            yield _unread(kept)
            return
        self._kept.append(kept)
        alike = [other for other in self._kept if other.missing.announcement == kept.missing.announcement]
        size = sum(len(other.octets) for other in alike)
        while len(alike) > MOST_KEPT or size > MOST_KEPT_BYTES:
            size -= len(alike[0].octets)
            yield self._drop(alike.pop(0))
        announcements = dict.fromkeys(other.missing.announcement for other in self._kept)
        if len(announcements) > MOST_ANNOUNCEMENTS:
            first = next(iter(announcements))
            for other in [other for other in self._kept if other.missing.announcement == first]:
                yield self._drop(other)

    def _drop(self, kept: _Kept) -> Unread:
        self._kept.remove(kept)
        return _unread(kept)


def _unread(kept: _Kept) -> Unread:
    return Unread(kept.at, str(kept.missing))
