"""Simulated kernel drivers: the sysfs trees of Industrial I/O and of hardware monitoring, with chip models in them.

Sources: Linux Documentation/ABI/testing/sysfs-bus-iio and sysfs-class-hwmon; links are laid out as on a Raspberry Pi.
"""

from __future__ import annotations

import shutil
from functools import partial
from typing import TYPE_CHECKING, Final

from edge_agent.simulate.sysfs import SimulatedTree

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.simulate.chips.base import KernelChip, Subsystem

_PREFIX: Final = {"iio": "iio:device", "hwmon": "hwmon"}
_CPU_FILES: Final = {"name": "cpu_thermal\n", "temp1_input": "48686\n"}


class SimulatedKernel(SimulatedTree):
    """`/sys/bus/iio/devices` or `/sys/class/hwmon` in a temporary directory.

    Args:
        directory: an empty directory; the tree is made in it.
        subsystem: which of the two.
        label: what messages call it; by default `directory`.
    """

    def __init__(self, directory: Path, subsystem: Subsystem, label: str = "") -> None:
        root = directory / "tree"
        root.mkdir()
        super().__init__(root, label)
        self._devices = directory / "devices"
        self._subsystem = subsystem
        self._entries: dict[str, KernelChip] = {}
        self._chips: list[KernelChip] = []
        if subsystem == "hwmon":  # every Pi has this one, and it does not measure the air
            home = self._home("virtual/thermal/thermal_zone0", "hwmon0")
            for file, text in _CPU_FILES.items():
                (home / file).write_text(text, encoding="ascii")
        else:  # an entry that is not a device
            (root / "iio_sysfs_trigger").mkdir()

    def attach(self, chip: KernelChip) -> None:
        """Bind the kernel driver to a chip; it gets the lowest free number."""
        self._chips.append(chip)
        self.bind(chip)

    def entry(self, chip: KernelChip) -> str:
        """Name of the directory of a chip, e.g. `iio:device0`. Raises KeyError while it is not bound."""
        for entry, bound in self._entries.items():
            if bound is chip:
                return entry
        raise KeyError(chip.device)

    def unbind(self, chip: KernelChip) -> None:
        """Remove the directory, as when an adapter is unplugged or a driver is unloaded. Raises as `entry`."""
        entry = self.entry(chip)
        shutil.rmtree((self.directory / entry).resolve())
        (self.directory / entry).unlink()
        del self._entries[entry]

    def bind(self, chip: KernelChip) -> None:
        """Create the directory under the lowest free number. Does nothing if the chip is bound."""
        if chip in self._entries.values():
            return
        number = 0
        while (self.directory / f"{_PREFIX[self._subsystem]}{number}").is_symlink():
            number += 1
        entry = f"{_PREFIX[self._subsystem]}{number}"
        between = "" if self._subsystem == "iio" else "/hwmon"
        home = self._home(f"platform/soc/fe804000.i2c/i2c-1/{chip.device}{between}", entry)
        (home / "name").write_text(f"{chip.name}\n", encoding="ascii")
        for file in chip.files():
            self._provide(home / file, partial(chip.show, file))
        self._entries[entry] = chip

    def renumber(self) -> None:
        """Bind all chips again in reverse order, as may happen at the next start."""
        for chip in self._chips:
            self.unbind(chip)
        self._chips.reverse()
        for chip in self._chips:
            self.bind(chip)

    def _home(self, place: str, entry: str) -> Path:
        home = self._devices / place / entry
        home.mkdir(parents=True)
        (self.directory / entry).symlink_to(home)
        return home
