"""What stages remember across a restart: plain numbers, and how their stamps move when the machine was rebooted. Pure.

Kept as JSON, so that a later version can read what it knows and leave the rest; deflated, because it goes to a card.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Final, NamedTuple

from edge_agent.clock import NS_PER_S, ClockQuality

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edge_agent.clock import Clock

_VERSION: Final = 1
_LONG_AGO_NS: Final = 365 * 86_400 * NS_PER_S
"""How old everything is when nobody knows."""
_MOST: Final = 1 << 63
_MOST_BYTES: Final = 1 << 26
_KNOWN: Final = ClockQuality.HOLDOVER


@dataclass(frozen=True, slots=True)
class Remembered:
    """The state of one stage of one owner.

    Attributes:
        owner: whose, as `air.temperature_c`, or the name of a rule.
        stage: which of its stages.
        numbers: finite; stamps among them are nanoseconds since boot.
    """

    owner: str
    stage: str
    numbers: Sequence[float]


def write_memory(clock: Clock, remembered: Iterable[Remembered]) -> bytes:
    """Put states together with the boot that their stamps belong to."""
    anchor = clock.anchor()
    text = json.dumps(
        {
            "version": _VERSION,
            "boot": clock.boot_id(),
            "now_ns": clock.now_ns(),
            "offset_ns": anchor.offset_ns,
            "quality": int(anchor.quality),
            "states": [[each.owner, each.stage, *each.numbers] for each in remembered],
        },
        separators=(",", ":"),
        allow_nan=False,
    )
    return zlib.compress(text.encode())


class Memory(NamedTuple):
    """What was remembered.

    Attributes:
        states: of all stages.
        shift_ns: what to add to their stamps to get nanoseconds since this boot: 0 within one boot, else by wall time,
            and where that is not known on both sides, so much that all of it is long ago.
        is_dated: whether that much is known.
    """

    states: Sequence[Remembered]
    shift_ns: int
    is_dated: bool


def read_memory(body: bytes, clock: Clock) -> Memory:
    """Read states, of this boot or another.

    Raises:
        ValueError: it is none that this version knows.
    """
    try:
        fields = json.loads(_inflated(body))
        if fields["version"] != _VERSION:
            raise ValueError(f"version {fields['version']}")
        found = [Remembered(str(owner), str(stage), tuple(numbers)) for owner, stage, *numbers in fields["states"]]
        same = fields["boot"] == clock.boot_id()
        saved_ns, offset_ns, quality = int(fields["now_ns"]), int(fields["offset_ns"]), int(fields["quality"])
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"no saved states: {error!r}") from None
    if not all(_is_number(number) for each in found for number in each.numbers):
        raise ValueError("a saved state holds something else than finite numbers")
    if same:
        return Memory(found, 0, is_dated=True)
    now_ns, anchor = clock.now_ns(), clock.anchor()
    if min(quality, anchor.quality) < _KNOWN:
        return Memory(found, now_ns - saved_ns - _LONG_AGO_NS, is_dated=False)
    # Wall time may have stepped backwards; what is remembered never lies ahead.
    return Memory(found, min(offset_ns - anchor.offset_ns, now_ns - saved_ns), is_dated=True)


def _inflated(body: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(body, _MOST_BYTES)
    except zlib.error as error:
        raise ValueError(f"no saved states: {error}") from None
    if not unpacker.eof:
        raise ValueError("no saved states: cut off, or too large")
    return text


def _is_number(number: object) -> bool:
    if type(number) is int:
        return abs(number) < _MOST
    return isinstance(number, float) and isfinite(number)
