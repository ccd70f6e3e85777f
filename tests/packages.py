"""Packages of others, as pip installs them: modules with an entry point, found by a program of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

ACME_DRIVER = '''
"""A driver in a package of its own."""
from edge_agent.bus.base import BusKind
from edge_agent.drivers.base import DriverInfo, Measured, NoOptions

class Acme:
    quantities = ("temperature_c",)
    def __init__(self, bus, address, options):
        self._bus, self._address = bus, address
    def probe(self):
        yield from ()
    def trigger(self):
        return 0
    def collect(self):
        return (float(self._bus.transfer(self._address, b"", 1)[0]),)

DRIVERS = (
    DriverInfo(
        name="acme9000", title="Acme 9000", source="Acme data sheet", bus=BusKind.I2C, addresses=(0x2A,),
        quantities=(Measured("temperature_c", 0.0, 255.0),), options=NoOptions, open=Acme,
    ),
)
'''


def install(folder: Path, name: str, group: str, source: str, attribute: str = "") -> None:
    """Put a module and its entry point of the same name into a folder; `attribute` is what the entry point names."""
    (folder / f"{name}.py").write_text(source)
    metadata = folder / f"{name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    target = f"{name}:{attribute}" if attribute else name
    (metadata / "entry_points.txt").write_text(f"[edge_agent.{group}]\n{name} = {target}\n")


def edge_agent(*arguments: str, path: Path, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    """Run the command with the packages of a folder installed."""
    environment = {"PYTHONPATH": f"{ROOT}:{path}", "PATH": ""}
    command = [sys.executable, "-m", "edge_agent", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False)
