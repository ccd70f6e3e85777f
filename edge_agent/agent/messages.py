"""Messages of this gateway: records in their envelopes, the announcement, the status. Needs the snapshot for the
status.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Final

from edge_agent.agent.status import status_message
from edge_agent.clock import NS_PER_S, Anchor
from edge_agent.outbox.outbox import Encode
from edge_agent.pipeline.open_rows import promote_rows
from edge_agent.wire.announcement import make_announcement
from edge_agent.wire.batch import Tombstone
from edge_agent.wire.encode import encode_message, encode_tombstone
from edge_agent.wire.envelope import Envelope
from edge_agent.wire.parts import split_batch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.agent.snapshot import Snapshot
    from edge_agent.config import model
    from edge_agent.outbox.outbox import Dropped
    from edge_agent.reading import Record
    from edge_agent.wire.announcement import Announcement

_ROWS_BYTES: Final = 24
"""Most bytes that name the rows of a part: nil, and an array of four numbers of up to 32 bits."""


class Messages:
    """Makes the messages of one gateway.

    Args:
        config: who it is, and which sensors it has.
        channels: sensor id and quantities of every sensor, in the order in which batches have them.
    """

    def __init__(self, config: model.Config, channels: Sequence[tuple[str, Sequence[str]]]) -> None:
        self._config = config
        self._channels = channels
        self._time_step_ns = max(1, round(config.batch.time_resolution_s * NS_PER_S))

    def record(self, record: Record) -> bytes:
        """A record in its envelope, with its wall time by the best that is known now."""
        return record_message(record, self._config.gateway.id, self._time_step_ns)

    def parts(self, record: Record, most_bytes: int) -> list[tuple[int, bytes]]:
        """A batch as messages of at most `most_bytes`, each with the first of its rows.

        Raises:
            WireError: it cannot be divided into such small ones.
        """
        anchor = Anchor(record.offset_ns, record.time_quality, 0)
        envelope = self._envelope(record.epoch, record.seq, record.boot, anchor)
        around_bytes = len(encode_message(record.kind, envelope, b"")) + _ROWS_BYTES
        parts = split_batch(record.body, most_bytes - around_bytes, record.rows)
        return [(rows.first, encode_message(record.kind, envelope, body, rows=rows)) for rows, body in parts]

    def announcement(self, epoch: int, boot: int, anchor: Anchor) -> Announcement:
        """What holds for the batches of this run."""
        return make_announcement(self._envelope(epoch, 0, boot, anchor), self._time_step_ns, self._channels)

    def status(self, state: str, snapshot: Snapshot, announcement: Announcement | None, most_bytes: int) -> bytes:
        """The retained status, JSON, shortened to `most_bytes` if that can be."""
        return status_message(state, self._config, snapshot, announcement, most_bytes)

    def _envelope(self, epoch: int, seq: int, boot: int, anchor: Anchor) -> Envelope:
        return _envelope(self._config.gateway.id, self._time_step_ns, (epoch, seq, boot), anchor)


def record_message(record: Record, node: str, time_step_ns: int) -> bytes:
    """A record in its envelope, with its wall time by the best that is known now.

    Args:
        record: the record.
        node: id of the gateway.
        time_step_ns: stamps are multiples of this.
    """
    anchor = Anchor(record.offset_ns, record.time_quality, 0)
    identity = (record.epoch, record.seq, record.boot)
    return encode_message(record.kind, _envelope(node, time_step_ns, identity, anchor), record.body, rows=record.rows)


def _envelope(node: str, step_ns: int, identity: tuple[int, int, int], anchor: Anchor) -> Envelope:
    # Finer than the stamps themselves means nothing.
    offset_ns = (anchor.offset_ns + step_ns // 2) // step_ns * step_ns
    return Envelope(node, *identity, offset_ns=offset_ns, time_quality=anchor.quality)


def _tombstone(dropped: Dropped) -> bytes:
    return encode_tombstone(Tombstone(**{each.name: getattr(dropped, each.name) for each in fields(dropped)}))


BODIES = Encode(_tombstone, promote_rows)
"""What the outbox needs to make bodies of records by itself."""
