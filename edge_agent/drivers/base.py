"""The interface of a driver, and its declaration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from edge_agent.quantity import QUANTITIES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from edge_agent.bus.base import BusKind, I2CBus


class Driver(Protocol):
    """One chip on one bus. Never sleeps: it returns how long to wait, and the caller waits for all drivers at once.

    Attributes:
        quantities: what it measures, in the order of the values that `collect` returns. Final after `probe`: a
            board sold with one chip may carry another one with fewer quantities.
    """

    quantities: tuple[str, ...]

    def probe(self) -> Iterator[int]:
        """Identify, reset and configure the chip.

        Yields:
            Nanoseconds to wait before going on. When the iterator ends the chip is ready.

        Raises:
            WrongChip: another chip answers. Other BusError or DriverError: to be tried again later.
        """

    def trigger(self) -> int:
        """Start one conversion. Returns the nanoseconds after which it can be collected, at the latest."""

    def collect(self) -> tuple[float | None, ...]:
        """Read the conversion: one value per entry of `quantities`, in canonical units; None where the chip has none.

        Raises:
            NotReady: the conversion has not ended. The caller asks again until the time of the poll is up.
            ChipWasReset: the chip lost its settings. The caller probes and triggers it again in the same poll.
            ChecksumMismatch, BadReply, BusError: no measurement this time.
        """


@dataclass(frozen=True, slots=True)
class Measured:
    """One quantity as one chip measures it.

    Attributes:
        quantity: name in `quantity.QUANTITIES`.
        minimum, maximum: range of the chip, canonical unit; a reading outside it is bad.
        resolution: step of the values that are sent, canonical unit; None takes that of the quantity.
        accuracy: typical absolute error, canonical unit, for the table of drivers.
        lsb: value of one count of the chip at its default options, canonical unit; None where it is not constant.
    """

    quantity: str
    minimum: float
    maximum: float
    resolution: float | None = None
    accuracy: float | None = None
    lsb: float | None = None


def checked_quantities(quantities: tuple[str, ...], offered: tuple[Measured, ...]) -> tuple[Measured, ...]:
    """The declarations of the configured quantities, in the order of the driver.

    Raises:
        ValueError: the driver does not measure one of them, or none is given.
    """
    names = [measured.quantity for measured in offered]
    if wrong := [quantity for quantity in quantities if quantity not in names]:
        raise ValueError(f"quantities must be of {', '.join(names)}, not {wrong[0]!r}")
    if not quantities:
        raise ValueError(f"quantities must name one or more of {', '.join(names)}")
    return tuple(measured for measured in offered if measured.quantity in quantities)


def declared(quantity: str, offered: tuple[Measured, ...]) -> Measured:
    """The declaration of a quantity that a user named; one that is not offered has the quantity's own limits."""
    own = Measured(quantity, QUANTITIES[quantity].minimum, QUANTITIES[quantity].maximum)
    return next((measured for measured in offered if measured.quantity == quantity), own)


Recognise: TypeAlias = Callable[["I2CBus", int], str | None]
"""Returns the name of the chip at an address if it is one of the driver's; otherwise None, or raises NoAcknowledge or a
DriverError. Other errors of the bus pass through."""


@dataclass(frozen=True, slots=True)
class Found:
    """A sensor that a bus without addresses lists.

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
    """Declaration of a driver. `edge-agent drivers` shows it, and the configuration is checked against it.

    Attributes:
        name: as in the configuration.
        title: maker and chip, for people.
        source: datasheet and revision.
        bus: kind of bus it needs.
        addresses: allowed addresses, default first; empty where the bus has none: `address` is then refused, and an
            option names the sensor.
        quantities: all that it can measure; `measures` gives those that it measures with given options.
        options: frozen dataclass of its own configuration keys, every one with a default.
        open: makes the driver: `open(bus, address, options)`. Makes no transfer.
        conversion_s: longest time from trigger to collect at the default options; 0 where nothing is triggered.
        checksum: whether every reply has a checksum.
        period_s: default period of measurements.
        shortest_period_s: shortest period, limited by the conversion, self-heating or load of the bus.
        settling: number of measurements after each start that are marked as suspect.
        stuck_after: after so many equal measurements in a row the chip counts as stuck, because it resolves its own
            noise; 0 where equal measurements are normal.
        recognise: for `scan`; None where the chip cannot be identified without risk.
        recognise_rank: order in which the drivers of one address are tried. 0: reads an identity register; higher:
            needs a command that may have an effect on another chip.
        identity: register that names the chip. The drivers of other chips at the address use it to name this one.
            None where the chip has no such register of 8 bits.
        find: for `scan`: lists the sensors of a bus without addresses; None where it cannot.
        device: usual path of such a bus, e.g. `/sys/bus/w1/devices`.
        slowest: gives the shortest period with given options, s; None: `shortest_period_s` for all options.
        narrow: gives the quantities measured with given options; None: all of `quantities` for all options.
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
        """The quantities that a sensor with these options, an instance of `self.options`, measures."""
        return self.quantities if self.narrow is None else self.narrow(options)

    def least_period_s(self, options: Any) -> float:
        """Shortest period of a sensor with these options, s."""
        return self.shortest_period_s if self.slowest is None else self.slowest(options)


@dataclass(frozen=True, slots=True)
class NoOptions:
    """For drivers without configuration keys of their own."""
