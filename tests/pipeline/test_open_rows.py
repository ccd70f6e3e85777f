from __future__ import annotations

import zlib
from math import inf
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.clock import ClockQuality
from edge_agent.errors import UnknownVersion, WireError
from edge_agent.pipeline import open_rows
from edge_agent.pipeline.open_rows import Dump, load_rows, promote_rows
from edge_agent.reading import NOT_SENT, RecordKind
from edge_agent.wire.batch import Batch, Column, Group
from edge_agent.wire.codec import decode_message, encode_batch, encode_message
from edge_agent.wire.envelope import Envelope

if TYPE_CHECKING:
    from collections.abc import Sequence


def dump_rows(groups: Sequence[Group]) -> bytes:
    return dumped(groups).body


def dumped(groups: Sequence[Group]) -> Dump:
    return open_rows.dump_rows(
        [
            (
                sensor,
                times_ns,
                [(c.quantity, c.values, c.raws, c.sigmas, c.statuses) for c in columns],
            )
            for sensor, times_ns, columns in groups
        ]
    )


_NUMBERS = st.none() | st.floats(allow_nan=False, width=64)


@st.composite
def _columns(draw: st.DrawFn, rows: int) -> Column:
    def numbers() -> list[float | None]:
        return draw(st.lists(_NUMBERS, min_size=rows, max_size=rows))

    statuses = draw(st.lists(st.sampled_from([0, 0, 0, 7, 33, NOT_SENT]), min_size=rows, max_size=rows))
    raws, sigmas = (numbers() if draw(st.booleans()) else None for _ in range(2))
    return Column(draw(st.sampled_from(["temperature_c", "co2_ppm", "größe"])), numbers(), raws, statuses, None, sigmas)


@st.composite
def _groups(draw: st.DrawFn) -> Group:
    rows = draw(st.integers(0, 5))
    times_ns = draw(st.lists(st.integers(-(1 << 63), (1 << 63) - 1), min_size=rows, max_size=rows))
    return Group(
        draw(st.text(max_size=20)), times_ns, tuple(draw(_columns(rows)) for _ in range(draw(st.integers(0, 3))))
    )


@given(st.lists(_groups(), max_size=4))
def test_what_is_dumped_is_loaded_to_the_bit(groups: list[Group]) -> None:
    assert repr(load_rows(dump_rows(groups))) == repr(groups)


AIR = Group("air", [5, 6], (Column("temperature_c", [20.5, None], [20.5, None], [0, 7], None),))


def test_a_promoted_dump_is_the_body_of_its_batch() -> None:
    assert promote_rows([dump_rows([AIR])]) == encode_batch(Batch((AIR,)))


def test_a_promoted_batch_leaves_out_what_was_not_measured_like_a_sealed_one() -> None:
    absent = Column("co2_ppm", [None, None], None, [NOT_SENT, NOT_SENT], None)
    dump = dump_rows([Group("air", AIR.times_ns, (absent, *AIR.columns)), Group("soil", [5, 6], (absent,))])
    assert promote_rows([dump]) == encode_batch(Batch((AIR,)))


def test_what_the_release_before_secured_is_a_body_already() -> None:
    body = encode_batch(Batch((AIR,)))
    assert promote_rows([body]) == body
    envelope = Envelope("n", 1, 1, 1, 0, ClockQuality.SYNCED)
    assert isinstance(decode_message(encode_message(RecordKind.BATCH, envelope, promote_rows([body]))).content, Batch)


def test_the_layout_is_that_of_version_1() -> None:
    # A change of it needs another version: the next release has to read this one.
    rows = (
        "0100 03 616972 02000000 0100 0d 74656d70657261747572655f63 05"
        "0500000000000000 0600000000000000 00000000 07000000"
        "0000000000803440 000000000000f87f 0000000000803440 000000000000f87f"
    )
    assert load_rows(b"\x01" + bytes.fromhex(rows)) == [AIR]
    assert dump_rows([AIR]) == b"\x01" + bytes.fromhex(rows)


def _wide(*numbers: float | None) -> Group:
    """Two columns that as doubles are larger than a block; the last numbers are these."""
    values = [*(round(20 + row / 100, 2) for row in range(300 - len(numbers))), *numbers]
    names = ("temperature_c", "co2_ppm")
    return Group("air", list(range(300)), tuple(Column(name, values, None, [0] * 300, None) for name in names))


