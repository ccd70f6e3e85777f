"""What chips have in common that the kernel drives: found by name, read as text files.

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
"""What a device can measure and how: from the tree, the device's entry, and the names of the files in it."""

_NUMBER: Final = re.compile(r"[-+]?[0-9]{1,20}(\.[0-9]{1,20})?")
_NOT_YET: Final = frozenset({errno.EIO, errno.EAGAIN, errno.ETIMEDOUT, errno.ENODATA, errno.EREMOTEIO})
"""What kernel drivers say when the chip has no conversion, or did not answer this time."""
_ON_BOARD: Final = frozenset({"cpu_thermal", "rp1_adc", "rpi_volt", "nvme"})
"""Devices of the computer itself, which are meant only if they are named."""


def number(text: str) -> Decimal:
    """The number that a file holds.

    Raises:
        NotReady: the file is empty: the kernel driver got no answer.
        BadReply: it holds something else.
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
        entry: directory below the tree's root, e.g. `iio:device0`; another one after the next start.
        name: the kernel's name of the chip, e.g. `bme280`.
        where: the true path, which says where it is connected.
    """

    entry: str
    name: str
    where: str

    def at(self, device: str) -> bool:
        """Whether `device`, as `1-0077`, is a part of where it is connected."""
        return f"/{device.strip('/')}/" in f"{self.where}/"

    def place(self) -> str:
        """What it is connected as, e.g. `1-0077`; empty if its path does not say."""
        parts = [part for part in PurePosixPath(self.where).parts if part not in {self.entry, "hwmon"}]
        return parts[-1] if parts else ""

    def shown(self) -> str:
        """Name and place, for people."""
        return f"{self.name} ({self.place()})" if self.place() else self.name


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which device, and what of it.

    Attributes:
        prefix: how the entries of its tree begin.
        name: the kernel's name; None takes the only one there is.
        device: where it is connected, as `1-0077`; None where the name is enough.
        measured: quantities, in their order.
    """

    prefix: str
    name: str | None
    device: str | None
    measured: tuple[Measured, ...]


class KernelDevice:
    """One chip that the kernel drives; it never sleeps, but reading may block as long as the kernel converts.

    Args:
        bus: tree of the subsystem.
        wanted: which device.
        readers: how its quantities are read.
    """

    def __init__(self, bus: Sysfs, wanted: Wanted, readers: Readers) -> None:
        self._bus = bus
        self._wanted = wanted
        self._find_readers = readers
        self._found: Device | None = None
        self._readers: tuple[Reader, ...] = ()
        self.quantities: tuple[str, ...] = tuple(measured.quantity for measured in wanted.measured)

    def probe(self) -> Iterator[int]:
        """Find the device among all, and the files of its quantities. Waits for nothing.

        Raises:
            BadReply: it is not there (now). WrongChip: the configuration does not say which of several.
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
        """Nothing to start: the kernel converts when it is asked, or all the time."""
        return 0

    def collect(self) -> tuple[float | None, ...]:
        """Read one file for each quantity (more where the kernel leaves the sum to us).

        Raises:
            NotReady: the kernel has no conversion to give.
            ChipWasReset: another device bears its number now.
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
        """How the device measures what is wanted; nothing where it is not the one, or measures none of it."""
        if self._wanted.name not in {None, device.name} or (self._wanted.name is None and device.name in _ON_BOARD):
            return {}
        if self._wanted.device is not None and not device.at(self._wanted.device):
            return {}
        offered = self._find_readers(self._bus, device.entry, frozenset(self._bus.names(device.entry)))
        wanted = {measured.quantity for measured in self._wanted.measured}
        return {quantity: reader for quantity, reader in offered.items() if quantity in wanted}


def devices(bus: Sysfs, prefix: str) -> list[Device]:
    """Everything that the kernel drives in this tree."""
    found: list[Device] = []
    for entry in bus.names():
        if entry.startswith(prefix):
            try:
                found.append(Device(entry, bus.read(f"{entry}/name").strip(), bus.resolve(entry)))
            except BusError:  # it went away meanwhile, or has no name
                continue
    return found


def find_devices(prefix: str, readers: Readers, usual: tuple[str, ...]) -> Callable[[Sysfs], Iterator[Found]]:
    """For `scan`: makes what lists the sensors of a tree, each with the options that name it and no other.

    Args:
        prefix: how the entries of the tree begin.
        readers: how quantities are read.
        usual: quantities that are wanted by default.
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
    """The one that is wanted, or say what there is instead."""
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
