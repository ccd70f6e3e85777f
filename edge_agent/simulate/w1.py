"""A simulated 1-Wire bus as the kernel shows it: a tree of files whose texts are made at each read.

Source: Linux drivers/w1/slaves/w1_therm.c (0554d731) and Documentation/w1/slaves/w1_therm.rst.

Reading `w1_slave` without a bulk conversion blocks for 750 ms, as in the kernel: that time passes for the reader.

Limits: writing `trigger` never blocks; some kernels block for the conversion.
"""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Final

from edge_agent.simulate.chips.ds18b20 import CONVERSION_NS, dallas_crc
from edge_agent.simulate.sysfs import SimulatedTree

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.clock import Clock
    from edge_agent.simulate.chips.base import W1Chip

_MASTER: Final = "w1_bus_master1"
_BULK: Final = "therm_bulk_read"


class SimulatedW1(SimulatedTree):
    """`/sys/bus/w1/devices` in a temporary directory.

    Args:
        directory: an empty directory; the tree is made in it, and the owner removes it.
        clock: conversions pass on it.
        label: what messages call it; by default `directory`.
    """

    def __init__(self, directory: Path, clock: Clock, label: str = "") -> None:
        super().__init__(directory, label)
        self._clock = clock
        self._chips: dict[str, W1Chip] = {}
        self._last_good: dict[str, bytes] = {}
        self._triggered: set[str] = set()
        self._bulk_done_ns = 0
        self._damaged: Counter[str] = Counter()
        (directory / _MASTER).mkdir()
        self._provide(directory / _MASTER / _BULK, self._bulk_text)

    def attach(self, chip: W1Chip) -> None:
        """Add a thermometer, as when the kernel's search finds one."""
        self._chips[chip.name] = chip
        self.restore(chip.name)

    def chip(self, name: str) -> W1Chip:
        """The chip model of a directory, e.g. `28-0123456789ab`, also while that is removed."""
        return self._chips[name]

    def remove(self, name: str) -> None:
        """Remove the directory, as the kernel does after ten searches without an answer."""
        shutil.rmtree(self.directory / _MASTER / name)
        (self.directory / name).unlink()
        self._triggered.discard(name)

    def restore(self, name: str) -> None:
        """Create the directory again; nothing if it is there."""
        device = self.directory / _MASTER / name
        if device.exists():
            return
        device.mkdir()
        (self.directory / name).symlink_to(device)
        for file, text in {"name": name, "resolution": "12", "conv_time": "750", "ext_power": "1"}.items():
            (device / file).write_text(f"{text}\n", encoding="ascii")
        for file in ("w1_slave", "temperature"):
            self._provide(device / file, partial(self._device_text, name, file))

    def damage_next(self, name: str, count: int = 1) -> None:
        """Invert a bit in the next `count` scratchpads that are read: their CRC is then wrong."""
        self._damaged[name] += count

    def empty_next(self, name: str, count: int = 1) -> None:
        """Let the next `count` reads of a device be empty, as when the kernel gets no answer."""
        self.fail_next(f"{name}/w1_slave", 0, count)

    def _stored(self, path: str, content: bytes) -> None:
        """Start a bulk conversion; nothing else can be written."""
        if not path.endswith(_BULK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        if content.strip() != b"trigger":
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
        self._bulk_done_ns = self._clock.now_ns() + CONVERSION_NS
        for name in self.names():
            if name in self._chips:
                self._chips[name].start()
                self._triggered.add(name)

    def _bulk_text(self) -> str:
        state = 0 if not self._triggered else 1 if self._clock.now_ns() >= self._bulk_done_ns else -1
        return f"{state}\n"

    def _device_text(self, name: str, leaf: str) -> str:
        """Text of a device file. Converts first, unless a bulk conversion was made."""
        chip = self._chips[name]
        if name in self._triggered:
            self._triggered.remove(name)
        else:
            chip.convert()
            self._clock.wait(threading.Event(), self._clock.now_ns() + CONVERSION_NS)
        data = chip.scratchpad()
        if self._damaged[name]:
            self._damaged[name] -= 1
            data = bytes([data[0] ^ 0x04]) + data[1:]
        millidegrees = kernel_millidegrees(name[:2], data)
        if leaf == "temperature":
            return f"{millidegrees}\n"
        crc = dallas_crc(data[:8])
        good = crc == data[8]
        if good:
            self._last_good[name] = data
        # The second line repeats the last good bytes, but its temperature is that of the present ones.
        kept = self._last_good.get(name, bytes(9))
        verdict = "YES" if good else "NO"
        return f"{data.hex(' ')} : crc={crc:02x} {verdict}\n{kept.hex(' ')} t={millidegrees}\n"


def kernel_millidegrees(family: str, data: bytes) -> int:
    """The temperature in m°C that w1_therm.c computes from a scratchpad, shown as `t=`."""
    raw = int.from_bytes(data[:2], "little", signed=True)
    if family == "10":
        half_degrees = data[0] >> 1 if data[1] == 0 else -(0x100 - data[0]) >> 1
        return half_degrees * 1000 - 250 + int(1000 * (data[7] - data[6]) / data[7]) if data[7] else 0
    if family == "3b" and data[4] & 0x80:
        raw &= ~3
    return int(raw * 1000 / 16)
