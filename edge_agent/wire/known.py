"""What a message may refer to instead of saying it again: the table of channels, and an earlier batch. Pure.

A message that refers to nothing stands alone, and so do all that the pipeline makes. One that refers to a table needs
whoever reads it to have been told the table, which never changes under its id. One that refers to a batch needs that
batch, so a sender refers only to what the receiver has confirmed: then no loss ever spoils what comes after it.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from functools import cached_property
from math import isfinite
from typing import TYPE_CHECKING, Final, NamedTuple

import msgpack

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_agent.wire.batch import Batch

_EXACT_END: Final = float(1 << 53)


@dataclass(frozen=True)
class Channels:
    """All channels of a node, in the order in which a batch names them.

    Attributes:
        node: id of the gateway.
        sensors: id of each sensor and its quantities.
    """

    node: str
    sensors: tuple[tuple[str, tuple[str, ...]], ...]

    @cached_property
    def id(self) -> int:
        """What a message says instead: 0..2**32-1, the CRC-32 of node and sensors as msgpack."""
        return zlib.crc32(msgpack.packb([self.node, [[sensor, list(own)] for sensor, own in self.sensors]]))


class Reference(NamedTuple):
    """A batch of the same node and epoch that the receiver has for certain."""

    seq: int
    batch: Batch


@dataclass(frozen=True, slots=True)
class Known:
    """What a receiver has and a message may refer to.

    Attributes:
        channels: by id.
        batches: by node, epoch and seq.
    """

    channels: Mapping[int, Channels] = field(default_factory=dict)
    batches: Mapping[tuple[str, int, int], Batch] = field(default_factory=dict)


class Latest:
    """The last stamp and the last numbers of an earlier batch: what the next is written relative to."""

    def __init__(self, batch: Batch | None) -> None:
        groups = batch.groups if batch is not None else ()
        stamped = [group.times_ns[-1] for group in groups if len(group.times_ns)]
        self.stamp_ns: int | None = stamped[0] if stamped else None
        self._numbers: dict[tuple[str, str], float] = {}
        for group in groups:
            for column in group.columns:
                number = next((value for value in reversed(column.values) if value is not None), None)
                if number is not None and isfinite(number):
                    self._numbers[group.sensor, column.quantity] = number
        self.empty = not self._numbers

    def integer(self, sensor: str, quantity: str, scale: int) -> int:
        """The last number in decimals of the new column; 0 if there is none, or none that is exact."""
        scaled = self._numbers.get((sensor, quantity), 0.0) * 10.0**scale
        return round(scaled) if abs(scaled) < _EXACT_END else 0
