"""Modbus RTU frames: build a request for registers, and find the reply in the received bytes.

Sources: Modbus application protocol V1.1b3 (sections 6.3, 6.4, 7); Modbus over serial line V1.02 (section 2.5).
"""

from __future__ import annotations

from typing import Final

from edge_agent.drivers.checksum import crc16_modbus
from edge_agent.errors import BadReply, ChecksumMismatch

HOLDING: Final = 3
INPUT: Final = 4
EXCEPTION: Final = 0x80
EXCEPTIONS: Final = {
    1: "illegal function: the profile does not fit this device",
    2: "illegal register address: the profile does not fit this device",
    3: "illegal value: the profile does not fit this device",
    4: "device failure: its own sensor may be broken",
    5: "acknowledged, still at work",
    6: "busy",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "the device behind the gateway does not answer",
}
"""Section 7."""
OVERHEAD: Final = 5
"""Address, function, byte count and two bytes of checksum around the data of a reply; an exception reply as well."""


def request_frame(address: int, function: int, first: int, count: int) -> bytes:
    """The request for `count` registers from `first` on (sections 6.3 and 6.4)."""
    body = bytes((address, function)) + first.to_bytes(2) + count.to_bytes(2)
    return body + crc16_modbus(body).to_bytes(2, "little")


def find_payload(received: bytes, address: int, function: int, length: int) -> tuple[bytes, int]:
    """Find the reply in the received bytes, after noise that an idle line may have caused.

    Args:
        received: bytes from the line.
        address: slave that was asked.
        function: function code that was asked.
        length: data bytes that the reply must hold.

    Returns:
        The data bytes, and how many bytes came before the frame.

    Raises:
        BadReply: an exception reply, a reply of another slave or length, or no frame.
        ChecksumMismatch: a damaged reply.
    """
    stranger: bytes | None = None
    for start in range(len(received) - OVERHEAD + 1):
        frame = received[start:]
        if frame[1] == function | EXCEPTION:
            if frame[0] == address and _intact(frame[:OVERHEAD]):
                code = frame[2]
                raise BadReply(f"slave {address} refuses, code {code}: {EXCEPTIONS.get(code, 'unknown')}")
        elif frame[1] == function and len(frame) >= OVERHEAD + frame[2] and _intact(frame[: OVERHEAD + frame[2]]):
            if frame[0] == address and frame[2] == length:
                return frame[3 : 3 + length], start
            stranger = stranger or frame
    if stranger is not None and stranger[0] != address:
        raise BadReply(f"slave {stranger[0]} replied where {address} was asked: two of one address, or a late reply")
    if stranger is not None:
        raise BadReply(f"slave {address} sent {stranger[2]} data bytes where {length} were asked")
    start = frame_start(received, address, function, length)
    if start >= 0 and len(received) - start >= OVERHEAD + length:
        frame = received[start : start + OVERHEAD + length]
        raise ChecksumMismatch(
            expected=crc16_modbus(frame[:-2]), received=int.from_bytes(frame[-2:], "little"), raw=frame
        )
    if start >= 0:
        raise BadReply(f"the reply of slave {address} broke off: {received.hex()}")
    raise BadReply(f"noise instead of a reply ({received.hex()}): wrong baud rate or parity, or no bias on the line")


def frame_start(received: bytes, address: int, function: int, length: int) -> int:
    """Index of the first three bytes of a reply; -1 if they are not found."""
    return received.find(bytes((address, function, length)))


def _intact(frame: bytes) -> bool:
    return crc16_modbus(frame[:-2]) == int.from_bytes(frame[-2:], "little")
