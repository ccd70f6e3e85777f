"""What a driver is: its declaration, and the three things it can do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge_agent.bus.base import BusKind


class Driver(Protocol):
    """One chip on one bus. Never sleeps: it says how long to wait, and the caller waits for all at once.

    Attributes:
        quantities: what it measures, in the order of the values that `collect` returns. Final after `probe`: a
            board sold as one chip may carry a smaller relative.
    """

    quantities: tuple[str, ...]

    def probe(self) -> Iterator[int]:
        """Identify, reset and configure the chip.

        Yields:
            Nanoseconds to wait before going on. When the iterator ends the chip is ready.

        Raises:
            WrongChip: something else answers. Other BusError or DriverError: try again later.
        """

    def trigger(self) -> int:
        """Start one conversion. Returns the nanoseconds after which it can be collected, at the latest."""

    def collect(self) -> tuple[float | None, ...]:
        """Read the conversion: one value per entry of `quantities`, in canonical units; None where the chip has none.

        Raises:
            NotReady, ChecksumMismatch, BadReply, BusError: there is no measurement this time.
        """


@dataclass(frozen=True, slots=True)
class Measured:
    """One quantity as one chip measures it.

    Attributes:
        quantity: name in `quantity.QUANTITIES`.
        minimum, maximum: what the chip can measure, canonical unit; outside, the reading is bad.
        resolution: step worth sending, canonical unit; None takes the quantity's own.
        accuracy: typical absolute error, canonical unit, for the table that people read.
    """

    quantity: str
    minimum: float
    maximum: float
    resolution: float | None = None
    accuracy: float | None = None


@dataclass(frozen=True, slots=True)
class DriverInfo:
    """A driver's declaration: what stands in `edge-agent drivers` and what the configuration is checked against.

    Attributes:
        name: as in the configuration.
        title: maker and chip, for people.
        source: datasheet and revision.
        bus: kind of bus it needs.
        addresses: allowed addresses, default first; empty where the bus has none (then `address` is refused, and
            the sensor is named by an option).
        quantities: what it measures.
        options: frozen dataclass of its own configuration keys, every field with a default or required.
        open: makes the driver: `open(bus, address, options)`. Touches nothing yet.
    """

    name: str
    title: str
    source: str
    bus: BusKind
    addresses: tuple[int, ...]
    quantities: tuple[Measured, ...]
    options: type[Any]
    open: Callable[[Any, int, Any], Driver]


@dataclass(frozen=True, slots=True)
class NoOptions:
    """For drivers without configuration keys of their own."""
