"""Common part of the drivers for chips that a kernel driver reads: found by name, read as text files.

Sources: Linux Documentation/ABI/testing/sysfs-bus-iio; Documentation/hwmon/sysfs-interface.rst.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final, TypeAlias

from edge_agent.drivers.base import Found
from edge_agent.errors import BadReply, BusDenied, BusError, ChipWasReset, NotReady, WrongChip

if TYPE_CHECKING:
    from edge_agent.bus.base import Sysfs
    from edge_agent.drivers.base import Measured

Reader: TypeAlias = Callable[[], float | None]
"""Reads one quantity, in its canonical unit."""

Readers: TypeAlias = Callable[["Sysfs", str, frozenset[str]], Mapping[str, Reader]]
"""Makes the readers of a device, by quantity, from the tree, the entry of the device, and the names of its files."""

_NUMBER: Final = re.compile(r"[-+]?[0-9]{1,20}(\.[0-9]{1,20})?")
_NOT_YET: Final = frozenset({errno.EIO, errno.EAGAIN, errno.ETIMEDOUT, errno.ENODATA, errno.EREMOTEIO})
"""Error codes of kernel drivers when the chip has no conversion, or did not answer this time."""
_ON_BOARD: Final = frozenset({"cpu_thermal", "rp1_adc", "rpi_volt", "nvme"})
"""Devices of the computer itself, used only if the configuration names them."""


def number(text: str) -> Decimal:
    """The number that a file holds.

    Raises:
        NotReady: the file is empty: the kernel driver got no answer.
        BadReply: it does not hold a number.
    """
    text = text.strip("\0 \n")
    if not text:
        raise NotReady("the kernel driver has no value yet: check supply and wiring if that stays")
    if not _NUMBER.fullmatch(text):
        raise BadReply(f"the kernel's file holds no number: {text[:40]!r}")
    return Decimal(text)


@dataclass(frozen=True, slots=True)
class Device:
    """A device that the kernel drives.

    Attributes:
        entry: directory below the root of the tree, e.g. `iio:device0`; may change with the next start.
        name: the kernel's name of the chip, e.g. `bme280`.
        where: its path with all links followed, which names the bus.
    """

    entry: str
    name: str
    where: str

    def at(self, device: str) -> bool:
        """Whether it is connected as `device`, e.g. `1-0077`."""
        return f"/{device.strip('/')}/" in f"{self.where}/"

    def place(self) -> str:
        """Where it is connected, e.g. `1-0077`; empty if its path does not show that."""
        parts = [part for part in PurePosixPath(self.where).parts if part not in {self.entry, "hwmon"}]
        return parts[-1] if parts else ""

    def shown(self) -> str:
        """Name and place, for people."""
        return f"{self.name} ({self.place()})" if self.place() else self.name


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which device to read, and which quantities.

    Attributes:
        prefix: start of the names of entries in its tree.
        name: the kernel's name; None if there is only one device.
        device: where it is connected, e.g. `1-0077`; None where the name is enough.
        measured: quantities, in their order.
    """

    prefix: str
    name: str | None
    device: str | None
    measured: tuple[Measured, ...]


