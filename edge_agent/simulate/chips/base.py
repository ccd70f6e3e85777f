"""What a chip model is made from, and how each kind of bus speaks to one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, runtime_checkable

from edge_agent.simulate.world import Air

if TYPE_CHECKING:
    import random

    from edge_agent.clock import Clock

AirAt: TypeAlias = Callable[[int], Air]
"""The air around a chip at a moment in ns since boot."""


class Nack(Exception):
    """The chip does not acknowledge: busy, or the command is unknown to it."""


@runtime_checkable
class I2CChip(Protocol):
    """A chip on an I2C bus. Each call is one direction of a transaction; a STOP follows the last."""

    def write(self, data: bytes) -> None:
        """Take what the controller sends after the address; nothing at all is an address probe.

        Raises:
            Nack: not now, or not that.
        """

    def read(self, count: int) -> bytes:
        """Give exactly `count` bytes. Raises Nack when there is nothing to give."""

    def power_cycle(self) -> None:
        """Lose everything that is volatile, and start now."""


@runtime_checkable
class W1Chip(Protocol):
    """A thermometer on a 1-Wire bus, as the kernel's w1_therm speaks to one.

    Attributes:
        name: family and serial, e.g. `28-0123456789ab`.
    """

    name: str

    def start(self) -> None:
        """Start a conversion, which ends after its own time."""

    def convert(self) -> None:
        """Convert at once, as if the kernel had waited."""

    def scratchpad(self) -> bytes:
        """The nine bytes of the scratchpad, with its CRC."""

    def power_cycle(self) -> None:
        """Lose the last conversion."""


Subsystem: TypeAlias = Literal["iio", "hwmon"]


@runtime_checkable
class KernelChip(Protocol):
    """A chip that a driver of the kernel reads, as that driver shows it.

    Attributes:
        subsystem: whose tree it is in.
        name: what the kernel calls it, e.g. `bme280`.
        device: where it is connected, e.g. `1-0077`.
    """

    subsystem: Subsystem
    name: str
    device: str

    def files(self) -> tuple[str, ...]:
        """Names of the files that it has beside `name`."""

    def show(self, file: str) -> str:
        """The text of one file, made at this moment.

        Raises:
            OSError: as the kernel's driver; there is no conversion.
        """

    def power_cycle(self) -> None:
        """Lose what is volatile; the kernel's driver does not notice."""


@runtime_checkable
class SerialTalker(Protocol):
    """A device that sends of its own accord."""

    def speak(self) -> bytes:
        """What it has sent since the last call, or since it was switched on; only the last of it after a long time."""

    def power_cycle(self) -> None:
        """Start anew, with what it says at its start."""


@runtime_checkable
class SerialSlave(Protocol):
    """A device that speaks when it is spoken to, on a line that it may share."""

    def frame_length(self, received: bytes) -> int | None:
        """How long the request at the start of `received` is; None while that cannot be told."""

    def respond(self, frame: bytes) -> bytes | None:
        """The answer to one request, or None to stay silent."""

    def power_cycle(self) -> None:
        """Lose what is volatile, and start now."""


AnyChip: TypeAlias = I2CChip | W1Chip | KernelChip | SerialSlave | SerialTalker


@dataclass(frozen=True, slots=True)
class Part:
    """What a maker of chips is given.

    Attributes:
        clock: time as the chip knows it; only read.
        air: what it measures.
        random: calibration spread and noise; belongs to this chip alone.
        address: where it answers on its bus; 0 where the bus has none.
        options: what the driver that will read it was told, by name: which of several kinds it is to expect
            (`profile`), the number burnt in (`serial`). What is not there is the model's to choose.
    """

    clock: Clock
    air: AirAt
    random: random.Random
    address: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)


Makers: TypeAlias = Mapping[str, Callable[[Part], AnyChip]]
"""Type of `CHIPS` in a chip's module: makes a chip, by the name of the driver that reads it."""
