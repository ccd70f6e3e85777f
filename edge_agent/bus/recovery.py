"""Steps that free an I2C bus on which a chip holds a line low, from the mildest on.

Sources: UM10204 rev. 7 (I2C specification), sections 3.1.14 (general call reset) and 3.1.16 (bus clear); kernel:
Documentation/driver-api/driver-model/binding.rst, and i2c-bcm2835, which has no recovery of its own.

All but the first are opt-in: they reset working chips, need root, or need GPIO lines.
Each is a generator that yields nanoseconds to wait. After any of them every chip has to be set up anew.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from edge_agent.errors import BusDenied, BusError, BusGone, Unavailable
from edge_agent.version import install_command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge_agent.bus.base import AnyBus, I2CBus

GENERAL_CALL: Final = 0x00
SOFTWARE_RESET: Final = b"\x06"
PULSES: Final = 9
"""A chip that is sending a byte releases the line after at most eight bits and the acknowledge."""
_SETTLE_NS: Final = 100_000_000
"""For the kernel to create the adapter again, and for chips to start."""


class Lines(Protocol):
    """Lines of a GPIO chip, driven as open-drain: low, or released."""

    def pull(self, line: int, *, low: bool) -> None:
        """Drive the line low, or release it."""

    def is_low(self, line: int) -> bool:
        """Whether the line is low."""

    def release(self) -> None:
        """Give up the lines."""


def reopen(bus: AnyBus) -> Iterator[int]:
    """Close the device; the next transfer opens it again."""
    bus.close()
    yield from ()


def general_call_reset(bus: I2CBus) -> Iterator[int]:
    """Reset every chip that supports the general call. Needs a bus on which transfers still work."""
    bus.transfer(GENERAL_CALL, SOFTWARE_RESET, 0)
    yield _SETTLE_NS


def rebind(device: str, sys_root: Path = Path("/sys")) -> Iterator[int]:
    """Unbind the kernel driver of the adapter, and bind it again. Needs root.

    Raises:
        BusGone: no platform driver is found behind the device.
        BusDenied: no permission.
    """
    driver, name = _platform_driver(device, sys_root)
    _write(driver / "unbind", name)
    yield _SETTLE_NS
    _write(driver / "bind", name)
    yield _SETTLE_NS


def clock_pulses(
    device: str, open_lines: Callable[[], Lines], *, scl: int, sda: int, sys_root: Path = Path("/sys")
) -> Iterator[int]:
    """Send clock pulses until the chip that holds SDA releases it (UM10204 section 3.1.16). Needs root.

    The kernel driver of the adapter is unbound meanwhile; binding it again gives the pins back to the adapter.

    Raises:
        BusError: SDA stays low: a short circuit, or a chip that only its supply can stop.
        BusGone, BusDenied: as `rebind`. Unavailable: no GPIO library.
    """
    driver, name = _platform_driver(device, sys_root)
    _write(driver / "unbind", name)
    try:
        yield _SETTLE_NS
        lines = open_lines()
        try:
            freed = _clear(lines, scl, sda)
        finally:
            lines.release()
    finally:
        _write(driver / "bind", name)
    yield _SETTLE_NS
    if not freed:
        raise BusError("SDA stays low after nine clocks: a short circuit, or a chip that only its supply can stop")


def power_cycle(open_lines: Callable[[], Lines], *, line: int, off_ns: int) -> Iterator[int]:
    """Switch the supply of the sensors off and on, by a line that is low for off and released for on."""
    lines = open_lines()
    try:
        lines.pull(line, low=True)
        yield off_ns
        lines.pull(line, low=False)
    finally:
        lines.release()
    yield _SETTLE_NS


def _clear(lines: Lines, scl: int, sda: int) -> bool:
    """At most nine clock pulses, and a STOP. Each call takes longer than half a clock period at 100 kHz."""
    for _ in range(PULSES):
        if not lines.is_low(sda):
            break
        lines.pull(scl, low=True)
        lines.pull(scl, low=False)
    if lines.is_low(sda):
        return False
    lines.pull(scl, low=True)
    lines.pull(sda, low=True)
    lines.pull(scl, low=False)
    lines.pull(sda, low=False)
    return True


def _platform_driver(device: str, sys_root: Path) -> tuple[Path, str]:
    """Folder of the driver behind /dev/i2c-N, and the name of the device that it drives."""
    number = Path(device).resolve().name
    adapter = sys_root / "class" / "i2c-dev" / number / "device"
    try:
        platform_device = adapter.resolve(strict=True).parent
        driver = (platform_device / "driver").resolve(strict=True)
    except OSError as error:
        raise BusGone(f"no platform driver is found behind {device}: {error}", errno=error.errno) from error
    return driver, platform_device.name


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="ascii")
    except OSError as error:
        if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            raise BusDenied(f"{path} may not be written: that needs root", errno=error.errno) from error
        raise BusError(f"{path} refuses {text!r}: {error.strerror}", errno=error.errno) from error


class GpiodLines:
    """GPIO lines through the character device of the kernel. The only user of gpiod.

    Args:
        chip: e.g. `/dev/gpiochip0`.
        lines: their offsets; on a Pi's first chip the GPIO numbers.

    Raises:
        Unavailable: gpiod is not installed.
        BusDenied, BusGone: the lines cannot be had.
    """

    def __init__(self, chip: str, lines: tuple[int, ...]) -> None:
        try:
            import gpiod  # noqa: PLC0415 an extra
            from gpiod.line import Direction, Drive, Value  # noqa: PLC0415
        except ImportError:
            raise Unavailable(f"the GPIO library is not installed: {install_command('gpio')}") from None
        self._low, self._free = Value.INACTIVE, Value.ACTIVE
        settings = gpiod.LineSettings(direction=Direction.OUTPUT, drive=Drive.OPEN_DRAIN, output_value=Value.ACTIVE)
        try:
            self._request = gpiod.request_lines(chip, consumer="edge-agent", config={lines: settings})
        except PermissionError as error:
            raise BusDenied(f"{chip} may not be opened: add the user to group gpio", errno=error.errno) from error
        except (OSError, ValueError) as error:
            code = error.errno if isinstance(error, OSError) else None
            raise BusGone(f"lines {lines} of {chip} cannot be had: {error}", errno=code) from error

    def pull(self, line: int, *, low: bool) -> None:
        """As Lines."""
        self._request.set_value(line, self._low if low else self._free)

    def is_low(self, line: int) -> bool:
        """As Lines."""
        return bool(self._request.get_value(line) == self._low)

    def release(self) -> None:
        """As Lines."""
        self._request.release()
