"""Two implementations by other people: pymodbus asks our simulated slaves, and our driver asks a pymodbus server."""

from __future__ import annotations

import asyncio
import os
import random
import select
import threading
import tty
from typing import TYPE_CHECKING, Any

import minimalmodbus
import pytest
import serial
from pymodbus import FramerType
from pymodbus.client import ModbusSerialClient
from pymodbus.server import ModbusSerialServer
from pymodbus.simulator import DataType, SimData, SimDevice

from edge_agent.bus.uart import Uart
from edge_agent.clock import SimulatedClock
from edge_agent.drivers.modbus_map import Register
from edge_agent.drivers.modbus_rtu import ModbusOptions, ModbusRtu
from edge_agent.errors import BadReply
from edge_agent.simulate.chips.base import Part
from edge_agent.simulate.chips.modbus_rtu import make_slave
from edge_agent.simulate.uart import PtyDevice
from edge_agent.simulate.world import Air

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

AIR = Air(25.4, 57.1, 100_500.0)


@pytest.fixture
def line(tmp_path: Path) -> Iterator[PtyDevice]:
    profiles = enumerate(["xy-md02", "thp-box", "metsens300"], 1)
    clock = SimulatedClock(0)
    slaves = [
        make_slave(Part(clock, lambda _: AIR, random.Random(1), address=address, options={"profile": profile}))
        for address, profile in profiles
    ]
    line = PtyDevice(slaves, link=tmp_path / "port")
    yield line
    line.close()


@pytest.fixture
def client(line: PtyDevice) -> Iterator[ModbusSerialClient]:
    client = ModbusSerialClient(line.path, framer=FramerType.RTU, baudrate=9600, timeout=2)
    assert client.connect()
    yield client
    client.close()  # type: ignore[no-untyped-call]


def test_pymodbus_reads_tenths(client: ModbusSerialClient) -> None:
    assert client.read_input_registers(1, count=2, device_id=1).registers == pytest.approx([254, 571], abs=5)
    assert client.read_holding_registers(0, count=3, device_id=2).registers == pytest.approx([254, 571, 10050], abs=5)


def test_pymodbus_reads_floats(client: ModbusSerialClient) -> None:
    words = client.read_holding_registers(0, count=6, device_id=3).registers
    values = client.convert_from_registers(words, client.DATATYPE.FLOAT32)
    assert values == pytest.approx([1005, 57.1, 25.4], abs=0.5)


def test_pymodbus_is_refused_a_range_that_is_not_there(client: ModbusSerialClient) -> None:
    reply = client.read_input_registers(2, count=2, device_id=1)
    assert reply.isError()
    assert reply.exception_code == 2


def test_minimalmodbus_reads_a_float(line: PtyDevice) -> None:
    with serial.Serial(line.path, 9600, exclusive=True, timeout=2) as port:
        instrument = minimalmodbus.Instrument(port, 3)
        assert instrument.read_float(0) == pytest.approx(1005, abs=0.2)


class LinkedPtys:
    """Two ptys whose far ends are joined: what is written into the one can be read from the other."""

    def __init__(self) -> None:
        self._far = []
        self._near = []
        for _ in range(2):
            far, near = os.openpty()
            tty.setraw(near)
            self._far.append(far)
            self._near.append(near)
        self.one, self.other = (os.ttyname(near) for near in self._near)
        self._woken, self._wake = os.pipe()
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def _carry(self) -> None:
        while True:
            ready, _, _ = select.select([*self._far, self._woken], [], [])
            if self._woken in ready:
                return
            for far in ready:
                os.write(self._far[1 - self._far.index(far)], os.read(far, 4096))

    def close(self) -> None:
        """Part them."""
        os.write(self._wake, b"\0")
        self._thread.join(5)
        for descriptor in (*self._far, *self._near, self._woken, self._wake):
            os.close(descriptor)


class PymodbusServer:
    """A pymodbus server in a thread of its own."""

    def __init__(self, path: str) -> None:
        def words(*values: int) -> list[Any]:
            return list(values)

        bits = [SimData(0, values=False, count=1, datatype=DataType.BITS)]
        holding = [SimData(0x101, values=words(1, 9600, 0, 0), datatype=DataType.REGISTERS)]
        readings = [SimData(1, values=words(254, 571, 0x447B, 0x2000), datatype=DataType.REGISTERS)]
        self._device = SimDevice(1, simdata=(bits, bits, holding, readings))
        self._path = path
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        self._server = ModbusSerialServer(self._device, framer=FramerType.RTU, port=self._path, baudrate=9600)
        await self._server.serve_forever(background=True)
        self._ended = asyncio.Event()
        self._ready.set()
        await self._ended.wait()
        await self._server.shutdown()  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """End the server and its thread."""
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture
def served() -> Iterator[Uart]:
    ptys = LinkedPtys()
    server = PymodbusServer(ptys.other)
    port = Uart(ptys.one)
    yield port
    port.close()
    server.close()
    ptys.close()


def test_our_driver_reads_a_pymodbus_server(served: Uart) -> None:
    device = ModbusRtu(served, 1, ModbusOptions(timeout_s=5.0))
    assert list(device.probe()) == []
    assert device.collect() == (25.4, 57.1)


def test_our_driver_reads_floats_of_a_pymodbus_server_and_understands_its_refusals(served: Uart) -> None:
    pressure = Register("pressure_pa", 3, 4, "float32", unit="hPa")
    assert ModbusRtu(served, 1, ModbusOptions(registers=(pressure,), timeout_s=5.0)).collect() == (100450.0,)
    nowhere = Register("pressure_pa", 100, 4)
    with pytest.raises(BadReply, match="code 2"):
        ModbusRtu(served, 1, ModbusOptions(registers=(nowhere,), timeout_s=1.0)).collect()
