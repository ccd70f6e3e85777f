"""Whatever a gateway and a broker do to the order, number and size of messages: the books are right at the end."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edge_agent.receiver.digest import Digest
from edge_agent.receiver.sinks import look
from edge_agent.wire.batch import RowRange, RowsOfBatch
from edge_agent.wire.codec import decode_batch, encode_batch, split_batch, thin_batch
from edge_agent.wire.parts import _cut
from tests.receiver.gateway import Bench, Gateway

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.receiver.completeness import EpochState

PICK = st.integers(0, 1 << 30)
ROWS = 4
"""Rows of each group; a batch has two groups, with two columns and one."""
EPOCHS = (77, 78)
Reading = tuple[int, int, int, str]


def readings_of(epoch: int, seq: int, rows: Sequence[int] | None = None) -> set[Reading]:
    """The readings in rows of a batch."""
    found: set[Reading] = set()
    for row in rows if rows is not None else range(2 * ROWS):
        quantities = ("temperature_c", "humidity_pct") if row < ROWS else ("pressure_pa",)
        found |= {(epoch, seq, row, quantity) for quantity in quantities}
    return found


class AnyOrder(RuleBasedStateMachine):
    """A gateway whose messages are reordered, repeated, dropped and cut, and a receiver that is restarted.

    What was handed to the receiver in a message is the model: the union of it has to be in the database, once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.bench = Bench(Path(self.directory.name) / "received.db")
        self.gateways = {epoch: Gateway(epoch=epoch) for epoch in EPOCHS}
        self.next_seq = dict.fromkeys(EPOCHS, 1)
        self.messages: list[tuple[bytes, set[Reading]]] = []
        self.batches: list[tuple[int, int]] = []
        self.delivered: set[Reading] = set()

    @initialize()
    def begin(self) -> None:
        """One batch at least."""
        self.make(0)

    def teardown(self) -> None:
        """At last everything comes."""
        for message, readings in self.messages:  # at last everything comes
            self.deliver(message, readings)
        self.check()
        for epoch in self.epochs():
            assert not epoch.missing
            assert epoch.state.value == "complete"
        self.bench.close()
        self.directory.cleanup()

    def new_seq(self, epoch: int) -> int:
        """The next seq of an epoch."""
        self.next_seq[epoch] += 1
        return self.next_seq[epoch] - 1

    @rule(pick=PICK)
    def make(self, pick: int) -> None:
        """A batch."""
        epoch = EPOCHS[pick % 2]
        seq = self.new_seq(epoch)
        self.batches.append((epoch, seq))
        self.messages.append((self.gateways[epoch].batch(seq, ROWS), readings_of(epoch, seq)))

    @rule(pick=PICK, most=st.integers(120, 400))
    def split(self, pick: int, most: int) -> None:
        """A batch in parts."""
        epoch, seq = self.batches[pick % len(self.batches)]
        body = encode_batch(decode_batch(self.gateways[epoch].body(seq, ROWS)))
        for rows, part in split_batch(body, most):
            message = self.gateways[epoch].part(seq, rows, part)
            self.messages.append((message, readings_of(epoch, seq, rows.numbers())))

    @rule(pick=PICK, step=st.integers(1, 5), first=st.integers(0, 3))
    def thin(self, pick: int, step: int, first: int) -> None:
        """A thinned copy."""
        epoch, seq = self.batches[pick % len(self.batches)]
        gateway = self.gateways[epoch]
        rows, part = thin_batch(gateway.body(seq, ROWS), step)
        if first:
            chosen = range(first, 2 * ROWS, step)
            rows = RowsOfBatch(2 * ROWS, first, step, len(chosen))
            part = encode_batch(_cut(decode_batch(gateway.body(seq, ROWS)), chosen))
        self.messages.append((gateway.part(seq, rows, part), readings_of(epoch, seq, rows.numbers())))

    @rule(pick=PICK, span=st.integers(0, 3), by=st.sampled_from(EPOCHS), open_ended=st.booleans())
    def drop(self, pick: int, span: int, by: int, open_ended: bool) -> None:
        """A tombstone of records."""
        epoch, seq = self.batches[pick % len(self.batches)]
        last = None if open_ended else min(seq + span, self.next_seq[epoch] - 1)
        own = self.new_seq(by)
        self.messages.append((self.gateways[by].tombstone(own, seq, last, epoch=epoch), set()))

    @rule(pick=PICK, first=st.integers(0, 2 * ROWS - 1), step=st.integers(1, 3))
    def drop_rows(self, pick: int, first: int, step: int) -> None:
        """A tombstone of rows."""
        epoch, seq = self.batches[pick % len(self.batches)]
        rows = (RowRange(first, 2 * ROWS - 1, step),)
        self.messages.append((self.gateways[78].tombstone(self.new_seq(78), seq, seq, epoch=epoch, rows=rows), set()))

    @rule(pick=PICK, times=st.integers(1, 2))
    def arrive(self, pick: int, times: int) -> None:
        """A message comes, perhaps twice."""
        message, readings = self.messages[pick % len(self.messages)]
        for _ in range(times):
            self.deliver(message, readings)

    @rule(pick=PICK)
    def several_arrive_at_once(self, pick: int) -> None:
        """Messages come into one transaction."""
        chosen = random.Random(pick).sample(self.messages, min(5, len(self.messages)))
        for message, readings in chosen:
            self.bench.put(message)
            self.delivered |= readings
        self.bench.wait(0.3)

    @rule()
    def restart(self) -> None:
        """The receiver ends and starts."""
        path = self.bench.path
        self.bench.close()
        self.bench = Bench(path)

    @precondition(lambda self: len(self.messages) > 1)
    @rule()
    def status(self) -> None:
        """The gateway lists its epochs."""
        listed = [(epoch, self.next_seq[epoch] - 1) for epoch in EPOCHS]
        self.bench.take(self.gateways[78].status(*listed), lane="status")

    def deliver(self, message: bytes, readings: set[Reading]) -> None:
        """A message comes."""
        self.bench.take(message)
        self.delivered |= readings

    @invariant()
    def check(self) -> None:
        """The books are right."""
        stored = Counter(
            (epoch, seq, row, quantity) for _, epoch, seq, row, _, quantity in self.bench.identities().elements()
        )
        assert set(stored.values()) <= {1}
        assert stored.keys() == self.delivered
        for epoch in self.epochs():
            widths = Counter((seq, row) for of, seq, row, _ in self.delivered if of == epoch.epoch)
            expected = Digest()
            for (seq, row), width in widths.items():
                expected = expected.plus(seq, [(row, width)])
            assert epoch.digest == expected
            answered = answered_seqs(self.bench, epoch)
            in_full = {seq for seq in range(1, 200) if readings_of(epoch.epoch, seq) <= self.delivered}
            assert in_full <= answered, "what is stored in full is confirmed"

    def epochs(self) -> list[EpochState]:
        """What the report says."""
        return [epoch for node in look.nodes(self.bench.sink.db) for epoch in node.epochs]


def answered_seqs(bench: Bench, epoch: EpochState) -> set[int]:
    """What would be acknowledged now; it has to agree with what the report calls missing."""
    (answer,) = [each for each in look.answers(bench.sink.db, "edge/n", ()) if each.epoch == epoch.epoch]
    found = set(range(1, answer.upto + 1))
    for first, last in answer.ranges:
        found |= set(range(first, last + 1))
    missing = {seq for first, last in epoch.missing for seq in range(first, last + 1)}
    assert not found & missing
    assert found | missing >= set(range(1, max(epoch.highest, epoch.mark) + 1))
    return found


AnyOrder.TestCase.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestAnyOrder = AnyOrder.TestCase
