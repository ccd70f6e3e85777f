"""A serial line judged by drivers of other people: minimalmodbus and pyserial."""

from __future__ import annotations

import random
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import minimalmodbus
import pytest
import serial

from edge_agent.clock import SimulatedClock
from edge_agent.simulate.chips.base import Part
from edge_agent.simulate.chips.modbus_rtu import XyMd02, modbus_crc
from edge_agent.simulate.uart import PtyDevice, SerialFault
from edge_agent.simulate.world import Air

if TYPE_CHECKING:
    from collections.abc import Iterator

AIR = Air(25.4, 57.1, 100_500.0)
REQUEST = bytes.fromhex("010400010002200b")


def slave(address: int) -> XyMd02:
    return XyMd02(Part(SimulatedClock(0), lambda _: AIR, random.Random(address), address=address))


@pytest.fixture
def device(tmp_path: Path) -> Iterator[PtyDevice]:
    device = PtyDevice([slave(1), slave(2)], link=tmp_path / "port")
    yield device
    device.close()


@pytest.fixture
def port(device: PtyDevice) -> Iterator[serial.Serial]:
    with serial.Serial(device.path, 9600, timeout=0.05, exclusive=True) as port:
        yield port


def instrument(port: serial.Serial, address: int) -> minimalmodbus.Instrument:
    found = minimalmodbus.Instrument(port, address)
    found.serial.timeout = 0.3  # an exception reply is shorter than what it waits for
    return found


def exchange(port: serial.Serial, request: bytes, reply_length: int) -> bytes:
    port.timeout = 1.0 if reply_length else 0.05
    port.write(request)
    return bytes(port.read(reply_length or 1))


@pytest.mark.parametrize("address", [1, 2])
def test_minimalmodbus_reads_each_slave_of_the_line(port: serial.Serial, address: int) -> None:
    temperature, humidity = instrument(port, address).read_registers(1, 2, functioncode=4)
    assert temperature == pytest.approx(254, abs=1)
    assert humidity == pytest.approx(571, abs=5)


def test_minimalmodbus_writes_and_understands_refusals(port: serial.Serial) -> None:
    found = instrument(port, 1)
    found.write_registers(0x103, [5, 10])
    found.write_register(0x104, 20, functioncode=6)
    assert found.read_registers(0x103, 2) == [5, 20]
    with pytest.raises(minimalmodbus.IllegalRequestError):
        found.read_registers(2, 2, functioncode=4)


def test_request_in_pieces_is_one_request(port: serial.Serial) -> None:
    port.write(REQUEST[:3])
    port.flush()
    assert len(exchange(port, REQUEST[3:], 9)) == 9


def test_noise_before_a_request_costs_only_that_request(port: serial.Serial, device: PtyDevice) -> None:
    assert not exchange(port, b"\x00\xff\x07", 0)
    assert len(exchange(port, REQUEST, 9)) == 9
    assert device.requests == 2


def test_faults_spoil_one_reply_each(port: serial.Serial, device: PtyDevice) -> None:
    device.fail_next(SerialFault.GARBAGE)
    assert exchange(port, REQUEST, 11)[:4] == b"\x00\xff\x01\x04"
    device.fail_next(SerialFault.BAD_CRC)
    damaged = exchange(port, REQUEST, 9)
    assert modbus_crc(damaged[:-2]) != damaged[-2:]
    device.fail_next(SerialFault.TRUNCATED)
    assert len(exchange(port, REQUEST, 4)) == 4
    device.fail_next(SerialFault.SILENCE)
    assert not exchange(port, REQUEST, 0)
    assert len(exchange(port, REQUEST, 9)) == 9


def test_client_that_never_reads_does_not_hold_up_the_line(device: PtyDevice) -> None:
    with serial.Serial(device.path, 9600, timeout=1.0) as port:
        for _ in range(1000):
            port.write(REQUEST)
        assert port.read(1)
        device.unplug()
        with pytest.raises(serial.SerialException):
            port.write(REQUEST)


def test_port_can_be_closed_and_opened_again(device: PtyDevice) -> None:
    for _ in range(3):
        with serial.Serial(device.path, 9600) as port:
            assert len(exchange(port, REQUEST, 9)) == 9


def test_hang_up_reaches_the_client_as_the_kernels_errors(port: serial.Serial, device: PtyDevice) -> None:
    device.unplug()
    with pytest.raises(serial.SerialException, match="returned no data"):
        port.read(1)
    with pytest.raises(serial.SerialException, match="Errno 5"):
        port.write(REQUEST)
    with pytest.raises(serial.SerialException) as caught:
        serial.Serial(device.path)
    assert caught.value.errno == 2


def test_line_comes_back_under_the_same_link_to_another_device(device: PtyDevice) -> None:
    path, before = device.path, Path(device.path).resolve()
    device.unplug()
    device.plug_in()
    assert device.path == path
    assert Path(path).resolve() != before
    with serial.Serial(path, 9600) as port:
        assert len(exchange(port, REQUEST, 9)) == 9


def test_close_leaves_no_descriptor_and_no_thread() -> None:
    before = len(list(Path("/proc/self/fd").iterdir())), threading.active_count()
    for _ in range(3):
        device = PtyDevice([slave(1)])
        device.close()
        device.close()
    assert (len(list(Path("/proc/self/fd").iterdir())), threading.active_count()) == before


def test_a_reply_in_pieces_with_pauses_arrives_whole(port: serial.Serial, device: PtyDevice) -> None:
    device.fail_next(SerialFault.CHUNKED)
    reply = exchange(port, REQUEST, 9)
    assert modbus_crc(reply[:-2]) == reply[-2:]


def test_stray_bytes_come_after_a_reply_and_zeros_before_it(port: serial.Serial, device: PtyDevice) -> None:
    device.fail_next(SerialFault.TRAILING)
    assert exchange(port, REQUEST, 11)[9:] == b"\xff\x00"
    device.fail_next(SerialFault.NULS)
    assert exchange(port, REQUEST, 14)[:7] == b"\x00" * 5 + b"\x01\x04"


def test_a_late_reply_comes_before_the_next_one(port: serial.Serial, device: PtyDevice) -> None:
    device.fail_next(SerialFault.LATE)
    assert not exchange(port, REQUEST, 0)
    replies = exchange(port, b"\x02" + REQUEST[1:6] + modbus_crc(b"\x02" + REQUEST[1:6]), 18)
    assert (replies[0], replies[9]) == (1, 2)


def test_bytes_that_nobody_asked_for_can_be_put_on_the_line(port: serial.Serial, device: PtyDevice) -> None:
    device.send(b"hello")
    assert port.read(5) == b"hello"


def test_a_line_with_a_live_receiver_gives_back_what_is_sent(tmp_path: Path) -> None:
    device = PtyDevice([slave(1)], link=tmp_path / "echo", echo=True)
    with serial.Serial(device.path, 9600, timeout=1.0) as port:
        port.write(REQUEST)
        reply = port.read(17)
    assert reply[:8] == REQUEST
    assert modbus_crc(reply[8:-2]) == reply[-2:]
    device.close()


def test_a_second_program_may_open_the_line_unless_the_first_wants_it_alone(device: PtyDevice) -> None:
    with serial.Serial(device.path, 9600, exclusive=True), pytest.raises(serial.SerialException) as caught:
        serial.Serial(device.path, 9600, exclusive=True)
    assert caught.value.errno == 11
    with serial.Serial(device.path, 9600), serial.Serial(device.path, 9600) as second:
        assert second.is_open
