"""Captured messages, one after another, in the forms in which tools write them. Pure.

Binary messages need no separator; newlines between them are skipped. A line may also be hex text
(`mosquitto_sub -F %x`), and any payload may have its topic and a space before it (`-v`, `-F '%t %x'`).
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final, NoReturn

from edge_agent.errors import Truncated, WireError
from edge_agent.wire.batch import StatusText
from edge_agent.wire.decode import NOTHING_KNOWN, decode_message, read_message
from edge_agent.wire.limits import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.wire.batch import Message
    from edge_agent.wire.known import Known

_SPACE: Final = re.compile(rb"[ \t\r\n]*")
_HEX: Final = re.compile(rb"[0-9A-Fa-f]+(?=[\r\n]|\Z)")
_TOPIC: Final = re.compile(rb"[^\x00-\x20\x7f]{1,1024}[ \t]+(?=[^ \t\r\n])")
_MAX_STATUS_BYTES: Final = 1 << 16


def decode_stream(data: bytes, known: Known = NOTHING_KNOWN) -> Iterator[Message | StatusText]:
    """Decode a capture.

    Args:
        data: the capture.
        known: what its messages may refer to.

    Yields:
        Each message, and each JSON object of the same topic tree, in order.

    Raises:
        WireError: at the first damaged message, naming the offset of its first byte; what stood before it has
            been yielded by then.
    """
    at = _skip(_SPACE, data, 0)
    while at < len(data):
        start = at
        try:
            item, at = _read_payload(data, _payload_start(data, at), known)
        except WireError as error:
            raise type(error)(f"byte {start}: {error}") from None
        yield item
        at = _skip(_SPACE, data, at)


def _skip(pattern: re.Pattern[bytes], data: bytes, at: int) -> int:
    match = pattern.match(data, at)
    return match.end() if match else at


def _payload_start(data: bytes, at: int) -> int:
    if data[at] in {VERSION, ord("{")} or _HEX.match(data, at):
        return at
    return _skip(_TOPIC, data, at)


def _read_payload(data: bytes, at: int, known: Known) -> tuple[Message | StatusText, int]:
    if data[at] == ord("{"):
        return _read_status(data, at)
    hexadecimal = _HEX.match(data, at)
    if hexadecimal is None:
        return read_message(data, at, known)
    if len(hexadecimal[0]) % 2:
        raise Truncated("a line of hex text with half a byte at its end")
    octets = bytes.fromhex(hexadecimal[0].decode())
    if octets[0] == ord("{"):
        item, end = _read_status(octets, 0)
        if octets[end:].strip():
            raise WireError("bytes follow the end of a status message")
        return item, hexadecimal.end()
    return decode_message(octets, known), hexadecimal.end()


def _read_status(data: bytes, at: int) -> tuple[StatusText, int]:
    # Undecodable bytes are carried along, so that the offset after the object can be counted in bytes.
    text = data[at : at + _MAX_STATUS_BYTES].decode(errors="surrogateescape")
    try:
        fields, length = _JSON.raw_decode(text)
    except (ValueError, RecursionError):
        raise WireError("a status message is not whole JSON") from None
    return StatusText(fields), at + len(text[:length].encode(errors="surrogateescape"))


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


_JSON: Final = json.JSONDecoder(parse_constant=_refuse_constant)
