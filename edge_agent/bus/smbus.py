"""I2C through the kernel's i2c-dev. Owns one /dev/i2c-N, and is the only user of smbus2.

An address that a kernel driver owns is refused, also where the kernel would permit the transfer.
"""

from __future__ import annotations

import errno
import getpass
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from smbus2 import I2cFunc, SMBus, i2c_msg

from edge_agent.errors import BusDenied, BusError, BusGone, BusTimeout, NoAcknowledge

if TYPE_CHECKING:
    from collections.abc import Mapping

_READ_BYTE_RANGES: Final = (range(0x30, 0x38), range(0x50, 0x60))
"""Where a quick write can do harm (write-protect logic, EEPROMs): i2cdetect(8) reads a byte there instead."""

_TRANSFER_FAULTS: Final[Mapping[int, tuple[type[BusError], str]]] = {
    # i2c-bcm2835 and designware report EREMOTEIO, i2c-gpio and others ENXIO.
    errno.EREMOTEIO: (NoAcknowledge, "nothing answers at {where}: check address, wiring and power"),
    errno.ENXIO: (NoAcknowledge, "nothing answers at {where}: check address, wiring and power"),
    errno.ETIMEDOUT: (BusTimeout, "timed out at {where}: something holds SDA or SCL low"),
    errno.EIO: (BusError, "the transfer with {where} broke off: clock stretched too long, or noise"),
    errno.EAGAIN: (BusError, "lost the bus talking to {where}: a second master, noise, weak pull-ups"),
    errno.EBUSY: (
        BusDenied,
        "{where} belongs to the kernel driver{owner}: read it through sysfs, or remove its dtoverlay",
    ),
    errno.EACCES: (BusDenied, "{where} may not be used: {reason}"),
    errno.EPERM: (BusDenied, "{where} may not be used: {reason}"),
    errno.ENODEV: (BusGone, "{device} is gone: the adapter was unplugged or removed"),
    errno.ENOENT: (BusGone, "{device} is gone: the adapter was unplugged or removed"),
    errno.EBADF: (BusGone, "{device} is gone: it was closed during a transfer"),
    errno.EOPNOTSUPP: (BusError, "{device} cannot do plain I2C transfers: use another adapter"),
}
"""Error code → error class and message (kernel: Documentation/i2c/fault-codes.rst)."""

_OPEN_FAULTS: Final[Mapping[int, tuple[type[BusError], str]]] = {
    errno.ENOENT: (
        BusGone,
        (
            "{device} does not exist: I2C is off: add dtparam=i2c_arm=on to /boot/firmware/config.txt (or "
            "use raspi-config), load i2c-dev and reboot; or the adapter is unplugged"
        ),
    ),
    errno.EACCES: (
        BusDenied,
        (
            "{device} may not be opened: user {user} is not in group i2c: usermod -aG i2c {user}; a "
            "container needs --device {device} and --group-add"
        ),
    ),
    errno.EPERM: (BusDenied, "{device} may not be opened: {reason}; a container needs --device {device}"),
    errno.EBUSY: (BusDenied, "{device} belongs to somebody else: {reason}"),
    errno.ENODEV: (BusGone, "{device} has no adapter behind it any more"),
    errno.ENXIO: (BusGone, "{device} has no adapter behind it any more"),
    errno.ENOTTY: (BusGone, "{device} is not an I2C adapter"),
    errno.ETIMEDOUT: (BusTimeout, "{device} did not open in time"),
}

_UNKNOWN_FAULT: Final = (BusError, "{device} failed: {reason}")


