"""Reason codes of a PUBACK (MQTT 5.0, 3.4.2.1)."""

from __future__ import annotations

from typing import Final

NO_MATCHING_SUBSCRIBERS: Final = 0x10
SUCCESS: Final = 0x00
HOPELESS: Final = {0x90: "topic invalid", 0x95: "packet too large", 0x99: "payload format invalid"}
REASONS: Final = {
    NO_MATCHING_SUBSCRIBERS: "nobody is subscribed",
    0x80: "unspecified error",
    0x83: "implementation specific error",
    0x87: "not authorised",
    0x97: "quota exceeded",
}
OF_ONE_TOPIC: Final = frozenset({NO_MATCHING_SUBSCRIBERS, 0x87})
"""Reasons that concern one topic: other topics are still used."""
