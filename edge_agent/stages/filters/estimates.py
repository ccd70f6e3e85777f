"""What every filter of a channel gives, and what it takes to be one. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.reading import Flag

FilterState = tuple[float, ...]
"""What a filter remembers, as plain numbers, finite and few; stamps are nanoseconds since boot."""


class Model(NamedTuple):
    """How a channel behaves.

    Attributes:
        noise: variance of one reading, canonical unit squared.
        level_per_s: variance that the level gains in a second by itself.
        slope_per_s: variance that the slope, in units per second, gains in a second.
    """

    noise: float
    level_per_s: float
    slope_per_s: float


class Estimates(NamedTuple):
    """A block of estimates of one channel, one entry per reading, canonical unit.

    Attributes:
        values: None for NO_VALUE, the measured value for OUT_OF_RANGE, the prediction for outliers.
        sigmas: standard deviation of the error of the value; None where the filter did not estimate.
        innovations: measured minus predicted value; None where the filter did not estimate.
    """

    values: list[float | None]
    sigmas: list[float | None]
    innovations: list[float | None]

    def add(self, value: float | None, sigma: float | None = None, innovation: float | None = None) -> None:
        """Append one reading."""
        self.values.append(value)
        self.sigmas.append(sigma)
        self.innovations.append(innovation)


class Filter(Protocol):
    """The filter of one channel."""

    def run(self, times_ns: Sequence[int], values: Sequence[float | None], flags: list[Flag]) -> Estimates:
        """Estimate a block.

        Args:
            times_ns: nanoseconds since boot. A stamp that is not later than the one before it counts as the
                same moment: the reading is used, and nothing is predicted backwards.
            values: measured, canonical unit; finite unless flagged NO_VALUE.
            flags: as the validator set them, one per reading; OUTLIER is added in place where it applies.
        """

    def model(self) -> Model | None:
        """How it takes the channel to behave by now; None if it has no idea of that."""

    def state(self) -> FilterState:
        """Everything that `restore` needs to go on as if nothing had happened."""

    def restore(self, state: FilterState, shift_ns: int = 0) -> None:
        """Take over what a filter of the same settings remembered.

        Args:
            state: of that filter.
            shift_ns: is added to its stamps: those of another boot mean nothing in this one.

        Raises:
            ValueError: the state is none of this filter's.
        """
