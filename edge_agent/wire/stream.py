"""Captured messages, one after another, in the forms in which tools write them. Pure.

Binary messages need no separator; newlines between them are skipped. A line may also be hex text
(`mosquitto_sub -F %x`), and any payload may have its topic and a space before it (`-v`, `-F '%t %x'`).
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn, TypeVar

from edge_agent.errors import Truncated, UnknownReference, WireError
from edge_agent.wire.batch import StatusText
from edge_agent.wire.decode import read_message, read_taught
from edge_agent.wire.known import Known
from edge_agent.wire.limits import MAX_MESSAGE_BYTES, VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge_agent.wire.batch import Message

T = TypeVar("T")

_SPACE: Final = re.compile(rb"[ \t\r\n]*")
_HEX: Final = re.compile(rb"[0-9A-Fa-f]+(?=[\r\n]|\Z)")
_TOPIC: Final = re.compile(rb"[^\x00-\x20\x7f]{1,1024}[ \t]+(?=[^ \t\r\n])")
_FOREIGN: Final = {
    "InfluxDB line protocol": re.compile(rb"[^\s,]{1,300},[^\s=]{1,300}=[^\s]{1,3000} [A-Za-z_][A-Za-z0-9_]{0,300}="),
    "a SenML pack": re.compile(rb'\[\s*\{"bn"'),
    "a Sparkplug B topic": re.compile(rb"spBv1\.0/"),
}
"""What the agent sends too, if it is told to, for those that read it already."""
_JSON_LOOKS: Final = (1 << 14, MAX_MESSAGE_BYTES)


class Unread(NamedTuple):
    """A message that was passed over, because what it refers to is not known.

    Attributes:
        at: offset of its first byte.
        reason: what it refers to.
    """

    at: int
    reason: str


def decode_stream(data: bytes, known: Known | None = None) -> Iterator[Message | StatusText | Unread]:
    """Decode a capture.

    Args:
        data: the capture.
        known: what its messages may refer to; learns what they tell. None: nothing yet.

    Yields:
        Each message, each JSON object of the same topic tree, and where a message was passed over, in order.

    Raises:
        WireError: at the first damaged message, naming the offset of its first byte; what stood before it has
            been yielded by then.
    """
    known = known or Known()
    for item in _payloads(data, lambda octets, at: read_message(octets, at, known)):
        if not isinstance(item, Unread):
            known.learn(item)
        yield item


def learn_stream(data: bytes, known: Known) -> None:
    """Learn the announcements in a capture as far as it is whole, so that it can be decoded in any order."""
    with suppress(WireError):
        for item in _payloads(data, read_taught):
            if isinstance(item, StatusText):
                known.learn(item)
            elif item is not None and not isinstance(item, Unread):
                known.add(item)


def _payloads(data: bytes, read: Callable[[bytes, int], tuple[T, int]]) -> Iterator[T | StatusText | Unread]:
    """What `read` makes of each message and the offset of its end; status messages beside that."""
    at = _skip(_SPACE, data, 0)
    while at < len(data):
        start = at
        try:
            item, at = _read_payload(data, _payload_start(data, at), read)
        except UnknownReference as error:
            yield Unread(start, str(error))
            at = error.end
        except WireError as error:
            raise type(error)(f"byte {start}: {error}") from None
        else:
            yield item
        at = _skip(_SPACE, data, at)


def _skip(pattern: re.Pattern[bytes], data: bytes, at: int) -> int:
    match = pattern.match(data, at)
    return match.end() if match else at


def _refuse_foreign(data: bytes, at: int) -> None:
    if data[at] in {VERSION, ord("{")}:
        return  # in what is ours anything may stand
    for name, pattern in _FOREIGN.items():
        if pattern.match(data, at):
            raise WireError(f'this is {name}, which other programs read; here only formats "batch" and "json" are')


def _payload_start(data: bytes, at: int) -> int:
    _refuse_foreign(data, at)
    if data[at] in {VERSION, ord("{")} or _HEX.match(data, at):
        return at
    return _skip(_TOPIC, data, at)


def _read_payload(data: bytes, at: int, read: Callable[[bytes, int], tuple[T, int]]) -> tuple[T | StatusText, int]:
    if data[at] == ord("{"):
        return _read_status(data, at)
    _refuse_foreign(data, at)
    hexadecimal = _HEX.match(data, at)
    if hexadecimal is None:
        return read(data, at)
    if len(hexadecimal[0]) % 2:
        raise Truncated("a line of hex text with half a byte at its end")
    try:
        return _read_hex(bytes.fromhex(hexadecimal[0].decode()), read), hexadecimal.end()
    except UnknownReference as error:
        error.end = hexadecimal.end()
        raise


def _read_hex(octets: bytes, read: Callable[[bytes, int], tuple[T, int]]) -> T | StatusText:
    if octets[0] == ord("{"):
        status, end = _read_status(octets, 0)
        if octets[end:].strip():
            raise WireError("bytes follow the end of a status message")
        return status
    _refuse_foreign(octets, 0)
    item, end = read(octets, 0)
    if end != len(octets):
        raise WireError(f"{len(octets) - end} bytes follow the end of the message")
    return item


def _read_status(data: bytes, at: int) -> tuple[StatusText, int]:
    # Undecodable bytes are carried along, so that the offset after the object can be counted in bytes.
    for look in _JSON_LOOKS:
        text = data[at : at + look].decode(errors="surrogateescape")
        with suppress(ValueError, RecursionError):
            fields, length = _JSON.raw_decode(text)
            return StatusText(fields), at + len(text[:length].encode(errors="surrogateescape"))
    raise WireError("a JSON message is not whole")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


_JSON: Final = json.JSONDecoder(parse_constant=_refuse_constant)
