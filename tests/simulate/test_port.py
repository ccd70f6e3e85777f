"""Devices that send by themselves, on the simulated clock, through a true pty and the production port."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from edge_agent.bus.uart import Uart
from edge_agent.clock import NS_PER_S, SimulatedClock
from edge_agent.errors import BusGone
from edge_agent.simulate.chips.base import Part
from edge_agent.simulate.chips.modbus_rtu import make_slave
from edge_agent.simulate.chips.talker import MOST_TEXTS, Talker
from edge_agent.simulate.port import SimulatedPort
from edge_agent.simulate.uart import PtyDevice, SerialFault
from edge_agent.simulate.world import Air

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

AIR = Air(25.4, 57.1, 100_500.0)
REQUEST = bytes.fromhex("010400010002200b")


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(0)


@pytest.fixture
def talker(clock: SimulatedClock) -> Talker:
    return Talker(clock, NS_PER_S, b"hello\r\n", lambda boot_ns: f"{boot_ns // NS_PER_S}\r\n".encode())


@pytest.fixture
def line(talker: Talker, clock: SimulatedClock, tmp_path: Path) -> Iterator[PtyDevice]:
    slave = make_slave(Part(clock, lambda _: AIR, random.Random(1), address=1))
    line = PtyDevice([talker, slave], link=tmp_path / "by-id")
    yield line
    line.close()


@pytest.fixture
def port(line: PtyDevice) -> Iterator[SimulatedPort]:
    port = SimulatedPort(line, Uart(line.path))
    yield port
    port.close()


def wait(clock: SimulatedClock, seconds: float) -> None:
    clock.advance_to(clock.now_ns() + round(seconds * NS_PER_S))


def test_it_greets_and_then_speaks_at_each_whole_second(talker: Talker, clock: SimulatedClock) -> None:
    assert talker.speak() == b"hello\r\n"
    assert talker.speak() == b""
    wait(clock, 0.5)
    assert talker.speak() == b""
    wait(clock, 2.5)
    assert talker.speak() == b"11\r\n12\r\n13\r\n"
    talker.power_cycle()
    wait(clock, 1)
    assert talker.speak() == b"hello\r\n14\r\n"


def test_nobody_hears_more_than_the_last_of_a_long_time(talker: Talker, clock: SimulatedClock) -> None:
    talker.speak()
    wait(clock, 86_400)
    assert talker.speak().count(b"\n") == MOST_TEXTS + 1


def test_one_that_hangs_says_nothing(talker: Talker, clock: SimulatedClock) -> None:
    talker.speak()
    talker.silent = True
    wait(clock, 5)
    assert talker.speak() == b""
    talker.silent = False
    wait(clock, 1)
    assert talker.speak() == b"16\r\n"


def test_what_is_due_by_the_clock_comes_through_the_port_at_once(port: SimulatedPort, clock: SimulatedClock) -> None:
    listener = port.listen()
    assert listener.take() == b"hello\r\n"
    for second in range(11, 40):
        wait(clock, 1)
        assert listener.take() == f"{second}\r\n".encode()


def test_a_long_time_comes_whole_although_the_kernel_keeps_little(port: SimulatedPort, clock: SimulatedClock) -> None:
    listener = port.listen()
    listener.take()
    lost = listener.lost
    wait(clock, 900)
    assert listener.take().count(b"\n") == 900
    assert listener.lost == lost


def test_each_listener_hears_all(port: SimulatedPort, clock: SimulatedClock) -> None:
    first, second = port.listen(), port.listen()
    wait(clock, 2)
    assert first.take() == second.take() == b"hello\r\n11\r\n12\r\n"


def test_a_request_between_is_answered_and_costs_listeners_nothing(port: SimulatedPort, clock: SimulatedClock) -> None:
    listener = port.listen()
    listener.take()
    wait(clock, 1)
    assert len(port.exchange(REQUEST, reply_length=9, timeout_s=5)) == 9
    assert listener.take() == b"11\r\n"


def test_an_unplugged_line_comes_back_under_another_name_and_what_was_said_meanwhile_is_lost(
    line: PtyDevice, port: SimulatedPort, clock: SimulatedClock
) -> None:
    listener = port.listen()
    listener.take()
    line.unplug()
    wait(clock, 3)
    with pytest.raises(BusGone):
        listener.take()
    with pytest.raises(BusGone):
        listener.take()
    lost = listener.lost
    line.speak()
    line.plug_in()
    wait(clock, 2)
    assert listener.take() == b"14\r\n15\r\n"
    assert listener.lost > lost


@pytest.mark.parametrize(
    ("fault", "heard"),
    [
        (SerialFault.SILENCE, b"12\r\n"),
        (SerialFault.GARBAGE, b"\x00\xff11\r\n12\r\n"),
        (SerialFault.TRAILING, b"11\r\n\xff\x0012\r\n"),
        (SerialFault.NULS, b"\x00\x00\x00\x00\x0011\r\n12\r\n"),
        (SerialFault.TRUNCATED, b"1112\r\n"),
        (SerialFault.NO_END, b"1112\r\n"),
        (SerialFault.CHUNKED, b"11\r\n12\r\n"),
    ],
)
def test_a_fault_spoils_one_line(
    line: PtyDevice, port: SimulatedPort, clock: SimulatedClock, fault: SerialFault, heard: bytes
) -> None:
    listener = port.listen()
    listener.take()
    line.fail_next(fault)
    wait(clock, 2)
    assert listener.take() == heard


def test_a_flood_comes_without_a_line_end(line: PtyDevice, port: SimulatedPort, clock: SimulatedClock) -> None:
    listener = port.listen()
    listener.take()
    line.fail_next(SerialFault.FLOOD)
    wait(clock, 1)
    assert listener.take() == b"\xf8" * 65_536


def test_devices_can_be_taken_off_and_put_back(line: PtyDevice, port: SimulatedPort, talker: Talker) -> None:
    listener = port.listen()
    listener.take()
    line.detach(talker)
    talker.power_cycle()
    assert listener.take() == b""
    line.attach(talker)
    assert listener.take() == b"hello\r\n"
    (slave,) = line.slaves
    line.detach(slave)
    assert port.exchange(REQUEST, reply_length=9, timeout_s=0.05) == b""
