"""Bank of three fixed-gain filters, weighted by their recent prediction errors. Pure."""

from __future__ import annotations

from math import inf, sqrt
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence


class Gains(NamedTuple):
    """Gains of one filter, and the covariance of the steady-state Kalman filter with these gains (step 1, noise 1)."""

    alpha: float
    beta: float
    p01: float
    p11: float
    drift: float
    """Process noise per step: variance of the level for a filter of level only, else of the acceleration."""

    def after(self, steps: float) -> tuple[float, float]:
        """Gains (alpha, beta) for a reading that comes `steps` usual steps after the last one."""
        if self.beta == 0.0:
            p00, p01 = self.alpha + self.drift * steps, 0.0
        else:
            p00 = self.alpha + steps * (2.0 * self.p01 + steps * self.p11)
            p00 += self.drift * steps * max(0.0, steps * steps / 3.0 - 1.0 / 12.0)
            p01 = self.p01 + steps * self.p11 + self.drift * steps * steps / 2.0
        return p00 / (p00 + 1.0), p01 / (p00 + 1.0)


def _level(alpha: float) -> Gains:
    return Gains(alpha, 0.0, 0.0, 0.0, alpha * alpha / (1.0 - alpha))


def _trend(alpha: float) -> Gains:
    beta = 2.0 * (2.0 - alpha) - 4.0 * sqrt(1.0 - alpha)
    return Gains(alpha, beta, beta, beta * (alpha - beta / 2.0) / (1.0 - alpha), beta * beta / (1.0 - alpha))


BANK: Final = (_level(0.27), _trend(0.5), _trend(0.1))
SIZE: Final = len(BANK)
ALPHAS: Final = tuple(gains.alpha for gains in BANK)
BETAS: Final = tuple(gains.beta for gains in BANK)
# Memory of the mean squared errors, in readings.
MEMORY: Final = 200


class BankState(NamedTuple):
    """State of the three filters: levels in the channel's unit, slopes in that unit per usual step."""

    levels: tuple[float, ...]
    slopes: tuple[float, ...]
    age: int
    """Readings since the last start of the filters; stops counting at a limit."""

    def ahead(self, steps: float) -> BankState:
        """Predict the state `steps` usual steps later."""
        levels = tuple(level + slope * steps for level, slope in zip(self.levels, self.slopes, strict=True))
        return self._replace(levels=levels)


NO_STATE: Final = BankState((0.0,) * SIZE, (0.0,) * SIZE, 0)


class Shares:
    """Mean squared prediction errors of the three filters, and their weights.

    Attributes:
        energies: mean squared error of each filter, canonical unit squared.
        noise: smallest of them: variance of a surprise, canonical unit squared.
        shares: weights; their sum is 1.
        gain: weighted mean of the level gains.
        sums: sums of squared errors since the last `weigh`, over `counted` readings.
    """

    __slots__ = ("counted", "energies", "gain", "noise", "prior", "shares", "sums")

    def __init__(self, sigma: float | None) -> None:
        self.prior = 0 if sigma is None else 2  # weight of the configured noise, in readings
        self.energies = [0.0 if sigma is None else sigma * sigma] * SIZE
        self.noise = self.energies[0]
        self.sums = [0.0] * SIZE
        self.counted = 0
        self.mix([1.0 / SIZE] * SIZE)

    def mix(self, shares: list[float]) -> None:
        """Set the weights; their sum must be 1."""
        self.shares = shares
        self.gain = self.mean(ALPHAS)

    def mean(self, of_each: Sequence[float]) -> float:
        """Weighted mean of one number per filter."""
        share0, share1, share2 = self.shares
        number0, number1, number2 = of_each
        return share0 * number0 + share1 * number1 + share2 * number2

    def refuse(self, squared: float) -> None:
        """Count a refused reading with a squared error of `squared` times the noise."""
        self.sums = [total + squared * self.noise for total in self.sums]
        self.counted += 1

    def double(self) -> None:
        """Double all mean squares: the noise has grown."""
        self.sums = [total * 2.0 for total in self.sums]
        self.energies = [energy * 2.0 for energy in self.energies]
        self.noise *= 2.0

    def cap(self, most: float) -> None:
        """Limit the mean squares to `most`, canonical unit squared."""
        self.energies = [min(energy, most) for energy in self.energies]

    def weigh(self, errors: int, grain: float) -> None:
        """Update mean squares and weights.

        Args:
            errors: number of readings with a prediction error so far.
            grain: smallest difference that the chip can report, canonical unit; infinite if not known.
        """
        memory = max(1, min(MEMORY, errors + self.prior))
        keep = max(0.0, 1.0 - self.counted / memory)
        (energy0, energy1, energy2), (sum0, sum1, sum2) = self.energies, self.sums
        energy0 = energy0 * keep + sum0 / memory
        energy1 = energy1 * keep + sum1 / memory
        energy2 = energy2 * keep + sum2 / memory
        self.energies = [energy0, energy1, energy2]
        self.sums = [0.0] * SIZE
        self.counted = 0
        least = min(self.energies)
        if grain < inf:
            least = max(least, grain * grain / 12.0)  # variance of rounding
        self.noise = least
        if least > 0.0:
            power = -memory / 2.0
            weight0 = (energy0 / least) ** power if energy0 > least else 1.0
            weight1 = (energy1 / least) ** power if energy1 > least else 1.0
            weight2 = (energy2 / least) ** power if energy2 > least else 1.0
            total = weight0 + weight1 + weight2
            self.mix([weight0 / total, weight1 / total, weight2 / total])
