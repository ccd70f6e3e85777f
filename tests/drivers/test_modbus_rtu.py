from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.drivers.checksum import crc16_modbus
from edge_agent.drivers.modbus_frames import find_payload, request_frame
from edge_agent.drivers.modbus_map import PROFILES, Register, blocks
from edge_agent.drivers.modbus_rtu import ModbusOptions, ModbusRtu, measures
from edge_agent.errors import BadReply, BusTimeout, ChecksumMismatch, EdgeAgentError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from edge_agent.bus.base import Listener

REQUEST = bytes.fromhex("010400010002200b")


def frame(body: str) -> bytes:
    data = bytes.fromhex(body)
    return data + crc16_modbus(data).to_bytes(2, "little")


REPLY = frame("01040400fe023b")  # 25.4 °C, 57.1 %RH
VALUES = (25.4, 57.1)


@dataclass
class ScriptedPort:
    """What the line answers to each request, cut to what was asked for."""

    answers: list[bytes] = field(default_factory=list)
    requests: list[tuple[bytes, int]] = field(default_factory=list)

    def exchange(
        self,
        request: bytes,
        *,
        reply_length: int,
        timeout_s: float,
        complete: Callable[[bytes], bool] | None = None,
    ) -> bytes:
        """As SerialPort."""
        assert timeout_s > 0
        assert complete is None
        assert self.answers, "unexpected exchange"
        self.requests.append((request, reply_length))
        return self.answers.pop(0)[:reply_length]

    def listen(self) -> Listener:
        """As SerialPort; this driver only asks."""
        raise AssertionError

    def close(self) -> None:
        """As SerialPort."""


@pytest.fixture
def port() -> Iterator[ScriptedPort]:
    port = ScriptedPort()
    yield port
    assert port.answers == [], "exchanges that never came"


def test_the_request_is_the_one_in_the_manual() -> None:
    assert request_frame(1, 4, 1, 2) == REQUEST
    assert request_frame(1, 3, 0, 2).hex() == "010300000002c40b"
    assert request_frame(1, 3, 0, 10)[-2:].hex() == "c5cd"


def test_a_poll_is_one_request_of_the_exact_range_and_length(port: ScriptedPort) -> None:
    port.answers = [REPLY]
    device = ModbusRtu(port, 1, ModbusOptions())
    assert device.quantities == ("temperature_c", "humidity_pct")
    assert device.trigger() == 0
    assert device.collect() == VALUES
    assert port.requests == [(REQUEST, 9)]


def test_probe_asks_once_and_waits_for_nothing(port: ScriptedPort) -> None:
    port.answers = [REPLY]
    assert list(ModbusRtu(port, 1, ModbusOptions()).probe()) == []


def test_temperatures_below_zero_are_signed_and_humidity_is_not(port: ScriptedPort) -> None:
    port.answers = [frame("010404ff33ffff")]
    assert ModbusRtu(port, 1, ModbusOptions()).collect() == (-20.5, 6553.5)


def test_the_other_profile_has_humidity_first(port: ScriptedPort) -> None:
    port.answers = [frame("070304023bff33")]
    device = ModbusRtu(port, 7, ModbusOptions(profile="rs-ws-n01"))
    assert device.quantities == ("humidity_pct", "temperature_c")
    assert device.collect() == (57.1, -20.5)


def test_every_shared_frame_decodes_to_its_values(shared_dir: Path) -> None:
    rows = json.loads((shared_dir / "data/vectors/crc_and_modbus.json").read_text())["modbus_rtu"]
    for row in rows:
        reply = bytes.fromhex(row["response"])
        payload, start = find_payload(reply, reply[0], row["function"], 4)
        assert start == 0
        (block,) = blocks(PROFILES["xy-md02"].registers)
        assert block.values(payload) == {"temperature_c": row["temperature_c"], "humidity_pct": row["humidity_pct"]}
    assert len(rows) > 50


