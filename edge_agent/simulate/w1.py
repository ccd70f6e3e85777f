"""A simulated 1-Wire bus as the kernel shows it: a true tree of files, refreshed just before each is read.

Source: Linux drivers/w1/slaves/w1_therm.c (0554d731) and Documentation/w1/slaves/w1_therm.rst.

Limits: reading `w1_slave` without a bulk conversion blocks for 750 ms in the kernel; here the air of the
moment of reading is converted and no time passes. Writing `trigger` blocks likewise in the kernel, and here
never.
"""

from __future__ import annotations

import errno
import shutil
from collections import Counter
from typing import TYPE_CHECKING, Final

from edge_agent.errors import BusDenied, BusError, BusGone
from edge_agent.simulate.chips.ds18b20 import CONVERSION_NS, dallas_crc

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.clock import Clock
    from edge_agent.simulate.chips.base import W1Chip

_MASTER: Final = "w1_bus_master1"
_BULK: Final = "therm_bulk_read"


class SimulatedW1:
    """`/sys/bus/w1/devices` in a directory of ours. Implements `bus.base.Sysfs`.

    Args:
        directory: an empty directory; the tree is made in it and left to its owner to remove.
        clock: only read.
    """

    def __init__(self, directory: Path, clock: Clock) -> None:
        self.directory = directory
        self._clock = clock
        self._chips: dict[str, W1Chip] = {}
        self._last_good: dict[str, bytes] = {}
        self._triggered: set[str] = set()
        self._bulk_done_ns = 0
        self._damaged: Counter[str] = Counter()
        self._empty: Counter[str] = Counter()
        (directory / _MASTER).mkdir()
        (directory / _MASTER / _BULK).write_text("0\n", encoding="ascii")

    def attach(self, chip: W1Chip) -> None:
        """Let the kernel find a thermometer, as after its search."""
        self._chips[chip.name] = chip
        self.return_(chip.name)

    def chip(self, name: str) -> W1Chip:
        """The model behind a directory, e.g. `28-0123456789ab`, whether it is there now or not."""
        return self._chips[name]

    def vanish(self, name: str) -> None:
        """Remove the directory, as the kernel does after ten searches without an answer."""
        shutil.rmtree(self.directory / name)
        self._triggered.discard(name)

    def return_(self, name: str) -> None:
        """Make the directory appear again."""
        device = self.directory / name
        device.mkdir(exist_ok=True)
        for file, text in {"name": name, "resolution": "12", "conv_time": "750", "ext_power": "1"}.items():
            (device / file).write_text(f"{text}\n", encoding="ascii")
        for file in ("w1_slave", "temperature"):
            (device / file).touch()

    def damage_next(self, name: str, count: int = 1) -> None:
        """Turn a bit over in the next `count` scratchpads that are read: the CRC then says NO."""
        self._damaged[name] += count

    def empty_next(self, name: str, count: int = 1) -> None:
        """Let the next `count` reads of a device give nothing, as the kernel does when nobody answers."""
        self._empty[name] += count

    def read(self, path: str) -> str:
        """Refresh the file and read it from the disk.

        Raises:
            BusGone: errno 2; no such file or device.
        """
        file = self._file(path)
        name, _, leaf = path.strip("/").partition("/")
        if leaf in {"w1_slave", "temperature"}:
            file.write_text(self._device_text(name, leaf), encoding="ascii")
        elif leaf == _BULK:
            state = 0 if not self._triggered else 1 if self._clock.now_ns() >= self._bulk_done_ns else -1
            file.write_text(f"{state}\n", encoding="ascii")
        return file.read_text(encoding="ascii")

    def write(self, path: str, text: str) -> None:
        """Start a bulk conversion; nothing else can be written.

        Raises:
            BusGone: errno 2; no such file. BusDenied: errno 13; not a file to write to.
            BusError: errno 22; not the word `trigger`.
        """
        file = self._file(path)
        if file.name != _BULK:
            raise BusDenied(f"{path} is read-only", errno=errno.EACCES)
        if text.strip() != "trigger":
            raise BusError(f"{path} takes only the word trigger", errno=errno.EINVAL)
        self._bulk_done_ns = self._clock.now_ns() + CONVERSION_NS
        for name in self.names():
            if name in self._chips:
                self._chips[name].start()
                self._triggered.add(name)

    def names(self) -> list[str]:
        """Entries of the tree, sorted."""
        return sorted(entry.name for entry in self.directory.iterdir())

    def close(self) -> None:
        """Nothing is held open; the directory belongs to whoever made it."""

    def _file(self, path: str) -> Path:
        file = self.directory / path.strip("/")
        if ".." in file.parts or not file.is_file():
            raise BusGone(f"{path} is not there", errno=errno.ENOENT)
        return file

    def _device_text(self, name: str, leaf: str) -> str:
        """What the kernel prints: without a bulk conversion it converts, with one it takes what is there."""
        if self._empty[name]:
            self._empty[name] -= 1
            return ""
        chip = self._chips[name]
        if name in self._triggered:
            self._triggered.remove(name)
        else:
            chip.convert()
        data = chip.scratchpad()
        if self._damaged[name]:
            self._damaged[name] -= 1
            data = bytes([data[0] ^ 0x04]) + data[1:]
        millidegrees = int(int.from_bytes(data[:2], "little", signed=True) * 1000 / 16)
        if leaf == "temperature":
            return f"{millidegrees}\n"
        crc = dallas_crc(data[:8])
        good = crc == data[8]
        if good:
            self._last_good[name] = data
        # The second line repeats the last good bytes but tells the temperature of the present ones.
        kept = self._last_good.get(name, bytes(9))
        verdict = "YES" if good else "NO"
        return f"{data.hex(' ')} : crc={crc:02x} {verdict}\n{kept.hex(' ')} t={millidegrees}\n"
