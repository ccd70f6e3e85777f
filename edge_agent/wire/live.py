"""A capture that is still being written: what is whole is read at once. Pure.

What goes by an announcement that has not come yet is kept back until it does.
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
"""Of the messages that go by one announcement."""
MOST_ANNOUNCEMENTS: Final = 16
"""That are waited for; so many times the above is kept at most."""


class _Kept(NamedTuple):
    """A message that waits.

    Attributes:
        at: offset of its first byte.
        octets: itself.
        missing: why it waits.
    """

    at: int
    octets: bytes
    missing: UnknownReference


class LiveStream:
    """Reads a capture piece by piece.

    Args:
        known: what its messages may refer to; learns what they tell. None: nothing yet.
    """

    def __init__(self, known: Known | None = None) -> None:
        self._known = known or Known()
        self._rest = b""
        self._before = 0
        self._kept: deque[_Kept] = deque()

    def feed(self, piece: bytes, *, more: bool = True) -> Iterator[Message | StatusText | Unread]:
        """Take in the next bytes; take all of one piece before the next.

        Args:
            piece: any number of bytes; they may end anywhere.
            more: whether others may follow.

        Yields:
            Each message and each JSON object as soon as it is whole, in order, but for messages that had to wait: they
            follow what they waited for. Where a message was passed over, because it waits no longer.

        Raises:
            WireError: at the first damaged message, naming the offset of its first byte. Then `give_up` tells what
                still waits.
        """
        data = self._rest + piece
        before, end = self._before, 0
        self._rest = b""  # should it be damaged, nothing after it is read
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
        """Tell which messages have waited in vain."""
        while self._kept:
            yield _unread(self._kept.popleft())

    def _read(self, octets: bytes, at: int) -> tuple[Message, int]:
        return read_message(octets, at, self._known)

    def _learn(self, item: Message | StatusText) -> Iterator[Message | StatusText]:
        self._known.learn(item)
        yield item
        if any(each.missing.announcement in self._known.announcements for each in self._kept):
            yield from self._again()

    def _again(self) -> Iterator[Message]:
        """Read what was kept back once more, oldest first; later ones may refer to it."""
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
        """Keep a message back, unless it refers to a batch that will never be read; the oldest make room for it."""
        if kept.missing.announcement is None and not self._kept:
            yield _unread(kept)
            return
        self._kept.append(kept)
        alike = [each for each in self._kept if each.missing.announcement == kept.missing.announcement]
        size = sum(len(each.octets) for each in alike)
        while len(alike) > MOST_KEPT or size > MOST_KEPT_BYTES:
            size -= len(alike[0].octets)
            yield self._drop(alike.pop(0))
        waited_for = dict.fromkeys(each.missing.announcement for each in self._kept)
        if len(waited_for) > MOST_ANNOUNCEMENTS:
            first = next(iter(waited_for))
            for each in [each for each in self._kept if each.missing.announcement == first]:
                yield self._drop(each)

    def _drop(self, kept: _Kept) -> Unread:
        self._kept.remove(kept)
        return _unread(kept)


def _unread(kept: _Kept) -> Unread:
    return Unread(kept.at, str(kept.missing))
