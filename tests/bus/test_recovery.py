from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_agent.bus.recovery import GpiodLines, clock_pulses, general_call_reset, power_cycle, rebind, reopen
from edge_agent.clock import SimulatedClock
from edge_agent.errors import BusError, BusGone, NoAcknowledge
from edge_agent.simulate.i2c import SimulatedI2C

if TYPE_CHECKING:
    from pathlib import Path

SCL, SDA = 3, 2


class Wires:
    """Two open-drain lines with a chip that holds SDA until it has seen so many clocks."""

    def __init__(self, clocks: int) -> None:
        self.clocks = clocks
        self.pulled: set[int] = set()
        self.history: list[tuple[int, bool]] = []
        self.released = False

    def pull(self, line: int, *, low: bool) -> None:
        """As Lines; the chip counts falling edges of SCL."""
        self.clocks -= line == SCL and low
        (self.pulled.add if low else self.pulled.discard)(line)
        self.history.append((line, low))

    def is_low(self, line: int) -> bool:
        """As Lines."""
        return line in self.pulled or (line == SDA and self.clocks > 0)

    def release(self) -> None:
        """As Lines."""
        self.released = True


@pytest.fixture
def sys_root(tmp_path: Path) -> Path:
    """As /sys of a Pi looks around /dev/i2c-1."""
    driver = tmp_path / "bus/platform/drivers/i2c-bcm2835"
    adapter = tmp_path / "devices/platform/soc/fe804000.i2c/i2c-1"
    driver.mkdir(parents=True)
    adapter.mkdir(parents=True)
    (adapter.parent / "driver").symlink_to(driver)
    listed = tmp_path / "class/i2c-dev/i2c-1"
    listed.mkdir(parents=True)
    (listed / "device").symlink_to(adapter)
    for name in ("unbind", "bind"):
        (driver / name).touch()
    return tmp_path


def test_rebinding_takes_the_driver_away_and_gives_it_back(sys_root: Path) -> None:
    driver = sys_root / "bus/platform/drivers/i2c-bcm2835"
    steps = rebind("/dev/i2c-1", sys_root)
    next(steps)
    assert (driver / "unbind").read_text() == "fe804000.i2c"
    assert (driver / "bind").read_text() == ""
    list(steps)
    assert (driver / "bind").read_text() == "fe804000.i2c"


def test_an_adapter_without_a_platform_driver_is_said_so(sys_root: Path) -> None:
    with pytest.raises(BusGone, match="no platform driver is found behind /dev/i2c-7"):
        list(rebind("/dev/i2c-7", sys_root))


@pytest.mark.parametrize("clocks", [1, 5, 9])
def test_a_chip_in_the_middle_of_a_byte_is_clocked_out_and_a_stop_follows(sys_root: Path, clocks: int) -> None:
    wires = Wires(clocks)
    list(clock_pulses("/dev/i2c-1", lambda: wires, scl=SCL, sda=SDA, sys_root=sys_root))
    assert wires.history[: 2 * clocks] == [(SCL, True), (SCL, False)] * clocks
    assert wires.history[2 * clocks :] == [(SCL, True), (SDA, True), (SCL, False), (SDA, False)]
    assert wires.released
    assert (sys_root / "bus/platform/drivers/i2c-bcm2835/bind").read_text() == "fe804000.i2c"


def test_a_line_that_stays_low_is_an_error_and_the_adapter_gets_its_driver_back(sys_root: Path) -> None:
    wires = Wires(100)
    with pytest.raises(BusError, match="stays low after nine clocks"):
        list(clock_pulses("/dev/i2c-1", lambda: wires, scl=SCL, sda=SDA, sys_root=sys_root))
    assert wires.released
    assert (sys_root / "bus/platform/drivers/i2c-bcm2835/bind").read_text() == "fe804000.i2c"


def test_the_supply_is_off_for_as_long_as_asked() -> None:
    wires = Wires(0)
    steps = power_cycle(lambda: wires, line=17, off_ns=2_000_000_000)
    assert next(steps) == 2_000_000_000
    assert wires.pulled == {17}
    list(steps)
    assert wires.pulled == set()
    assert wires.released


def test_the_general_call_reaches_chips_that_listen_and_nobody_else() -> None:
    bus = SimulatedI2C(SimulatedClock(0), log_limit=4)
    with pytest.raises(NoAcknowledge):
        list(general_call_reset(bus))
    assert [(entry.address, entry.write) for entry in bus.log] == [(0, b"\x06")]
    assert list(reopen(bus)) == []


def test_a_gpio_chip_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(BusGone, match=r"lines \(2, 3\) of /dev/gpiochip99 cannot be had"):
        GpiodLines("/dev/gpiochip99", (2, 3))
