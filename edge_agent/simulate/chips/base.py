"""Interfaces of chip models for each kind of bus, and what a model is made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, runtime_checkable

from edge_agent.simulate.world import Air

if TYPE_CHECKING:
    import random

    from edge_agent.clock import Clock

AirAt: TypeAlias = Callable[[int], Air]
"""Gives the air around a chip at a time in ns since boot."""


class Nack(Exception):
    """The chip does not acknowledge: busy, or the command is unknown to it."""


@runtime_checkable
class I2CChip(Protocol):
    """A chip on an I2C bus. Each call is one direction of a transaction; a STOP follows the last."""

    def write(self, data: bytes) -> None:
        """Take the bytes that the controller sends after the address; none at all are an address probe.

        Raises:
            Nack: the chip is busy, or does not know the command.
        """

    def read(self, count: int) -> bytes:
        """Give exactly `count` bytes. Raises Nack when there is nothing to give."""

    def power_cycle(self) -> None:
        """Lose all volatile state, and start."""


@runtime_checkable
class W1Chip(Protocol):
    """A thermometer on a 1-Wire bus, as the kernel driver w1_therm uses it.

    Attributes:
        name: family and serial, e.g. `28-0123456789ab`.
    """

    name: str

    def start(self) -> None:
        """Start a conversion."""

    def convert(self) -> None:
        """Convert at once, as when the kernel waits for the conversion."""

    def scratchpad(self) -> bytes:
        """The nine bytes of the scratchpad, with its CRC."""

    def power_cycle(self) -> None:
        """Lose the last conversion."""


Subsystem: TypeAlias = Literal["iio", "hwmon"]


@runtime_checkable
class KernelChip(Protocol):
    """A chip that a kernel driver reads, as that driver shows it in sysfs.

    Attributes:
        subsystem: the tree that it is in.
        name: the kernel's name of it, e.g. `bme280`.
        device: where it is connected, e.g. `1-0077`.
    """

    subsystem: Subsystem
    name: str
    device: str

    def files(self) -> tuple[str, ...]:
        """Names of its files other than `name`."""

    def show(self, file: str) -> str:
        """The text of one file, made at this moment.

        Raises:
            OSError: as from the kernel driver when there is no conversion.
        """

    def power_cycle(self) -> None:
        """Lose all volatile state; the kernel driver does not notice."""


@runtime_checkable
class SerialTalker(Protocol):
    """A device that sends by itself, without a request."""

    def speak(self) -> bytes:
        """What it has sent since the last call or since power-on; after a long time only the newest part."""

    def power_cycle(self) -> None:
        """Start, and send the power-on text."""


@runtime_checkable
class SerialSlave(Protocol):
    """A device that answers requests, on a line that it may share with others."""

    def frame_length(self, received: bytes) -> int | None:
        """Length of the request at the start of `received`; None while too few bytes have come."""

    def respond(self, frame: bytes) -> bytes | None:
        """The answer to one request, or None to stay silent."""

    def power_cycle(self) -> None:
        """Lose all volatile state, and start."""


AnyChip: TypeAlias = I2CChip | W1Chip | KernelChip | SerialSlave | SerialTalker


@dataclass(frozen=True, slots=True)
class Part:
    """What a chip model is made from.

    Attributes:
        clock: the time; only read.
        air: what it measures.
        random: for calibration values and noise; used by this chip only.
        address: on its bus; 0 where the bus has none.
        options: the options of the driver that will read it, by name: e.g. `profile` or `serial`. The model chooses
            what is not given.
    """

    clock: Clock
    air: AirAt
    random: random.Random
    address: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)


Makers: TypeAlias = Mapping[str, Callable[[Part], AnyChip]]
"""Type of `CHIPS` in a chip's module: functions that make a chip, by the name of the driver that reads it."""
