"""The decoder in JavaScript, which was written from the specification alone, reads what ours writes."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import zlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import edge_agent.wire
from edge_agent.errors import WireError
from edge_agent.reading import EventKind, RecordKind
from edge_agent.wire.batch import Batch, Column, Group, Message
from edge_agent.wire.codec import (
    Known,
    Reference,
    by_announcement,
    decode_message,
    encode_batch,
    encode_event,
    encode_message,
    encode_tombstone,
    make_announcement,
)
from edge_agent.wire.extras import SIGMAS
from edge_agent.wire.rows import objects
from tests.wire.samples import ANNOUNCEMENT, ENVELOPE, GOLDEN, MESSAGES, PLAIN, TWIN, encoded
from tests.wire.strategies import ENVELOPES, EVENTS, STEPS, TOMBSTONES, asking, batches, channels_of, fixes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.wire.envelope import Envelope

DECODER = Path(edge_agent.wire.__file__).parent / "decode.js"
LINES = Path(__file__).parent / "decode_lines.js"


class Node:
    """The decoder in a process of its own."""

    def __init__(self, program: str) -> None:
        self._process = subprocess.Popen(
            [program, str(LINES), str(DECODER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, **what: Any) -> list[str]:
        """What it answers to one request, line by line."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        lines: list[str] = []
        while (line := self._process.stdout.readline()) != ".\n":
            assert line, "node ended"
            lines.append(line)
        return [line for line in lines if line != "\n"]

    def rows(self, data: bytes) -> list[dict[str, Any]]:
        """The rows of a message."""
        return [json.loads(line) for line in self.ask(hex=data.hex())]

    def close(self) -> None:
        """End it."""
        self._process.communicate(timeout=10)


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    program = shutil.which("node") or shutil.which("nodejs")
    if program is None:
        reason = "node is not installed: apt install nodejs"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    process = Node(program)
    yield process
    process.close()


def rows_of(data: bytes, known: Known | None = None) -> list[dict[str, Any]]:
    """What our own decoder makes of a message, as JSON carries it."""
    found = objects(decode_message(data, known) if known is not None else decode_message(data))
    return [json.loads(json.dumps(row)) for row in found]


@pytest.mark.parametrize("name", ["v2-plain", *(name for name in MESSAGES if name != "v2-plain")])
def test_golden_messages_have_their_golden_rows(node: Node, name: str) -> None:
    node.ask(forget=True)
    (told,) = node.ask(status={"state": "online", "announcement": ANNOUNCEMENT.to_text()})
    assert int(told) == ANNOUNCEMENT.id
    node.rows(encoded("v2-plain"))
    golden = [json.loads(line) for line in (GOLDEN / f"{name}.ndjson").read_text().splitlines()]
    assert node.rows(bytes.fromhex((GOLDEN / f"{name}.hex").read_text())) == golden


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(ENVELOPES, batches() | batches().map(asking))
def test_any_batch_is_read_alike(node: Node, envelope: Any, batch: Batch) -> None:
    data = encode_message(RecordKind.BATCH, envelope, encode_batch(batch))
    assert node.rows(data) == rows_of(data)


def test_every_sigma_is_read_alike(node: Node) -> None:
    column = Column("temperature_c", (20.0,) * len(SIGMAS), None, (0,) * len(SIGMAS), None, SIGMAS)
    body = encode_batch(Batch((Group("air", tuple(range(len(SIGMAS))), (column,)),)))
    data = encode_message(RecordKind.BATCH, ENVELOPE, body)
    assert [row["sigma"] for row in node.rows(data)] == list(SIGMAS)
    assert node.rows(data) == rows_of(data)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 60_000), st.integers(-2000, 9000), st.sampled_from([0, 0, 0, 7, 10, 33, -1])),
        min_size=1,
        max_size=70,
    ),
    st.sampled_from([1, 1000, 10**6]),
    st.integers(0, 9),
)
def test_computed_features_are_read_alike(
    node: Node, rows: list[tuple[int, int, int]], unit_ns: int, scale: int
) -> None:
    times, numbers, statuses = zip(*rows, strict=True)
    values = tuple(number / 10**scale for number in numbers)
    column = Column("temperature_c", values, None, statuses, None, describe=True)
    body = encode_batch(Batch((Group("air", tuple(unit_ns * time for time in times), (column,)),)))
    data = encode_message(RecordKind.BATCH, ENVELOPE, body)
    assert node.rows(data) == rows_of(data)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(ENVELOPES, EVENTS, fixes(), TOMBSTONES)
