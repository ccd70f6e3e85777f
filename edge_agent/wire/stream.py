"""Decodes captures: messages one after another, in the forms that MQTT tools write. Pure.

Binary messages need no separator; newlines between them are skipped. A line may also be hex text
(`mosquitto_sub -F %x`), and any payload may have its topic and a space before it (`-v`, `-F '%t %x'`).
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, NoReturn, TypeVar

from edge_agent.errors import Truncated, Unfinished, UnknownReference, WireError
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
"""Beginnings of payloads in other formats, which the agent sends if configured to."""
_OURS: Final = frozenset((VERSION, ord("{")))
_LINE_END: Final = re.compile(rb"[\r\n]")
_BEGINS_PACK: Final = re.compile(rb'\[\s*(\{("(bn?)?)?)?\Z')
_MOST_LINE: Final = 1 << 13
"""Bytes after which a line is known to be neither a message nor hex text."""
_MOST_BYTES: Final = 2 * MAX_MESSAGE_BYTES + _MOST_LINE
"""Most bytes of a message: as a line of hex text with its topic."""
_JSON_LOOKS: Final = (1 << 14, MAX_MESSAGE_BYTES)
_JSON_LAST_WORD: Final = 16
"""A JSON error this near to the end may come from a word that is cut off."""


class Unread(NamedTuple):
    """A message that could not be read, because what it refers to is not known.

    Attributes:
        at: offset of its first byte in the capture.
        reason: one sentence that names what it refers to.
    """

    at: int
    reason: str


class Found(NamedTuple, Generic[T]):
    """A payload in a capture.

    Attributes:
        at, end: offset of its first byte, topic included, and of the first byte after it.
        item: the result of reading it, or the reference that is not known.
        octets: its bytes, without topic, and decoded if they were hex text.
    """

    at: int
    end: int
    item: T | StatusText | UnknownReference
    octets: bytes


def decode_stream(data: bytes, known: Known | None = None) -> Iterator[Message | StatusText | Unread]:
    """Decode a capture.

    Args:
        data: the capture.
        known: what messages may refer to; what is read is added to it. None: nothing yet.

    Yields:
        Each message, each JSON object of the same topic tree, and `Unread` for a message that could not be read, in
        order.

    Raises:
        WireError: at the first damaged message, naming the offset of its first byte. All before it has been yielded.
    """
    known = known or Known()
    for found in payloads(data, lambda octets, at: read_message(octets, at, known)):
        if isinstance(found.item, UnknownReference):
            yield Unread(found.at, str(found.item))
        else:
            known.learn(found.item)
            yield found.item


def learn_stream(data: bytes, known: Known) -> None:
    """Add the announcements in a capture to `known`, up to the first damaged message."""
    with suppress(WireError):
        for found in payloads(data, read_taught):
            if isinstance(found.item, StatusText):
                known.learn(found.item)
            elif found.item is not None and not isinstance(found.item, UnknownReference):
                known.add(found.item)


def payloads(
    data: bytes, read: Callable[[bytes, int], tuple[T, int]], *, before: int = 0, more: bool = False
) -> Iterator[Found[T]]:
    """Split a capture into payloads, and read each.

    Args:
        data: a capture, or the next bytes of one.
        read: reads the message at an offset; returns the result and the offset of its end.
        before: number of bytes of the capture before `data`; offsets in errors count them.
        more: whether bytes may follow. Then the last payload is left out if they could change it.

    Raises:
        WireError: at the first damaged message.
    """
    at = _skip(_SPACE, data, 0)
    while at < len(data) and not (more and _is_open(data, at)):
        try:
            found = _read_payload(data, at, _payload_start(data, at), read)
        except WireError as error:
            if more and isinstance(error, Unfinished) and len(data) - at < _MOST_BYTES:
                return
            raise type(error)(f"byte {before + at}: {error}") from None
        at = _skip(_SPACE, data, found.end)
        yield found


def _is_open(data: bytes, at: int) -> bool:
    """Tell whether more bytes could change what kind of payload begins at `at`."""
    if data[at] in _OURS or len(data) - at >= _MOST_BYTES:
        return False
    start = _skip(_TOPIC, data, at)
    if _BEGINS_PACK.match(data, at) or _BEGINS_PACK.match(data, start):
        return True
    if (start > at and data[start] in _OURS) or _LINE_END.search(data, at):
        return False
    return len(data) - at < _MOST_LINE or _HEX.match(data, start) is not None


def _skip(pattern: re.Pattern[bytes], data: bytes, at: int) -> int:
    match = pattern.match(data, at)
    return match.end() if match else at


def _refuse_foreign(data: bytes, at: int) -> None:
    if data[at] in _OURS:
        return  # a message may contain any bytes
    for name, pattern in _FOREIGN.items():
        if pattern.match(data, at):
            raise WireError(f'this is {name}, which other programs read; here only formats "batch" and "json" are')


def _payload_start(data: bytes, at: int) -> int:
    _refuse_foreign(data, at)
    if data[at] in _OURS or _HEX.match(data, at):
        return at
    return _skip(_TOPIC, data, at)


def _read_payload(data: bytes, at: int, start: int, read: Callable[[bytes, int], tuple[T, int]]) -> Found[T]:
    """Read one payload, which begins at `start`; its topic begins at `at`."""
    _refuse_foreign(data, start)
    hexadecimal = _HEX.match(data, start)
    if hexadecimal is None:
        item, end = _read_one(data, start, read)
        return Found(at, end, item, data[start:end])
    if len(hexadecimal[0]) % 2:
        raise Truncated("a line of hex text with half a byte at its end")
    octets = bytes.fromhex(hexadecimal[0].decode())
    _refuse_foreign(octets, 0)
    try:
        item, end = _read_one(octets, 0, read)
    except Unfinished as error:
        raise Truncated(str(error)) from None  # its line has ended
    if octets[end:].strip() if isinstance(item, StatusText) else end != len(octets):
        raise WireError(f"{len(octets) - end} bytes follow the end of the message")
    return Found(at, hexadecimal.end(), item, octets)


def _read_one(
    data: bytes, at: int, read: Callable[[bytes, int], tuple[T, int]]
) -> tuple[T | StatusText | UnknownReference, int]:
    if data[at] == ord("{"):
        return _read_status(data, at)
    try:
        return read(data, at)
    except UnknownReference as error:
        return error, error.end


def _read_status(data: bytes, at: int) -> tuple[StatusText, int]:
    cut = False
    for look in _JSON_LOOKS:
        # Bytes that are not UTF-8 are kept as surrogates, so that the length of the object can be counted in bytes.
        text = data[at : at + look].decode(errors="surrogateescape")
        try:
            fields, length = _JSON.raw_decode(text)
            return StatusText(fields), at + len(text[:length].encode(errors="surrogateescape"))
        except json.JSONDecodeError as error:
            cut = error.msg.startswith("Unterminated") or error.pos > len(text) - _JSON_LAST_WORD
        except (ValueError, RecursionError):
            cut = False
    raise (Unfinished if cut and len(data) - at < MAX_MESSAGE_BYTES else WireError)("a JSON message is not whole")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


_JSON: Final = json.JSONDecoder(parse_constant=_refuse_constant)
