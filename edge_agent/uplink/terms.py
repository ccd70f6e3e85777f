"""Terms of a link: what the broker takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LARGEST_PACKET_BYTES: Final = 268_435_455
"""Largest packet of MQTT (MQTT 5.0, 1.5.5)."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the broker takes on a link.

    Attributes:
        receive_maximum: number of publishes without an acknowledgement.
        maximum_packet_bytes: size of a packet, fixed header included. MQTT 3.1.1 cannot say it; then the protocol's.
        broker: configured address, HOST:PORT.
    """

    receive_maximum: int = 65_535
    maximum_packet_bytes: int = LARGEST_PACKET_BYTES
    broker: str = ""
