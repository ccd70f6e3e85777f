"""Identity and time of a message. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_agent.clock import ClockQuality


@dataclass(frozen=True, slots=True)
class Envelope:
    """Identity and time of a message.

    Attributes:
        node: id of the gateway.
        epoch, seq: identity of the record together with `node`; 0..2**63-1.
        boot: number of the boot that the stamps inside belong to; 0..2**63-1.
        offset_ns: add to a stamp to get UNIX time (UTC) in nanoseconds; int64.
        time_quality: how far to trust `offset_ns`.
    """

    node: str
    epoch: int
    seq: int
    boot: int
    offset_ns: int
    time_quality: ClockQuality
