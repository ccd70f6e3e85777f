"""Output of the pipeline: encodes batches and events, secures open rows, saves states, accounts for losses."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from edge_agent.outbox.outbox import Content
from edge_agent.outbox.worker import Commit, SaveState, Store, StoreSegment
from edge_agent.pipeline.memory import write_memory
from edge_agent.pipeline.open_rows import dump_rows
from edge_agent.reading import RecordKind
from edge_agent.wire.batch import Batch, Tombstone
from edge_agent.wire.encode import encode_batch, encode_event, encode_tombstone

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_agent.clock import Clock
    from edge_agent.pipeline.counts import Counts
    from edge_agent.pipeline.memory import Remembered
    from edge_agent.pipeline.open_rows import OpenGroup
    from edge_agent.reading import Event
    from edge_agent.wire.batch import Group

    StoreRequest = Store | StoreSegment | SaveState | Commit

__all__ = ["Recorder"]

log = logging.getLogger(__name__)

STORE_FULL: Final = "the store took nothing in"
INBOX_FULL: Final = "processing fell behind"


class Recorder:
    """Makes records and passes them to the store.

    Args:
        store: puts a request into the inbox of the store; returns False if that is full.
        clock: source of the boot and the anchor of saved states.
        counts: counts to which lost readings are added.

    Attributes:
        losses: losses without a tombstone; `account` stores it.
    """

    def __init__(self, store: Callable[[StoreRequest], bool], clock: Clock, counts: Counts) -> None:
        self._store = store
        self._clock = clock
        self._counts = counts
        self.losses: list[Tombstone] = []

    def seal(self, groups: Sequence[Group]) -> bool:
        """Make a batch record of rows. Returns whether there was any reading in them."""
        filled = [group for group in groups if group.columns]
        readings = sum([column.cells_sent() for group in filled for column in group.columns])
        if not readings:
            return False
        first_ns = min(min(group.times_ns) for group in filled)
        last_ns = max(max(group.times_ns) for group in filled)
        content = Content(RecordKind.BATCH, readings, first_ns, last_ns, encode_batch(Batch(tuple(groups))))
        if not self._store(Store(content)):
            self.lose(Tombstone(0, 0, 1, readings, STORE_FULL, first_ns, last_ns))
        return True

    def secure(self, groups: Sequence[OpenGroup]) -> bool:
        """Secure rows of the open batch, so that a power cut does not lose them, and commit.

        Returns:
            Whether the store took them in.
        """
        dump = dump_rows(groups)
        taken = not dump.readings or self._store(StoreSegment(Content(RecordKind.BATCH, *dump)))
        self.commit()
        return taken

    def event(self, event: Event, *, urgent: bool = False) -> None:
        """Make a record of an event; an urgent one is sent before all others."""
        body, at_ns = encode_event(event), event.boot_ns
        if not self._store(Store(Content(RecordKind.EVENT, 0, at_ns, at_ns, body, urgent=urgent))):
            self.lose(Tombstone(0, 0, 1, 0, STORE_FULL, at_ns, at_ns))

    def save(self, name: str, states: Sequence[Remembered]) -> None:
        """Save states under a name, in place of those before; nothing if there are none."""
        if states:
            self._store(SaveState(name, write_memory(self._clock, states)))

    def commit(self) -> None:
        """Request a commit."""
        self._store(Commit())

    def lose(self, loss: Tombstone) -> None:
        """Count what a full queue refused; `account` stores its tombstone. Such records have no seq."""
        self._counts.dropped += loss.readings
        log.error("records are lost records=%d readings=%d reason=%r", loss.records, loss.readings, loss.reason)
        self.losses.append(loss)

    def account(self) -> None:
        """Store a tombstone per loss, as soon as the store takes one; losses that must wait are joined into one."""
        while self.losses and self._store(Store(_tombstone(self.losses[0]))):
            del self.losses[0]
        if len(self.losses) > 1:
            self.losses = [joined(self.losses)]


def _tombstone(loss: Tombstone) -> Content:
    return Content(RecordKind.TOMBSTONE, loss.readings, loss.first_ns, loss.last_ns, encode_tombstone(loss))


def joined(losses: Sequence[Tombstone]) -> Tombstone:
    """Join several losses without a seq into one, so that few wait in memory."""
    # Each once: those of a joined loss are joined already, and it may be joined with others for days.
    reasons = "; ".join(dict.fromkeys(reason for loss in losses for reason in loss.reason.split("; ")))
    first_ns, last_ns = min(loss.first_ns for loss in losses), max(loss.last_ns for loss in losses)
    records, readings = sum(loss.records for loss in losses), sum(loss.readings for loss in losses)
    return Tombstone(0, 0, records, readings, reasons, first_ns, last_ns)
