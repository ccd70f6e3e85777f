"""What is said to a gateway: which records are durable here, which are missing, and when to say it. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edge_agent.clock import NS_PER_S

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Sequence

MOST_BYTES: Final = 16_384
"""Largest acknowledgement, and largest request."""
MOST_RANGES: Final = 256
"""Most ranges of one epoch in either of them, the lowest ones."""
ACK_PERIOD_NS: Final = NS_PER_S
"""Least time between two acknowledgements of one prefix."""
REPUBLISH_PER_STEP: Final = 20
REPUBLISH_STEP_NS: Final = NS_PER_S // 10
"""Most acknowledgements in this time, of all prefixes together: after a connection without session all are due."""
RECENT_NS: Final = 60 * NS_PER_S
"""What was said for so long before a connection was lost may have been lost with it."""
ASK_AFTER_NS: Final = 60 * NS_PER_S
ASK_MOST_NS: Final = 3600 * NS_PER_S
"""A gap is asked for when nothing has come for the first of these; the time doubles up to the second."""
TEACH_AFTER_NS: Final = 10 * NS_PER_S
"""An announcement is asked for at once, and again after this; it doubles too."""


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


@dataclass(frozen=True, slots=True)
class Missing:
    """What is missing of one epoch, as ranges of seqs, ascending."""

    epoch: int
    ranges: tuple[tuple[int, int], ...]


def ack_message(answers: Sequence[Answer]) -> bytes:
    """Write an acknowledgement of at most MOST_BYTES.

    Args:
        answers: oldest epoch first. Where there is no room for all, those that are `first` are taken, then the oldest.
    """
    room = MOST_BYTES - len(_text({"v": 1, "acks": []}))
    taken: dict[int, bytes] = {}
    for place in sorted(range(len(answers)), key=lambda place: not answers[place].first):
        answer = answers[place]
        ranges = [list(each) for each in answer.ranges[:MOST_RANGES]]
        entry = _text({"epoch": answer.epoch, "upto": answer.upto, "ranges": ranges})
        if len(entry) + 1 <= room:
            room -= len(entry) + 1
            taken[place] = entry
    return b'{"v":1,"acks":[' + b",".join(taken[place] for place in sorted(taken)) + b"]}"


def ask_message(missing: Iterable[Missing], *, teach: bool = False) -> bytes:
    """Write a request of at most MOST_BYTES for the oldest missing records, or with `teach` for an announcement too."""
    room = MOST_BYTES - len(_text({"v": 1, "missing": [], "teach": True}))
    entries: list[bytes] = []
    for each in missing:
        entry = _text({"epoch": each.epoch, "ranges": [list(pair) for pair in each.ranges[:MOST_RANGES]]})
        room -= len(entry) + 1
        if room < 0:
            break
        entries.append(entry)
    return b'{"v":1,"missing":[' + b",".join(entries) + b"]" + (b',"teach":true}' if teach else b"}")


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
            self._said[prefix] = now_ns
        return [(prefix, frozenset(self._touched.pop(prefix, ()))) for prefix in due]

    def next_ns(self) -> int | None:
        """When something is due."""
        return max(self._step_ns, min(self._due.values())) if self._due else None


class AskPlan:
    """When a prefix is asked for what is missing, and for announcements: ever less often while nothing comes of it.

    Args:
        rng: spreads the requests to many gateways.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._asks: dict[str, tuple[int, int]] = {}
        self._teaches: dict[str, tuple[int, int]] = {}

    def look_at(self, prefix: str, now_ns: int) -> None:
        """Something may be missing: look after a while, unless that is planned already."""
        if prefix not in self._asks:
            self._asks[prefix] = now_ns + self._spread(ASK_AFTER_NS), ASK_AFTER_NS

    def due(self, now_ns: int) -> list[str]:
        """Prefixes to look at now. Each is followed by `asked`, `progressed` or `forget`."""
        return [prefix for prefix, (due_ns, _) in self._asks.items() if due_ns <= now_ns]

    def asked(self, prefix: str, now_ns: int) -> None:
        """It was asked; ask again later, and then later still."""
        wait_ns = min(2 * self._asks[prefix][1], ASK_MOST_NS)
        self._asks[prefix] = now_ns + self._spread(wait_ns), wait_ns

    def progressed(self, prefix: str, now_ns: int) -> None:
        """Something came in the meantime: wait for more of it."""
        self._asks[prefix] = now_ns + self._spread(ASK_AFTER_NS), ASK_AFTER_NS

    def patience_ns(self, prefix: str) -> int:
        """What came in this time before now came since the last look."""
        return self._asks[prefix][1] * 11 // 10

    def forget(self, prefix: str) -> None:
        """Nothing is missing, or nobody is there."""
        self._asks.pop(prefix, None)

    def wants_teaching(self, prefix: str, now_ns: int) -> bool:
        """Whether to ask for an announcement now, of which a message that came is in need."""
        due_ns, wait_ns = self._teaches.get(prefix, (now_ns, TEACH_AFTER_NS))
        if now_ns < due_ns:
            return False
        self._teaches[prefix] = now_ns + self._spread(wait_ns), min(2 * wait_ns, ASK_MOST_NS)
        return True

    def taught(self, prefix: str) -> None:
        """The announcement came."""
        self._teaches.pop(prefix, None)

    def next_ns(self) -> int | None:
        """When to look at something."""
        return min([due_ns for due_ns, _ in self._asks.values()], default=None)

    def _spread(self, wait_ns: int) -> int:
        return round(wait_ns * self._rng.uniform(0.9, 1.1))
