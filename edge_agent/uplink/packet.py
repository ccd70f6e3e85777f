"""Size of a PUBLISH packet (MQTT 5.0, 3.3). Pure."""

from __future__ import annotations


def publish_bytes(topic: str, payload: bytes, properties: int = 1, *, with_identifier: bool = False) -> int:
    """Size of a PUBLISH: fixed header, topic, packet identifier, properties, payload.

    Args:
        topic: topic of the message.
        payload: its content.
        properties: size of the properties with their length; one byte if there are none. MQTT 3.1.1 has not even that.
        with_identifier: whether it has a packet identifier, as QoS 1 needs.
    """
    remaining = 2 + len(topic.encode()) + 2 * with_identifier + properties + len(payload)
    length_bytes = 1 + (remaining >= 1 << 7) + (remaining >= 1 << 14) + (remaining >= 1 << 21)
    return 1 + length_bytes + remaining