def test_noise_before_the_reply_costs_one_more_request_once(port: ScriptedPort) -> None:
    port.answers = [b"\x00" + REPLY, b"\x00" + REPLY, b"\x00" + REPLY]
    device = ModbusRtu(port, 1, ModbusOptions())
    assert device.collect() == VALUES
    assert device.collect() == VALUES
    assert [length for _, length in port.requests] == [9, 10, 10]


def test_when_the_noise_is_over_no_more_than_the_reply_is_waited_for(port: ScriptedPort) -> None:
    port.answers = [b"\x00" + REPLY, b"\x00" + REPLY, REPLY, REPLY]
    device = ModbusRtu(port, 1, ModbusOptions())
    assert [device.collect() for _ in range(3)] == [VALUES] * 3
    assert [length for _, length in port.requests] == [9, 10, 10, 9]


def test_noise_that_looks_like_our_address_does_not_hide_the_reply() -> None:
    payload, start = find_payload(b"\x01\x04\xff" + REPLY + b"\x00", 1, 4, 4)
    assert (payload, start) == (REPLY[3:7], 3)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (frame("018402"), "refuses, code 2: illegal register address"),
        (frame("018463"), "code 99: unknown"),
        (b"\x00" + frame("018406"), "busy"),
        (frame("02040400fe023b"), "slave 2 replied where 1 was asked"),
        (frame("01040200fe"), "2 data bytes where 4"),
        (REPLY[:5], "broke off"),
        (b"\x00\xf8\x80\x00\xff", "noise"),
        (frame("010300fe"), "noise"),
        (REQUEST + b"\x01", "echo = true"),
    ],
)
def test_a_reply_that_is_not_ours_or_not_good_says_what_it_is(port: ScriptedPort, answer: bytes, sentence: str) -> None:
    port.answers = [answer]
    with pytest.raises(BadReply, match=sentence):
        ModbusRtu(port, 1, ModbusOptions()).collect()


def test_silence_is_a_timeout_that_tells_about_the_wiring(port: ScriptedPort) -> None:
    port.answers = [b""]
    with pytest.raises(BusTimeout, match="swap A and B"):
        ModbusRtu(port, 1, ModbusOptions()).collect()


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, 11.0, float("nan")])
def test_a_timeout_that_would_block_the_line_is_refused(timeout_s: float) -> None:
    with pytest.raises(ValueError, match="timeout_s"):
        ModbusOptions(timeout_s=timeout_s)


def test_a_damaged_reply_is_a_checksum_mismatch_with_its_evidence(port: ScriptedPort) -> None:
    damaged = REPLY[:4] + b"\xff" + REPLY[5:]
    port.answers = [damaged]
    with pytest.raises(ChecksumMismatch) as caught:
        ModbusRtu(port, 1, ModbusOptions()).collect()
    assert caught.value.raw == damaged
    assert caught.value.expected != caught.value.received == int.from_bytes(REPLY[-2:], "little")


@given(st.binary(max_size=20), st.integers(1, 247), st.sampled_from([3, 4]))
def test_any_bytes_give_a_payload_or_an_error_of_ours(received: bytes, address: int, function: int) -> None:
    try:
        payload, _ = find_payload(received, address, function, 4)
    except (BadReply, ChecksumMismatch):
        return
    assert len(payload) == 4


@given(st.binary(max_size=12), st.binary(min_size=4, max_size=4), st.binary(max_size=12))
def test_an_intact_reply_is_found_between_any_noise(before: bytes, values: bytes, after: bytes) -> None:
    reply = frame("2a0404" + values.hex())
    assert find_payload(before + reply + after, 42, 4, 4)[0] == values