class KernelDevice:
    """One chip that a kernel driver reads. Reading may block while the kernel converts.

    Args:
        bus: tree of the subsystem.
        wanted: which device, and which quantities.
        readers: makes the readers of its quantities.
    """

    def __init__(self, bus: Sysfs, wanted: Wanted, readers: Readers) -> None:
        self._bus = bus
        self._wanted = wanted
        self._find_readers = readers
        self._found: Device | None = None
        self._readers: tuple[Reader, ...] = ()
        self.quantities: tuple[str, ...] = tuple(measured.quantity for measured in wanted.measured)

    def probe(self) -> Iterator[int]:
        """Find the device, and the files of its quantities. Does not wait.

        Raises:
            BadReply: it is not there now. WrongChip: the configuration must name one of several.
        """
        self._found = None
        there = devices(self._bus, self._wanted.prefix)
        candidates = {device: readers for device in there if (readers := self._offer(device))}
        device = _choose(self._wanted, candidates, there)
        offered = candidates[device]
        self.quantities = tuple(measured.quantity for measured in self._wanted.measured if measured.quantity in offered)
        self._readers = tuple(offered[quantity] for quantity in self.quantities)
        self._found = device
        yield from ()

    def trigger(self) -> int:
        """Start nothing: the kernel converts at each read, or all the time. Returns 0."""
        return 0

    def collect(self) -> tuple[float | None, ...]:
        """Read the files of all quantities.

        Raises:
            NotReady: the kernel has no conversion to give.
            ChipWasReset: another device has its number now.
            BusGone: it was unbound or unplugged. BusDenied: its buffer is in use.
            BadReply: a file holds no number.
        """
        if self._found is None:
            raise BadReply("the device has not been probed")
        if self._bus.resolve(self._found.entry) != self._found.where:
            raise ChipWasReset(f"the kernel numbers its devices anew: {self._found.entry} is another one now")
        try:
            return tuple(reader() for reader in self._readers)
        except BusError as error:
            if error.errno in _NOT_YET:
                raise NotReady(f"the kernel driver of {self._found.name} has no conversion: {error}") from error
            if error.errno == errno.EBUSY:
                raise BusDenied(
                    f"{self._found.name} is busy: its buffer is enabled, so another program samples it",
                    errno=error.errno,
                ) from error
            raise

    def _offer(self, device: Device) -> Mapping[str, Reader]:
        """The readers for the configured quantities; empty if it is another device, or measures none of them."""
        if self._wanted.name not in {None, device.name} or (self._wanted.name is None and device.name in _ON_BOARD):
            return {}
        if self._wanted.device is not None and not device.at(self._wanted.device):
            return {}
        offered = self._find_readers(self._bus, device.entry, frozenset(self._bus.names(device.entry)))
        wanted = {measured.quantity for measured in self._wanted.measured}
        return {quantity: reader for quantity, reader in offered.items() if quantity in wanted}


def devices(bus: Sysfs, prefix: str) -> list[Device]:
    """All devices in this tree."""
    found: list[Device] = []
    for entry in bus.names():
        if entry.startswith(prefix):
            try:
                found.append(Device(entry, bus.read(f"{entry}/name").strip(), bus.resolve(entry)))
            except BusError:  # removed meanwhile, or without a name
                continue
    return found


def find_devices(prefix: str, readers: Readers, usual: tuple[str, ...]) -> Callable[[Sysfs], Iterator[Found]]:
    """For `scan`: makes a function that lists the sensors of a tree, each with the options that select it.

    Args:
        prefix: start of the names of entries in the tree.
        readers: makes the readers of a device.
        usual: the default quantities.
    """

    def find(bus: Sysfs) -> Iterator[Found]:
        there = [device for device in devices(bus, prefix) if device.name not in _ON_BOARD]
        for device in there:
            try:
                offered = tuple(readers(bus, device.entry, frozenset(bus.names(device.entry))))
            except (BusError, NotReady, BadReply):
                continue
            if not offered:
                continue
            options: dict[str, str | list[str]] = {"name": device.name}
            if [other.name for other in there].count(device.name) > 1:
                options["device"] = device.place()
            if set(offered) != set(usual):
                options["quantities"] = list(offered)
            yield Found(device.shown(), options)

    return find


def _choose(wanted: Wanted, candidates: Mapping[Device, object], devices: list[Device]) -> Device:
    """The configured device. Raises with the devices that are there instead."""
    if len(candidates) == 1:
        return next(iter(candidates))
    shown = ", ".join(device.shown() for device in candidates or devices) or "nothing"
    if not candidates:
        which = f"no {wanted.name or 'device'}{f' at {wanted.device}' if wanted.device else ''}"
        what = " or ".join(measured.quantity for measured in wanted.measured)
        raise BadReply(f"{which} that measures {what}; the kernel drives {shown}: is its overlay or module loaded?")
    if len({device.name for device in candidates}) > 1 and wanted.name is None:
        raise WrongChip(f"more than one device: set name to one of {shown}")
    raise WrongChip(f"more than one device of that name: set device to what stands in brackets of {shown}")
