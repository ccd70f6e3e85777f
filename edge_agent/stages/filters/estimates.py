"""Interface and results of the filters of a channel. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.reading import Flag

FilterState = tuple[float, ...]
"""State of a filter as a few finite numbers; stamps are nanoseconds since boot."""


class Model(NamedTuple):
    """Noise model of a channel.

    Attributes:
        noise: variance of one reading, canonical unit squared.
        level_per_s: growth of the variance of the level, canonical unit squared per second.
        slope_per_s: growth of the variance of the slope, (canonical unit per second) squared per second.
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
        """Current noise model of the channel; None if the filter has none."""

    def state(self) -> FilterState:
        """Complete state of the filter, for `restore`."""

    def restore(self, state: FilterState, shift_ns: int = 0) -> None:
        """Restore the state of a filter with the same settings.

        Args:
            state: as `state` returned it.
            shift_ns: added to its stamps, to convert those of another boot.

        Raises:
            ValueError: it is no state of such a filter.
        """
