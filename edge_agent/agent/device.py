"""What is written to the block device that holds the outbox, by the kernel's count of sectors."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SECTOR_BYTES: Final = 512
"""Unit of the kernel's counters, whatever the sectors of the device are."""
_WRITTEN: Final = 6
"""Place of the sectors written in `stat` (Documentation/block/stat.rst)."""


@dataclass(frozen=True, slots=True)
class DevicePart:
    """The device that holds the outbox.

    Attributes:
        name: of the kernel, e.g. `mmcblk0p2`; empty: not known, as on a file system in memory or of several devices.
        written_bytes: what all programs and the file system wrote to it since the agent was made; None: not known.
    """

    name: str = ""
    written_bytes: int | None = None


class Device:
    """The device that holds a directory.

    Args:
        directory: the directory.
        sys_root: where the kernel shows devices.
    """

    def __init__(self, directory: Path, sys_root: Path = Path("/sys")) -> None:
        self._folder: Path | None = None
        self._before: int | None = None
        try:
            number = directory.stat().st_dev
            self._folder = (sys_root / "dev" / "block" / f"{os.major(number)}:{os.minor(number)}").resolve(strict=True)
        except OSError:
            return
        self._before = self._sectors()

    def part(self) -> DevicePart:
        """What was written so far."""
        now = self._sectors()
        if self._folder is None or self._before is None or now is None:
            return DevicePart()
        return DevicePart(self._folder.name, (now - self._before) * _SECTOR_BYTES)

    def _sectors(self) -> int | None:
        if self._folder is None:
            return None
        try:
            return int((self._folder / "stat").read_text(encoding="ascii").split()[_WRITTEN])
        except (OSError, ValueError, IndexError):
            return None
