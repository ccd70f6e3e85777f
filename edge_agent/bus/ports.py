"""Which other program uses a serial port, as far as the kernel shows it. For messages."""

from __future__ import annotations

import os
from pathlib import Path


def holder(device: str) -> str:
    """The program that holds the lock, as ` (minicom, pid 123)`; empty if the kernel does not show it."""
    try:
        inode = os.stat(device).st_ino  # noqa: PTH116 follows the by-id link
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            fields = line.split()
            if fields[1] == "FLOCK" and fields[5].endswith(f":{inode}"):
                name = Path(f"/proc/{fields[4]}/comm").read_text(encoding="utf-8").strip()
                return f" ({name}, pid {fields[4]})"
    except (OSError, IndexError, ValueError):
        return ""
    return ""


def console(device: str, consoles: Path = Path("/proc/consoles")) -> str:
    """How to free a port with a kernel console, as a clause to append; empty if there is no console on it."""
    try:
        names = [line.split()[0] for line in consoles.read_text(encoding="ascii").splitlines()]
    except (OSError, IndexError, ValueError):
        return ""
    if Path(os.path.realpath(device)).name not in names:
        return ""
    return "; the kernel's console is on it: remove console=serial0,115200 from /boot/firmware/cmdline.txt and reboot"