class SmbusI2C:
    """One I2C adapter of the kernel, opened at its first use.

    Limits:
        Needs an adapter with plain I2C (I2C_FUNC_I2C), which i2c-stub and SMBus-only adapters lack.
        A stuck bus costs the adapter's own timeout, about a second, per transfer.

    Args:
        device: e.g. `/dev/i2c-1`.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._bus: SMBus | None = None

    def transfer(self, address: int, write: bytes, read: int) -> bytes:
        """Write, then read with a repeated start; either part may be empty.

        One write and one read message at most: i2c-bcm2835 refuses anything else with EOPNOTSUPP.

        Raises:
            NoAcknowledge, BusTimeout, BusGone, BusDenied, BusError: nothing was read.
            ValueError: there is nothing to transfer.
        """
        if not write and not read:
            raise ValueError("a transfer needs something to write or to read")
        messages: list[i2c_msg] = []
        if write:
            messages.append(i2c_msg.write(address, write))
        if read:
            messages.append(i2c_msg.read(address, read))
        try:
            bus = self._opened()
            # I2C_RDWR does not check whether a kernel driver owns the address. I2C_SLAVE does; smbus2 calls it only
            # when the address changes.
            bus._set_address(address)  # type: ignore[attr-defined]  # noqa: SLF001
            bus.i2c_rdwr(*messages)
        except OSError as error:
            raise self._explain(error, address) from error
        except TypeError as error:  # smbus2 raises this when another thread has closed it
            raise self._closed_meanwhile() from error
        # Only after success: a failed transfer leaves the buffers as they were.
        return bytes(messages[-1]) if read else b""

    def ping(self, address: int) -> bool:
        """Whether a chip acknowledges the address, tested by the transfer that i2cdetect(8) uses there.

        Raises:
            BusDenied: a kernel driver owns the address.
            BusTimeout, BusGone, BusError: the bus itself failed.
        """
        try:
            bus = self._opened()
            no_quick = I2cFunc.SMBUS_READ_BYTE in bus.funcs and I2cFunc.SMBUS_QUICK not in bus.funcs
            if no_quick or any(address in addresses for addresses in _READ_BYTE_RANGES):
                bus.read_byte(address)
            else:
                bus.write_quick(address)
        except OSError as error:
            explained = self._explain(error, address)
            if isinstance(explained, NoAcknowledge):
                return False
            raise explained from error
        except TypeError as error:
            raise self._closed_meanwhile() from error
        return True

    def close(self) -> None:
        """Close the device. Closing twice is harmless; the next transfer opens it again."""
        bus, self._bus = self._bus, None
        if bus is not None:
            _close(bus)

    def _opened(self) -> SMBus:
        if self._bus is None:
            # Not SMBus(device): where asking for the adapter's functions fails, that leaks the open file.
            bus = SMBus()
            try:
                bus.open(self._device)
                # smbus2 stores a plain int although it documents the flags.
                bus.funcs = I2cFunc(bus.funcs)
            except OSError as error:
                _close(bus)
                raise self._explain_open(error) from error
            self._bus = bus
        return self._bus

    def _closed_meanwhile(self) -> BusGone:
        self.close()
        return BusGone(f"{self._device} was closed during a transfer")

    def _explain(self, error: OSError, address: int) -> BusError:
        """The error class and message for an error code of the kernel."""
        if isinstance(error, BusError):  # opening failed, and has been explained
            return error
        kind, sentence = _TRANSFER_FAULTS.get(error.errno or 0, _UNKNOWN_FAULT)
        if kind is BusGone:
            self.close()
        owner = _owner(self._device, address) if error.errno == errno.EBUSY else ""
        reason = error.strerror or str(error)
        return kind(
            sentence.format(device=self._device, where=f"{address:#04x} on {self._device}", owner=owner, reason=reason),
            errno=error.errno,
        )

    def _explain_open(self, error: OSError) -> BusError:
        kind, sentence = _OPEN_FAULTS.get(error.errno or 0, _UNKNOWN_FAULT)
        reason = error.strerror or str(error)
        return kind(sentence.format(device=self._device, user=_user(), reason=reason), errno=error.errno)


def _owner(device: str, address: int) -> str:
    """Name of the kernel driver that owns the address, with a leading blank; empty if the kernel does not show it."""
    number = Path(device).resolve().name.removeprefix("i2c-")
    try:
        return " " + Path(f"/sys/bus/i2c/devices/{number}-{address:04x}/driver").readlink().name
    except OSError:
        return ""


def _close(bus: SMBus) -> None:
    """Close the file itself: smbus2 skips file descriptor 0, and raises where the adapter is gone."""
    descriptor, bus.fd = bus.fd, None
    if descriptor is not None:
        try:
            os.close(descriptor)
        except OSError:
            return


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a uid without a name, as in containers
        return str(os.getuid())
