"""Saved states of stages: numbers, and the conversion of their stamps after a reboot. Pure.

The format is JSON, so that a later version can read the states that it knows and ignore others; deflated to reduce
writes to the card.
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
"""Age that is assumed for saved stamps if it cannot be computed."""
_MOST: Final = 1 << 63
_MOST_BYTES: Final = 1 << 26
_KNOWN: Final = ClockQuality.HOLDOVER


@dataclass(frozen=True, slots=True)
class Remembered:
    """State of one stage of one owner.

    Attributes:
        owner: name of a channel, as `air.temperature_c`, or of a rule.
        stage: name of the stage.
        numbers: the state; finite numbers, stamps in nanoseconds since boot.
    """

    owner: str
    stage: str
    numbers: Sequence[float]


def write_memory(clock: Clock, remembered: Iterable[Remembered]) -> bytes:
    """Encode states, together with the boot and the anchor of their stamps."""
    anchor = clock.anchor()
    text = json.dumps(
        {
            "version": _VERSION,
            "boot": clock.boot_id(),
            "now_ns": clock.now_ns(),
            "offset_ns": anchor.offset_ns,
            "quality": int(anchor.quality),
            "states": [[state.owner, state.stage, *state.numbers] for state in remembered],
        },
        separators=(",", ":"),
        allow_nan=False,
    )
    return zlib.compress(text.encode())


class Memory(NamedTuple):
    """Decoded states.

    Attributes:
        states: states of all stages.
        shift_ns: added to their stamps, it gives nanoseconds since this boot: 0 within one boot, else computed from
            wall time. If wall time is not known in both boots, the stamps are moved a year into the past.
        is_dated: whether the age of the states is known.
    """

    states: Sequence[Remembered]
    shift_ns: int
    is_dated: bool


def read_memory(body: bytes, clock: Clock) -> Memory:
    """Decode states of this boot or of another.

    Raises:
        ValueError: the bytes are damaged, or of another version.
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
    if not all(_is_number(number) for state in found for number in state.numbers):
        raise ValueError("a saved state holds something else than finite numbers")
    if same:
        return Memory(found, 0, is_dated=True)
    now_ns, anchor = clock.now_ns(), clock.anchor()
    if min(quality, anchor.quality) < _KNOWN:
        return Memory(found, now_ns - saved_ns - _LONG_AGO_NS, is_dated=False)
    # Wall time may have stepped backwards; saved stamps must not lie in the future.
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
