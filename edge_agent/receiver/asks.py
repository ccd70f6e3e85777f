"""What gateways are asked for, and when. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from edge_agent.clock import NS_PER_S
from edge_agent.receiver.ranges import Ranges
from edge_agent.receiver.signature import SIGNATURE_BYTES

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Sequence

MOST_BYTES: Final = 16_384
"""Largest request."""
MOST_RANGES: Final = 256
"""Most ranges of one epoch in it, the lowest ones."""
LOOK_NS: Final = 60 * NS_PER_S
"""What is missing at two looks that are so far apart is asked for."""
MOST_WAIT_NS: Final = 3600 * NS_PER_S
"""The time between two requests for the same doubles up to this."""
TEACH_NS: Final = 10 * NS_PER_S
"""An announcement is asked for at once, and again after this; it doubles too."""
MOST_PREFIXES: Final = 65_536
"""Most prefixes that wait for an announcement and are remembered, the latest ones."""


@dataclass(frozen=True, slots=True)
class Missing:
    """What is missing of one epoch, as ranges of seqs, ascending."""

    epoch: int
    ranges: tuple[tuple[int, int], ...]


def ask_message(missing: Iterable[Missing], *, teach: bool = False) -> bytes:
    """Write a request of at most MOST_BYTES for the oldest missing records, or with `teach` for an announcement too."""
    room = MOST_BYTES - SIGNATURE_BYTES - len(b'{"v":1,"missing":[],"teach":true}')
    entries: list[bytes] = []
    for each in missing:
        fields = {"epoch": each.epoch, "ranges": [list(pair) for pair in each.ranges[:MOST_RANGES]]}
        entry = json.dumps(fields, separators=(",", ":")).encode()
        room -= len(entry) + 1
        if room < 0:
            break
        entries.append(entry)
    return b'{"v":1,"missing":[' + b",".join(entries) + b"]" + (b',"teach":true}' if teach else b"}")


@dataclass(slots=True)
class _Looks:
    """What is known of a prefix.

    Attributes:
        look_ns: when to look again.
        seen: what was missing at the last look, by epoch.
        asked: what was asked for and was still missing then.
        ask_ns, wait_ns: when to ask for the same again, and how long it was waited for that.
    """

    look_ns: int
    seen: dict[int, Ranges] = field(default_factory=dict)
    asked: dict[int, Ranges] = field(default_factory=dict)
    ask_ns: int = 0
    wait_ns: int = LOOK_NS


class AskPlan:
    """When a prefix is asked for what is missing, and for announcements: ever less often while nothing comes of it.

    A record that is on its way is missing for a moment; so only what is missing at two looks is asked for.

    Args:
        rng: spreads the requests to many gateways.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._looks: dict[str, _Looks] = {}
        self._teaches: dict[str, tuple[int, int]] = {}

    def watch(self, prefix: str, now_ns: int) -> None:
        """Something may be missing."""
        if prefix not in self._looks:
            self._looks[prefix] = _Looks(now_ns + self._spread(LOOK_NS))

    def due(self, now_ns: int) -> list[str]:
        """Prefixes to look at now. Each is followed by `look`, or by `forget`."""
        return [prefix for prefix, looks in self._looks.items() if looks.look_ns <= now_ns]

    def look(self, prefix: str, missing: Sequence[Missing], now_ns: int) -> list[Missing]:
        """Take in what is missing now. Returns what to ask for now."""
        looks = self._looks[prefix]
        now = {each.epoch: Ranges(each.ranges) for each in missing}
        stale = _common(now, looks.seen)
        asked = _common(now, looks.asked)
        looks.look_ns, looks.seen = now_ns + self._spread(LOOK_NS), now
        if not stale:
            looks.asked = {}
            return []
        if stale != asked or asked != looks.asked:  # there is more to ask for, or something came
            looks.wait_ns = LOOK_NS
        elif now_ns < looks.ask_ns:
            return []
        else:
            looks.wait_ns = min(2 * looks.wait_ns, MOST_WAIT_NS)
        looks.asked = stale
        looks.ask_ns = now_ns + self._spread(looks.wait_ns) - LOOK_NS // 2
        return [Missing(epoch, tuple(ranges)) for epoch, ranges in stale.items()]

    def forget(self, prefix: str) -> None:
        """Nothing is missing, or nobody is there."""
        self._looks.pop(prefix, None)

    def wants_teaching(self, prefix: str, now_ns: int) -> bool:
        """Whether to ask for an announcement now, of which a message that came is in need."""
        due_ns, wait_ns = self._teaches.pop(prefix, (now_ns, TEACH_NS))
        is_due = now_ns >= due_ns
        if is_due:
            due_ns, wait_ns = now_ns + self._spread(wait_ns), min(2 * wait_ns, MOST_WAIT_NS)
        self._teaches[prefix] = due_ns, wait_ns
        if len(self._teaches) > MOST_PREFIXES:
            del self._teaches[next(iter(self._teaches))]
        return is_due

    def taught(self, prefix: str) -> None:
        """The announcement came."""
        self._teaches.pop(prefix, None)

    def next_ns(self) -> int | None:
        """When to look at something."""
        return min([looks.look_ns for looks in self._looks.values()], default=None)

    def _spread(self, wait_ns: int) -> int:
        return round(wait_ns * self._rng.uniform(0.9, 1.1))


def _common(some: dict[int, Ranges], others: dict[int, Ranges]) -> dict[int, Ranges]:
    """What is in both, without epochs that have nothing."""
    both = {epoch: ranges.common(others[epoch]) for epoch, ranges in some.items() if epoch in others}
    return {epoch: ranges for epoch, ranges in both.items() if len(ranges)}