def test_events_and_tombstones_are_read_alike(node: Node, envelope: Any, event: Any, fix: Any, tombstone: Any) -> None:
    for kind, body in (
        (RecordKind.EVENT, encode_event(replace(event, kind=EventKind.TIME_FIX, fix=fix))),
        (RecordKind.EVENT, encode_event(replace(event, errno=121))),
        (RecordKind.EVENT, encode_event(replace(event, kind=EventKind.ALERT, severity="critical"))),
        (RecordKind.TOMBSTONE, encode_tombstone(tombstone)),
    ):
        data = encode_message(kind, envelope, body)
        assert node.rows(data) == rows_of(data)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(ENVELOPES, ENVELOPES, STEPS, batches(), batches())
def test_a_batch_that_refers_is_read_alike(
    node: Node, told: Envelope, envelope: Envelope, step_ns: int, first: Batch, second: Batch
) -> None:
    envelope = replace(envelope, node=told.node, offset_ns=told.offset_ns)
    earlier = replace(envelope, seq=42)
    announcement = make_announcement(told, step_ns, channels_of(second))
    node.ask(forget=True, status={"announcement": announcement.to_text()})
    node.rows(encode_message(RecordKind.BATCH, earlier, encode_batch(first)))
    alone = encode_message(RecordKind.BATCH, envelope, encode_batch(second, reference=Reference(42, first)))
    known = Known()
    known.add(announcement)
    for data in (alone, by_announcement(alone, announcement)):
        known.add_batch(earlier, first)
        if data is not None:
            assert node.rows(data) == rows_of(data, known)
            node.rows(encode_message(RecordKind.BATCH, earlier, encode_batch(first)))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.sampled_from(sorted(MESSAGES)), st.data())
def test_damage_is_an_error_of_the_format_and_nothing_else(node: Node, name: str, data: st.DataObject) -> None:
    octets = bytearray(encoded(name))
    if data.draw(st.booleans()):
        del octets[data.draw(st.integers(0, len(octets) - 1)) :]
    else:
        octets[data.draw(st.integers(0, len(octets) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    (told,) = node.rows(bytes(octets))
    assert told["ours"], told


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.sampled_from(["v2-full", "v2-plain"]), st.data())
def test_damage_that_the_checksum_misses_is_read_alike_or_refused(node: Node, name: str, data: st.DataObject) -> None:
    octets = bytearray(encoded(name)[:-4])
    octets[data.draw(st.integers(1, len(octets) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    forged = bytes(octets) + zlib.crc32(octets).to_bytes(4)
    told = node.rows(forged)
    if told and "error" in told[0]:
        assert told[0]["ours"], told
        return
    with contextlib.suppress(WireError):  # each may be stricter than the other with what no sender writes
        assert told == rows_of(forged)


def test_what_it_does_not_have_it_does_not_guess(node: Node) -> None:
    node.ask(forget=True)
    (told,) = node.rows(encoded("v2-announced"))
    assert f"announcement {ANNOUNCEMENT.id:08x} is not known" in told["error"]
    (told,) = node.rows(b"\x01" + encoded("v2-small")[1:])
    assert told["error"] == "version 1 is not known here"
    assert Message(ENVELOPE, PLAIN) == decode_message(encoded("v2-plain"))


def test_a_message_that_teaches_is_enough(node: Node) -> None:
    node.ask(forget=True)
    node.rows(encoded("v2-teaching"))
    assert node.rows(encoded("v2-announced")) == rows_of(encoded("v2-plain"))


@pytest.mark.parametrize("said", ["no base64", 7, [1], "AAAA", "", ANNOUNCEMENT.to_text()[:-8]])
def test_what_is_no_announcement_is_an_error_of_the_format(node: Node, said: object) -> None:
    told = json.loads(node.ask(forget=True, status={"announcement": said})[0])
    assert told["ours"], told


def test_a_status_without_announcement_teaches_nothing(node: Node) -> None:
    assert node.ask(forget=True, status={"state": "offline"}) == ["null\n"]
    assert node.ask(status=json.dumps({"announcement": ANNOUNCEMENT.to_text()})) == [f"{ANNOUNCEMENT.id}\n"]


def test_another_announcement_of_the_same_id_is_found_out(node: Node) -> None:
    assert node.ask(forget=True, status={"announcement": TWIN.to_text()}) == [f"{ANNOUNCEMENT.id}\n"]
    (told,) = node.rows(encoded("v2-announced"))
    assert (told["error"], told["ours"]) == ("the message is damaged", True)
