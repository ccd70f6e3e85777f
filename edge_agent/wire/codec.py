"""The door to the format: records to messages and back. Pure. Byte by byte in FORMAT.md."""

from edge_agent.wire.decode import decode_message
from edge_agent.wire.encode import encode_batch, encode_event, encode_message, encode_tombstone
from edge_agent.wire.known import Channels, Known, Reference
from edge_agent.wire.limits import MAX_MESSAGE_BYTES, VERSION
from edge_agent.wire.stream import decode_stream

__all__ = [
    "MAX_MESSAGE_BYTES",
    "VERSION",
    "Channels",
    "Known",
    "Reference",
    "decode_message",
    "decode_stream",
    "encode_batch",
    "encode_event",
    "encode_message",
    "encode_tombstone",
]