def test_every_flipped_bit_of_a_reply_is_noticed(port: ScriptedPort) -> None:
    for bit in range(8 * len(REPLY)):
        damaged = bytearray(REPLY)
        damaged[bit // 8] ^= 1 << bit % 8
        port.answers = [bytes(damaged)]
        with pytest.raises(EdgeAgentError):
            ModbusRtu(port, 1, ModbusOptions()).collect()


def test_registers_that_do_not_lie_side_by_side_are_asked_for_one_after_the_other(port: ScriptedPort) -> None:
    port.answers = [frame("0103040164ff33"), frame("0103020065")]
    station = ModbusRtu(port, 1, ModbusOptions(profile="renke-fsxcs"))
    assert station.collect() == (35.6, -20.5, 10100.0)
    assert [(request.hex()[4:12], length) for request, length in port.requests] == [("01f80002", 9), ("01fd0001", 7)]


def test_a_map_of_ones_own_is_read_instead_of_the_profiles(port: ScriptedPort) -> None:
    registers = (
        Register("pressure_pa", 0x10, 3, "float32", 1.0, "hPa", "CDAB"),
        Register("temperature_c", 2, 4, "s16", 0.1, "F"),
    )
    port.answers = [frame("050304547b447d"), frame("05040202e4")]
    device = ModbusRtu(port, 5, ModbusOptions(registers=registers))
    assert device.quantities == ("pressure_pa", "temperature_c")
    pressure, temperature = device.collect()
    assert pressure == pytest.approx(101_332.0, abs=1)
    assert temperature == pytest.approx(23.33, abs=0.01)
    assert [request.hex()[2:12] for request, _ in port.requests] == ["0300100002", "0400020001"]


@pytest.mark.parametrize(
    ("profile", "payloads", "values"),
    [
        ("thp-box", ["012101642728"], (28.9, 35.6, 100240.0)),  # a reply seen in the wild
        ("xy-md02-hundredths", ["09ec1652"], (25.4, 57.14)),
        ("cwt-th01s", ["023b00fe"], (57.1, 25.4)),
        ("metsens300", ["447d5000420c000041cc0000"], (101325.0, 35.0, 25.5)),
    ],
)
def test_profiles_know_their_devices(
    port: ScriptedPort, profile: str, payloads: list[str], values: tuple[float, ...]
) -> None:
    function = "04" if profile.startswith("xy") else "03"
    port.answers = [frame(f"01{function}{len(payload) // 2:02x}{payload}") for payload in payloads]
    device = ModbusRtu(port, 1, ModbusOptions(profile=profile))  # type: ignore[arg-type]
    assert device.collect() == values


def test_it_measures_what_its_map_holds_in_steps_of_its_counts() -> None:
    declared = measures(ModbusOptions(profile="renke-fsxcs"))
    assert [(each.quantity, each.resolution) for each in declared] == [
        ("humidity_pct", 0.1),
        ("temperature_c", 0.1),
        ("pressure_pa", 100.0),
    ]
    assert [each.resolution for each in measures(ModbusOptions(profile="metsens300"))] == [None] * 3


def test_a_map_that_contradicts_itself_is_refused_with_the_configuration() -> None:
    with pytest.raises(ValueError, match="temperature_c is in two registers"):
        ModbusOptions(registers=(Register("temperature_c", 1), Register("temperature_c", 2)))
    with pytest.raises(ValueError, match="overlaps"):
        ModbusOptions(registers=(Register("temperature_c", 1, type="float32"), Register("humidity_pct", 2)))


@given(st.integers(-400, 1250), st.integers(0, 1000))
def test_decoding_gives_the_float_nearest_to_the_decimal(temperature: int, humidity: int) -> None:
    payload = temperature.to_bytes(2, signed=True) + humidity.to_bytes(2)
    (block,) = blocks(PROFILES["xy-md02"].registers)
    assert tuple(block.values(payload).values()) == (float(f"{temperature}e-1"), float(f"{humidity}e-1"))


def test_a_refusal_of_another_slave_is_not_ours() -> None:
    with pytest.raises(BadReply) as caught:
        find_payload(frame("078402"), 1, 4, 4)
    assert "slave 1 refuses" not in str(caught.value)
    assert find_payload(frame("078402") + REPLY, 1, 4, 4) == (REPLY[3:7], 5)
