"""The functions of the format that other packages use: records to messages and back. Pure."""

from edge_agent.wire.announced import by_announcement, teaching
from edge_agent.wire.announcement import Announcement, make_announcement, parse_announcement
from edge_agent.wire.decode import decode_batch, decode_message
from edge_agent.wire.encode import encode_batch, encode_event, encode_message, encode_tombstone
from edge_agent.wire.known import Known, Reference
from edge_agent.wire.limits import MAX_MESSAGE_BYTES, VERSION
from edge_agent.wire.live import LiveStream
from edge_agent.wire.parts import keep_rows, split_batch, thin_batch
from edge_agent.wire.stream import Unread, decode_stream, learn_stream

__all__ = [
    "MAX_MESSAGE_BYTES",
    "VERSION",
    "Announcement",
    "Known",
    "LiveStream",
    "Reference",
    "Unread",
    "by_announcement",
    "decode_batch",
    "decode_message",
    "decode_stream",
    "encode_batch",
    "encode_event",
    "encode_message",
    "encode_tombstone",
    "keep_rows",
    "learn_stream",
    "make_announcement",
    "parse_announcement",
    "split_batch",
    "teaching",
    "thin_batch",
]