def test_doubles_that_do_not_fit_into_a_block_are_dumped_in_thousandths() -> None:
    fits = Group("air", list(range(247)), (Column("temperature_c", [0.1] * 247, None, [0] * 247, None),))
    assert dump_rows([fits])[0] == 1
    assert len(dump_rows([fits])) == 1 + 2 + 4 + 6 + 15 + 16 * 247
    more = Group("air", list(range(249)), (Column("temperature_c", [0.001] * 249, None, [0] * 249, None),))
    dump = dump_rows([more])
    assert dump[0] == 3
    assert dump[1 + 27 + 8 * 249 :] == bytes.fromhex("01000000") * 249
    assert load_rows(dump) == [more]
    missing = Group("air", more.times_ns, (more.columns[0]._replace(values=[None] * 249),))
    assert dump_rows([missing])[1 + 27 + 8 * 249 :] == bytes.fromhex("00000080") * 249
    assert load_rows(dump_rows([missing])) == [missing]


@pytest.mark.parametrize(
    ("number", "layout"),
    [
        (0.001, 4),
        (-0.001, 4),
        (None, 4),
        (2_147_483.0, 4),
        (-2_147_483.0, 4),
        (0.0001, 2),
        (1 / 3, 2),
        (-0.0, 2),
        (2_147_483.5, 2),
        (-2_147_483.5, 2),
        (inf, 2),
        (1e308, 2),
    ],
)
def test_what_is_larger_than_a_block_all_the_same_is_deflated(number: float | None, layout: int) -> None:
    wide = _wide(None, number, 5.0)
    dump = dump_rows([wide])
    assert dump[0] == layout
    assert dump[1:] == zlib.compress(zlib.decompress(dump[1:]), 1)
    assert len(zlib.decompress(dump[1:])) == 2 + 4 + 6 + 15 + 9 + 300 * (8 + 2 * (4 if layout == 4 else 8))
    assert repr(load_rows(dump)) == repr([wide])
    assert repr(load_rows(bytes((layout - 1,)) + zlib.decompress(dump[1:]))) == repr([wide])


@given(st.lists(_NUMBERS | st.integers(-3000, 3000).map(lambda number: number / 1000), max_size=4))
def test_a_large_dump_is_loaded_to_the_bit(numbers: list[float | None]) -> None:
    wide = _wide(*numbers)
    assert repr(load_rows(dump_rows([wide]))) == repr([wide])


@pytest.mark.parametrize("dump", [dump_rows([AIR]), b"\x02" + zlib.compress(dump_rows([AIR])[1:])])
def test_a_dump_that_ends_too_early_is_refused(dump: bytes) -> None:
    assert load_rows(dump) == [AIR]
    for size in range(len(dump)):
        with pytest.raises(WireError):
            promote_rows([dump[:size]])


@given(st.binary(max_size=80), st.integers(0, 200))
def test_any_damage_of_a_dump_is_refused_or_read(noise: bytes, at: int) -> None:
    dump = dump_rows([AIR])
    for damaged in (
        noise,
        dump[:at],
        bytes((1,)) + noise,
        bytes((2,)) + noise,
        bytes((3,)) + noise,
        bytes((3,)) + dump[1:at] + noise,
        dump[:at] + noise + dump[at:],
        bytes((2,)) + zlib.compress(noise),
        bytes((2,)) + zlib.compress(dump[1:at] + noise),
    ):
        try:
            promote_rows([damaged])
        except WireError:
            continue


def test_a_dump_tells_what_is_in_it() -> None:
    absent = Column("co2_ppm", [None, 400.0], None, [NOT_SENT, 0], None)
    dump = dumped(
        [Group("air", [9, 6], (absent, *AIR.columns)), Group("soil", [7], (Column("co2_ppm", [5.0], None, [0], None),))]
    )
    assert dump[:3] == (4, 6, 9)
    assert dumped([])[:3] == (0, 0, 0)


def test_another_layout_is_refused_by_name() -> None:
    with pytest.raises(UnknownVersion, match="unknown layout 05"):
        load_rows(b"\x05" + dump_rows([AIR])[1:])


def test_dumps_of_one_batch_become_one_record() -> None:
    later = Group("air", [7], (Column("temperature_c", [21.5], [21.25], [0], None),))
    soil = Group("soil", [7], (Column("temperature_c", [9.5], None, [0], None),))
    bare = Group("air", [8], (Column("temperature_c", [22.5], None, [0], None),))
    body = promote_rows([dump_rows([AIR]), dump_rows([later, soil]), dump_rows([bare])])
    column = Column("temperature_c", [20.5, None, 21.5], [20.5, None, 21.25], [0, 7, 0], None)
    assert body == encode_batch(Batch((Group("air", [5, 6, 7], (column,)), soil, bare)))
    message = encode_message(RecordKind.BATCH, Envelope("n", 1, 1, 1, 0, ClockQuality.SYNCED), body)
    batch = decode_message(message).content
    assert isinstance(batch, Batch)
    assert [(group.sensor, list(group.times_ns)) for group in batch.groups] == [
        ("air", [5, 6, 7]),
        ("soil", [7]),
        ("air", [8]),
    ]
