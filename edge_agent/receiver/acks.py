"""What is confirmed to gateways, and when. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edge_agent.clock import NS_PER_S
from edge_agent.receiver.signature import SIGNATURE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MOST_BYTES: Final = 16_384
"""Largest acknowledgement."""
MOST_RANGES: Final = 256
"""Most ranges of one epoch in it, the lowest ones."""
ACK_PERIOD_NS: Final = NS_PER_S
"""Least time between two acknowledgements of one prefix."""
REPUBLISH_PER_STEP: Final = 20
REPUBLISH_STEP_NS: Final = NS_PER_S // 10
"""Most acknowledgements in this time, of all prefixes together: after a connection without session all are due."""
RECENT_NS: Final = 60 * NS_PER_S
"""What was said for so long before a connection was lost may have been lost with it."""
MOST_PREFIXES: Final = 65_536
"""Most prefixes that something is remembered of, the latest ones."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is durable of one epoch.

    Attributes:
        epoch: which.
        upto: every seq from 1 to this one is stored, or known to be dropped.
        ranges: the same of seqs beyond, ascending.
        first: whether it goes before others where there is no room for all: it is the present epoch of its node, or
            something of it has just come.
    """

    epoch: int
    upto: int
    ranges: tuple[tuple[int, int], ...]
    first: bool


def ack_message(answers: Sequence[Answer]) -> bytes:
    """Write an acknowledgement of at most MOST_BYTES.

    Args:
        answers: oldest epoch first. Where there is no room for all, those that are `first` are taken, then the oldest.
    """
    room = MOST_BYTES - SIGNATURE_BYTES - len(_text({"v": 1, "acks": []}))
    taken: dict[int, bytes] = {}
    for place in sorted(range(len(answers)), key=lambda place: not answers[place].first):
        answer = answers[place]
        ranges = [list(each) for each in answer.ranges[:MOST_RANGES]]
        entry = _text({"epoch": answer.epoch, "upto": answer.upto, "ranges": ranges})
        if len(entry) + 1 <= room:
            room -= len(entry) + 1
            taken[place] = entry
    return b'{"v":1,"acks":[' + b",".join(taken[place] for place in sorted(taken)) + b"]}"


def _text(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()


class AckPlan:
    """Which prefixes get an acknowledgement, and when.

    Args:
        now_ns: present time, nanoseconds since boot, as in all methods.
    """

    def __init__(self, now_ns: int) -> None:
        self._due: dict[str, int] = {}
        self._said: dict[str, int] = {}
        self._touched: dict[str, set[int]] = {}
        self._step_ns = now_ns

    def touch(self, prefix: str, epochs: Iterable[int], now_ns: int) -> None:
        """Something came for these epochs, a repetition included: it is answered, paced."""
        self._touched.setdefault(prefix, set()).update(epochs)
        self._due.setdefault(prefix, max(now_ns, self._said.get(prefix, now_ns - ACK_PERIOD_NS) + ACK_PERIOD_NS))

    def repeat(self, prefixes: Iterable[str], now_ns: int) -> None:
        """Tell these again: the broker has forgotten what it kept."""
        for prefix in prefixes:
            self.touch(prefix, (), now_ns)

    def repeat_recent(self, now_ns: int) -> None:
        """Tell those again that were told in the last RECENT_NS."""
        self.repeat([prefix for prefix, said_ns in self._said.items() if now_ns - said_ns < RECENT_NS], now_ns)

    def pending(self) -> list[str]:
        """Prefixes that are to be told something."""
        return list(self._due)

    def take(self, now_ns: int) -> list[tuple[str, frozenset[int]]]:
        """The prefixes that are due, and which of their epochs got something; they count as told."""
        if now_ns < self._step_ns:
            return []
        due = [prefix for prefix, due_ns in self._due.items() if due_ns <= now_ns][:REPUBLISH_PER_STEP]
        if due:
            self._step_ns = now_ns + REPUBLISH_STEP_NS
        for prefix in due:
            del self._due[prefix]
            self._said.pop(prefix, None)
            self._said[prefix] = now_ns
            if len(self._said) > MOST_PREFIXES:
                del self._said[next(iter(self._said))]
        return [(prefix, frozenset(self._touched.pop(prefix, ()))) for prefix in due]

    def next_ns(self) -> int | None:
        """When something is due."""
        return max(self._step_ns, min(self._due.values())) if self._due else None
