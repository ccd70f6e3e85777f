from __future__ import annotations

import random
import struct

import pytest

from edge_agent.clock import SimulatedClock
from edge_agent.errors import Unavailable
from edge_agent.simulate.chips.base import Part
from edge_agent.simulate.chips.modbus_rtu import ModbusSlave, XyMd02, make_slave, modbus_crc
from edge_agent.simulate.world import Air

AIR = Air(-20.5, 57.1, 100_500.0)


@pytest.fixture
def slave() -> XyMd02:
    clock = SimulatedClock(1_750_000_000_000_000_000)
    return XyMd02(Part(clock, lambda _: AIR, random.Random(5), address=1))


def ask(slave: ModbusSlave, text: str) -> str | None:
    """Send a frame given without its CRC; the reply without its own."""
    request = bytes.fromhex(text)
    reply = slave.respond(request + modbus_crc(request))
    if reply is None:
        return None
    assert reply[-2:] == modbus_crc(reply[:-2])
    return reply[:-2].hex()


def test_crc_of_the_manual() -> None:
    assert modbus_crc(bytes.fromhex("010400010002")) == bytes.fromhex("200b")
    assert modbus_crc(bytes.fromhex("01030000000a")) == bytes.fromhex("c5cd")


def test_input_registers_hold_the_air_in_tenths(slave: XyMd02) -> None:
    reply = ask(slave, "010400010002")
    assert reply is not None
    assert reply.startswith("010404")
    temperature = int.from_bytes(bytes.fromhex(reply[6:10]), "big", signed=True)
    humidity = int(reply[10:14], 16)
    assert temperature == pytest.approx(-205, abs=1)
    assert humidity == pytest.approx(571, abs=5)


@pytest.mark.parametrize(
    ("request_", "reply"),
    [
        ("010400020002", "018402"),  # count 2 from the last register
        ("010400000001", "018402"),
        ("010400010000", "018403"),
        ("010401010001", "018402"),
        ("010300010001", "018302"),
        ("010301010004", "0103080001258000000000"),
        ("010600010001", "018602"),
        ("010601010000", "018603"),
        ("01060103000a", "01060103000a"),
        ("011001030002040001fffe", "011001030002"),
        ("011001040002040001fffe", "019002"),
        ("011001030002020001", "019003"),
        ("010100000001", "018101"),
        ("020400010002", None),
    ],
)
def test_ranges_are_exact(slave: XyMd02, request_: str, reply: str | None) -> None:
    assert ask(slave, request_) == reply


def test_damaged_frame_is_met_with_silence(slave: XyMd02) -> None:
    assert slave.respond(bytes.fromhex("010400010002200c")) is None
    assert slave.respond(b"\x01") is None


def test_correction_is_added(slave: XyMd02) -> None:
    ask(slave, "01060103000f")
    reply = ask(slave, "010400010001")
    assert reply is not None
    assert int.from_bytes(bytes.fromhex(reply[6:]), "big", signed=True) == pytest.approx(-190, abs=1)


def test_new_address_waits_for_the_power_and_a_broadcast_is_not_answered(slave: XyMd02) -> None:
    assert ask(slave, "000601010007") is None
    assert ask(slave, "010301010001") == "0103020007"
    slave.power_cycle()
    assert ask(slave, "010301010001") is None
    assert ask(slave, "070301010001") == "0703020007"


def test_unknown_profile_is_refused() -> None:
    clock = SimulatedClock(0)
    with pytest.raises(Unavailable, match="pt100-box"):
        make_slave(Part(clock, lambda _: AIR, random.Random(5), options={"profile": "pt100-box"}))


@pytest.mark.parametrize(
    ("profile", "request_", "values"),
    [
        ("xy-md02-hundredths", "010400010002", [-2050, 5710]),
        ("rs-ws-n01", "010300000002", [571, -205]),
        ("cwt-th01s", "010300000002", [571, -205]),
        ("thp-box", "010300000003", [-205, 571, 10_050]),
        ("renke-fsxcs", "010301f80002", [571, -205]),
        ("renke-fsxcs", "010301fd0001", [1005]),
    ],
)
def test_each_transmitter_keeps_the_air_in_its_own_registers(profile: str, request_: str, values: list[int]) -> None:
    device = make_slave(Part(SimulatedClock(0), lambda _: AIR, random.Random(5), options={"profile": profile}))
    reply = ask(device, request_)
    assert reply is not None
    words = [int.from_bytes(bytes.fromhex(reply[at : at + 4]), "big", signed=True) for at in range(6, len(reply), 4)]
    assert words == [pytest.approx(value, abs=60 if "hundredths" in profile else 5) for value in values]


@pytest.mark.parametrize("request_", ["010301f80006", "010301f90005", "010301fc0002", "010300000001"])
def test_a_range_with_a_register_that_is_not_there_is_refused(request_: str) -> None:
    device = make_slave(Part(SimulatedClock(0), lambda _: AIR, random.Random(5), options={"profile": "renke-fsxcs"}))
    assert ask(device, request_) == "018302"


def test_a_map_makes_a_device_of_its_own() -> None:
    register = {
        "quantity": "pressure_pa",
        "at": 7,
        "function": 4,
        "type": "float32",
        "scale": 1.0,
        "unit": "hPa",
        "order": "DCBA",
    }
    device = make_slave(Part(SimulatedClock(0), lambda _: AIR, random.Random(5), options={"registers": [register]}))
    reply = ask(device, "010400070002")
    assert reply is not None
    (value,) = struct.unpack("<f", bytes.fromhex(reply[6:]))
    assert value == pytest.approx(1005.0, abs=0.2)
    assert ask(device, "010300070002") == "018301"


def test_it_can_be_told_to_refuse_and_to_answer_for_another(slave: XyMd02) -> None:
    slave.refuse_next(6)
    slave.answer_as_next(9)
    assert ask(slave, "010400010002") == "098406"
    reply = ask(slave, "010400010002")
    assert reply is not None
    assert reply.startswith("010404")
