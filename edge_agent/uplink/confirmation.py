"""Messages of receivers: what is durable there, and what they lack. Pure. The bytes may come from anybody.

`<prefix>/ack/<receiver>`, retained: {"v": 1, "acks": [{"epoch": 7, "upto": 40, "ranges": [[43, 50]]}]}
`<prefix>/ask/<receiver>`: {"v": 1, "missing": [{"epoch": 7, "ranges": [[41, 42]]}], "teach": true}
Members that are not known are ignored.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from dataclasses import dataclass
from typing import Any, Final

from edge_agent.errors import WireError

MOST_BYTES: Final = 16_384
"""Longer messages are not read."""
VERSION: Final = 1
_MOST_NUMBER: Final = (1 << 53) - 1
"""Largest epoch and seq: exact in every reader of JSON."""
_RECEIVER: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True)
class Seqs:
    """Seqs of one epoch.

    Attributes:
        epoch: the epoch.
        upto: all seqs up to this one belong to it; 0: none.
        ranges: further seqs as (first, last), ascending, without overlaps.
    """

    epoch: int
    upto: int
    ranges: tuple[tuple[int, int], ...]

    def __contains__(self, seq: int) -> bool:
        """Whether a seq is among them."""
        place = bisect_right(self.ranges, (seq, _MOST_NUMBER)) - 1
        return seq <= self.upto or (place >= 0 and seq <= self.ranges[place][1])


@dataclass(frozen=True, slots=True)
class Ack:
    """A receiver has stored these records durably. A lower bound; each epoch occurs once.

    Attributes:
        receiver: name of the receiver.
        seqs: the records, by epoch.
    """

    receiver: str
    seqs: tuple[Seqs, ...]


@dataclass(frozen=True, slots=True)
class Ask:
    """A receiver lacks something.

    Attributes:
        receiver: name of the receiver.
        missing: records to send again; `upto` is 0.
        teach: whether it needs an announcement.
    """

    receiver: str
    missing: tuple[Seqs, ...]
    teach: bool


def parse_ack(receiver: str, payload: bytes) -> Ack:
    """Read a message on `…/ack/<receiver>`.

    Raises:
        WireError: it is something else.
    """
    fields = _fields(receiver, payload)
    seqs = [Seqs(_number(entry, "epoch"), _number(entry, "upto"), _ranges(entry)) for entry in _entries(fields, "acks")]
    if len({each.epoch for each in seqs}) < len(seqs):
        raise WireError("an ack names an epoch twice")
    return Ack(receiver, tuple(seqs))


def parse_ask(receiver: str, payload: bytes) -> Ask:
    """Read a message on `…/ask/<receiver>`.

    Raises:
        WireError: it is something else.
    """
    fields = _fields(receiver, payload)
    teach = fields.get("teach", False)
    if not isinstance(teach, bool):
        raise WireError("'teach' is not true or false")
    missing = [Seqs(_number(entry, "epoch"), 0, _ranges(entry)) for entry in _entries(fields, "missing")]
    return Ask(receiver, tuple(missing), teach)


def _fields(receiver: str, payload: bytes) -> dict[str, Any]:
    if not _RECEIVER.fullmatch(receiver):
        raise WireError("the name of a receiver has 1 to 64 letters, digits, dots, dashes and underscores")
    if len(payload) > MOST_BYTES:
        raise WireError(f"a message of a receiver has at most {MOST_BYTES} bytes, not {len(payload)}")
    try:
        fields = json.loads(payload)
    except (ValueError, RecursionError):  # UnicodeDecodeError and numbers of thousands of digits are ValueErrors
        raise WireError("a message of a receiver is not JSON") from None
    if not isinstance(fields, dict) or type(fields.get("v")) is not int or fields["v"] != VERSION:
        raise WireError(f"a message of a receiver is not an object of version {VERSION}")
    return fields


def _entries(fields: dict[str, Any], name: str) -> list[dict[str, Any]]:
    entries = fields.get(name, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise WireError(f"{name!r} is not a list of objects")
    return entries


def _number(entry: dict[str, Any], name: str) -> int:
    return _checked(entry.get(name, 0 if name == "upto" else None), name)


def _checked(number: Any, name: str) -> int:
    if type(number) is not int or not 0 <= number <= _MOST_NUMBER:
        raise WireError(f"{name!r} is not a number from 0 to {_MOST_NUMBER}")
    return number


def _ranges(entry: dict[str, Any]) -> tuple[tuple[int, int], ...]:
    ranges = entry.get("ranges", [])
    if not isinstance(ranges, list):
        raise WireError("'ranges' is not a list")
    checked: list[tuple[int, int]] = []
    for pair in ranges:
        if not isinstance(pair, list) or len(pair) != 2:
            raise WireError("a range is not [first, last]")
        first, last = (_checked(number, "range") for number in pair)
        if first > last:
            raise WireError("a range ends before it begins")
        checked.append((first, last))
    merged: list[tuple[int, int]] = []
    for first, last in sorted(checked):
        if merged and first <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(last, merged[-1][1])
        else:
            merged.append((first, last))
    return tuple(merged)
