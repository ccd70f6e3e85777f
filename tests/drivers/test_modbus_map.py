from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.drivers.modbus_map import PROFILES, WORDS, Block, Register, blocks

ABCD = bytes.fromhex("41c80000")  # 25.0


@pytest.mark.parametrize(
    ("order", "data"),
    [("ABCD", "41c80001"), ("CDAB", "000141c8"), ("BADC", "c8410100"), ("DCBA", "0100c841")],
)
def test_each_order_of_bytes_is_put_right(order: str, data: str) -> None:
    register = Register("pressure_pa", 0, type="u32", order=order)  # type: ignore[arg-type]
    assert register.value(bytes.fromhex(data)) == 0x41C80001


@pytest.mark.parametrize(
    ("kind", "order", "data", "value"),
    [
        ("u16", "ABCD", "ff33", 65331.0),
        ("s16", "ABCD", "ff33", -205.0),
        ("s16", "CDAB", "ff33", -205.0),
        ("s16", "DCBA", "33ff", -205.0),
        ("s32", "ABCD", "ffffff33", -205.0),
        ("u32", "ABCD", "ffffff33", 4294967091.0),
        ("float32", "ABCD", "41c80000", 25.0),
        ("float32", "DCBA", "0000c841", 25.0),
        ("float32", "ABCD", "7fc00000", None),
        ("float32", "ABCD", "ff800000", None),
    ],
)
def test_each_type_makes_its_number_and_none_where_it_is_no_number(
    kind: str, order: str, data: str, value: float | None
) -> None:
    register = Register("illuminance_lx", 0, type=kind, order=order)  # type: ignore[arg-type]
    assert register.value(bytes.fromhex(data)) == value


@pytest.mark.parametrize(
    ("register", "value"),
    [
        (Register("temperature_c", 0, scale=0.1), 23.4),
        (Register("temperature_c", 0, scale=0.1, unit="F"), -4.777777777777778),
        (Register("temperature_c", 0, scale=1.0, unit="K"), -39.15),
        (Register("pressure_pa", 0, type="u16", scale=0.1, unit="kPa"), 23400.0),
        (Register("pressure_pa", 0, type="u16", unit="hPa"), 23400.0),
        (Register("humidity_pct", 0, type="u16", scale=0.001, unit="fraction"), 23.4),
    ],
)
def test_units_are_converted_to_the_canonical_ones(register: Register, value: float) -> None:
    assert register.value((234).to_bytes(2)) == value


def test_the_step_of_a_count_is_known_in_the_canonical_unit() -> None:
    assert Register("pressure_pa", 0, scale=0.1, unit="kPa").step() == 100.0
    assert Register("temperature_c", 0, scale=-0.1, unit="F").step() == pytest.approx(0.1 / 1.8)
    assert Register("temperature_c", 0, type="float32").step() is None


def test_neighbours_are_asked_for_together_whatever_order_they_are_given_in() -> None:
    humidity, temperature = Register("humidity_pct", 3), Register("temperature_c", 1, type="float32")
    apart, other = Register("co2_ppm", 5), Register("pressure_pa", 4, 4)
    assert blocks((humidity, apart, other, temperature)) == (
        Block(3, 1, (temperature, humidity)),
        Block(3, 5, (apart,)),
        Block(4, 4, (other,)),
    )
    assert [block.words for block in blocks((humidity, temperature))] == [3]


def test_a_block_finds_each_value_in_its_reply() -> None:
    (block,) = blocks((Register("temperature_c", 1, type="float32"), Register("humidity_pct", 3, scale=0.1)))
    assert block.values(ABCD + (571).to_bytes(2)) == {"temperature_c": 25.0, "humidity_pct": 57.1}


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"quantity": "wind"}, "not a quantity; known: temperature_c"),
        ({"unit": "hPa"}, "not a unit of temperature_c; known: c, k, f"),
        ({"at": -1}, "at must be"),
        ({"at": 65_536}, "at must be"),
        ({"at": 65_535, "type": "u32"}, "at must be"),
        ({"scale": 0.0}, "scale"),
        ({"scale": math.inf}, "scale"),
        ({"scale": math.nan}, "scale"),
    ],
)
def test_what_can_be_no_register_is_refused(keys: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Register(**({"quantity": "temperature_c", "at": 1} | keys))  # type: ignore[arg-type]


def test_no_profile_overlaps_itself() -> None:
    for name, profile in PROFILES.items():
        assert sum(block.words for block in blocks(profile.registers)) == sum(
            WORDS[register.type] for register in profile.registers
        ), name


@given(
    st.sampled_from(["u16", "s16", "u32", "s32", "float32"]),
    st.sampled_from(["ABCD", "CDAB", "BADC", "DCBA"]),
    st.binary(min_size=4, max_size=4),
)
def test_any_bits_are_a_finite_number_or_none(kind: str, order: str, data: bytes) -> None:
    register = Register("illuminance_lx", 0, type=kind, order=order)  # type: ignore[arg-type]
    value = register.value(data[: 2 * WORDS[register.type]])
    assert value is None or math.isfinite(value)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float32_is_itself(value: float) -> None:
    assert Register("illuminance_lx", 0, type="float32").value(struct.pack(">f", value)) == value
