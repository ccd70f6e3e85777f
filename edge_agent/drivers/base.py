"""What a driver is: its declaration, and the three things it can do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from edge_agent.bus.base import BusKind, I2CBus


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
            NotReady: not yet; it will be asked again soon, until the poll's time is up.
            ChipWasReset: it lost its settings; it will be probed and triggered anew, in the same poll.
            ChecksumMismatch, BadReply, BusError: there is no measurement this time.
        """


@dataclass(frozen=True, slots=True)
class Measured:
    """One quantity as one chip measures it.

    Attributes:
        quantity: name in `quantity.QUANTITIES`.
        minimum, maximum: what the chip can measure, canonical unit; outside, the reading is bad.
        resolution: step worth sending, canonical unit; None takes the quantity's own.
        accuracy: typical absolute error, canonical unit, for the table that people read.
        lsb: what one count of the chip is worth at its default options, canonical unit; None where that is not
            one number (compensated, or a text).
    """

    quantity: str
    minimum: float
    maximum: float
    resolution: float | None = None
    accuracy: float | None = None
    lsb: float | None = None


def checked_quantities(quantities: tuple[str, ...], offered: tuple[Measured, ...]) -> tuple[Measured, ...]:
    """The declarations of the quantities that are wanted, in the driver's order.

    Raises:
        ValueError: one of them is not offered, or there is none.
    """
    names = [measured.quantity for measured in offered]
    if wrong := [quantity for quantity in quantities if quantity not in names]:
        raise ValueError(f"quantities must be of {', '.join(names)}, not {wrong[0]!r}")
    if not quantities:
        raise ValueError(f"quantities must name one or more of {', '.join(names)}")
    return tuple(measured for measured in offered if measured.quantity in quantities)


Recognise: TypeAlias = Callable[["I2CBus", int], str | None]
"""Says which chip of the driver's answers at an address, by its name; None if none of them. May raise what a bus
raises: no acknowledge then means none of them."""


@dataclass(frozen=True, slots=True)
class Found:
    """A sensor that a bus shows by itself.

    Attributes:
        title: for people.
        options: of the driver that reads it, as they stand in the configuration.
    """

    title: str
    options: Mapping[str, str | int | list[str]]


@dataclass(frozen=True, slots=True)
class IdentityRegister:
    """An 8-bit register whose value names the chip.

    Attributes:
        register: its number.
        chips: chip by the value that it holds.
    """

    register: int
    chips: Mapping[int, str]


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
        quantities: everything that it can measure; `measures` tells what it does with given options.
        options: frozen dataclass of its own configuration keys, every one with a default.
        open: makes the driver: `open(bus, address, options)`. Touches nothing yet.
        conversion_s: longest time from trigger to collect at the default options; 0 where nothing is triggered.
        checksum: whether every reply carries one, so that no damaged bit can pass for a value.
        period_s: how often it is measured unless the configuration says otherwise.
        shortest_period_s: more often it cannot be measured, or should not (self-heating, wear of the bus).
        settling: how many measurements after each start are shown as suspect.
        stuck_after: so many measurements in a row without the least change are impossible, because the chip
            resolves its own noise; 0 where a still reading is no news.
        recognise: for `scan`; None where the chip cannot be told from others without risk.
        recognise_rank: who is asked first at an address that several drivers share. 0: reads one register of an
            identity; higher: needs a command that another chip might take for an order.
        identity: register that names the chip, so that the drivers of other chips at the address can name it too;
            None where the chip has none of 8 bits.
        find: for `scan`: what a bus without addresses shows; None where it shows nothing.
        device: where such a bus usually is, e.g. `/sys/bus/w1/devices`.
        slowest: how often it can be measured with given options, s; None: `shortest_period_s`, whatever the options.
        narrow: what is measured with given options; None: all of `quantities`, whatever the options.
    """

    name: str
    title: str
    source: str
    bus: BusKind
    addresses: tuple[int, ...]
    quantities: tuple[Measured, ...]
    options: type[Any]
    open: Callable[[Any, int, Any], Driver]
    conversion_s: float = 0.0
    checksum: bool = False
    period_s: float = 1.0
    shortest_period_s: float = 0.01
    settling: int = 0
    stuck_after: int = 0
    recognise: Recognise | None = None
    recognise_rank: int = 0
    identity: IdentityRegister | None = None
    find: Callable[[Any], Iterable[Found]] | None = None
    device: str = ""
    slowest: Callable[[Any], float] | None = None
    narrow: Callable[[Any], tuple[Measured, ...]] | None = None

    def measures(self, options: Any) -> tuple[Measured, ...]:
        """What a sensor with these options measures, an instance of `self.options`."""
        return self.quantities if self.narrow is None else self.narrow(options)

    def least_period_s(self, options: Any) -> float:
        """More often a sensor with these options cannot be measured, or should not."""
        return self.shortest_period_s if self.slowest is None else self.slowest(options)


@dataclass(frozen=True, slots=True)
class NoOptions:
    """For drivers without configuration keys of their own."""
