"""Filter without settings: learns noise and sampling interval of one channel from its readings. Pure.

A bank of three fixed-gain filters runs on every reading: one of level only, two of level and slope (alpha-beta filters,
fast and slow; Bar-Shalom, Li, Kirubarajan: Estimation with Applications to Tracking and Navigation, 2001, §6.5). The
estimate is their weighted mean. The weight of a filter is (mean square of its prediction errors)^(-memory / 2), with
the memory in readings, as in dynamic model averaging (Raftery, Kárný, Ettler 2010). One of the gains, 0.27, is that of
a random walk with Q = R / 10, so that the result is no worse for a channel which fits that fixed filter.

Mean squares come from differences and scale with the readings, so neither unit nor offset matters. `outliers` judges
readings far from the prediction.

`Auto.run` has an inner loop for the usual case, a reading at the usual step and near the prediction: each filter then
needs two additions and two multiplications. `_take` handles the general case. Only the state decides which of the two
handles a reading, so the cut into blocks has no effect.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, inf, sqrt
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from edge_agent.clock import NS_PER_S
from edge_agent.reading import Flag
from edge_agent.stages.filters.bank import ALPHAS, BANK, BETAS, NO_STATE, SIZE, BankState, Shares
from edge_agent.stages.filters.estimates import Estimates, Model
from edge_agent.stages.filters.outliers import OutlierJudge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.stages.filters.estimates import FilterState

_NO_VALUE: Final = Flag.NO_VALUE
_UNUSED: Final = Flag.NO_VALUE | Flag.OUT_OF_RANGE
_OUTLIER: Final = Flag.OUTLIER
# Readings between two updates of the weights; the first _EARLY readings update them every time.
_REFRESH: Final = 64
_EARLY: Final = 16
# Readings from which the noise counts as known.
_FIRST: Final = 6
# Readings after a start until all three filters have their final gains.
_SETTLED: Final = 10
# A reading is suspicious beyond this many standard deviations from the prediction, squared.
_SUSPICIOUS_SQUARED: Final = 3.0**2
# Squared error, in variances of a surprise, that a refused reading adds to the mean squares.
_REFUSED_SQUARED: Final = 9.0
# A step counts as the usual one if it differs by at most this share.
_EVEN: Final = 1.0 / 16.0
# With a larger gain, past readings carry no information: the filter restarts.
_RESTART_GAIN: Final = 0.95
_LONG_AGO: Final = 1e9
# A stamp that is more than this many usual steps earlier than the last one belongs to another boot.
_OTHER_BOOT: Final = 1000
# Exponent by which an unusual step changes the usual step.
_PACE: Final = 1.0 / 16.0
# A gain of more than this many times the usual one means that there was a gap.
_MORE: Final = 1.2


@dataclass(frozen=True, slots=True)
class AutoSettings:
    """Optional prior knowledge of a channel.

    Attributes:
        sigma: noise of one reading (standard deviation), canonical unit; weighs as much as two readings; None: unknown.
        resolution: smallest difference that the chip can report, canonical unit; None: unknown.
    """

    stage: ClassVar = "auto"
    """Name under which the state is saved. Public: if it changes, saved states are lost."""

    sigma: float | None = None
    resolution: float | None = None

    def build(self) -> Auto:
        """Make a filter in its initial state."""
        return Auto(self)


class _Usual(NamedTuple):
    """Bounds within which the inner loop of `Auto.run` takes a reading.

    Attributes:
        soonest_ns, latest_ns: shortest and longest step from the reading before, nanoseconds; integers, because to
            compare a stamp with a float takes twice as long.
        limit: largest squared surprise, canonical unit squared; negative: the inner loop takes no reading.
        sigma: standard deviation of the error of every estimate within these bounds, canonical unit.
    """

    soonest_ns: int
    latest_ns: int
    limit: float
    sigma: float


class Auto:
    """The filter of one channel."""

    __slots__ = ("_at_ns", "_bank", "_changes", "_count", "_judge", "_last", "_left", "_shares", "_step_ns", "_usual")

    def __init__(self, settings: AutoSettings) -> None:
        self._count = 0
        self._at_ns = 0
        self._step_ns = 0.0  # usual step; 0: not known yet
        self._bank = NO_STATE
        self._shares = Shares(settings.sigma)
        self._judge = OutlierJudge(settings.resolution)
        self._left = 1  # readings until the next update of the weights
        self._changes: list[float] = []  # absolute changes between the first readings
        self._last = 0.0
        self._usual = self._usual_now()

    def run(self, times_ns: Sequence[int], values: Sequence[float | None], flags: list[Flag]) -> Estimates:
        """See `Filter.run`."""
        estimates, sigmas, innovations = result = Estimates([], [], [])
        shares = self._shares
        alpha0, alpha1, alpha2 = ALPHAS
        _, beta1, beta2 = BETAS
        at_ns, left = self._at_ns, self._left
        (level0, level1, level2), (_, slope1, slope2), age = self._bank
        sum0, sum1, sum2 = shares.sums
        soonest_ns, latest_ns, limit, sigma = self._usual
        share0, share1, share2 = shares.shares
        for now_ns, value, flag in zip(times_ns, values, flags):  # noqa: B905 strict takes a tenth longer
            if value is None or (flag and flag & _UNUSED):
                sigmas += [sigma] * (len(estimates) - len(sigmas))
                result.add(None if flag & _NO_VALUE else value)
                continue
            error0 = value - level0
            error1 = value - level1 - slope1
            error2 = value - level2 - slope2
            surprise = share0 * error0 + share1 * error1 + share2 * error2
            if surprise * surprise <= limit and soonest_ns <= now_ns - at_ns <= latest_ns:
                at_ns = now_ns
                level0 += alpha0 * error0
                level1 += slope1 + alpha1 * error1
                level2 += slope2 + alpha2 * error2
                slope1 += beta1 * error1
                slope2 += beta2 * error2
                sum0 += error0 * error0
                sum1 += error1 * error1
                sum2 += error2 * error2
                estimates.append(share0 * level0 + share1 * level1 + share2 * level2)
                innovations.append(surprise)
                left -= 1
                if left:
                    continue
            sigmas += [sigma] * (len(estimates) - len(sigmas))
            self._count_usual(at_ns, left)
            self._bank = BankState((level0, level1, level2), (0.0, slope1, slope2), age)
            shares.sums = [sum0, sum1, sum2]
            if not left:
                self._weigh()
            elif self._take(now_ns, value, result):
                flags[len(estimates) - 1] = flag | _OUTLIER
            at_ns, left = self._at_ns, self._left
            (level0, level1, level2), (_, slope1, slope2), age = self._bank
            sum0, sum1, sum2 = shares.sums
            soonest_ns, latest_ns, limit, sigma = self._usual = self._usual_now()
            share0, share1, share2 = shares.shares
        sigmas += [sigma] * (len(estimates) - len(sigmas))
        self._count_usual(at_ns, left)
        self._bank = BankState((level0, level1, level2), (0.0, slope1, slope2), age)
        shares.sums = [sum0, sum1, sum2]
        return result

    def _usual_now(self) -> _Usual:
        """Bounds of the inner loop for the next readings."""
        shares, step_ns = self._shares, self._step_ns
        even = step_ns * _EVEN
        calm = self._bank.age >= _SETTLED and self._count >= _EARLY and not self._judge.pending
        limit = _SUSPICIOUS_SQUARED * shares.noise if calm else -1.0
        sigma = sqrt(shares.gain * (1.0 - shares.gain) * shares.noise)
        return _Usual(ceil(step_ns - even), floor(step_ns + even), limit, sigma)

    def _count_usual(self, at_ns: int, left: int) -> None:
        """Add the readings that the inner loop took to the counts."""
        done = self._left - left
        self._at_ns, self._left = at_ns, left
        self._count += done
        self._shares.counted += done

    def _take(self, now_ns: int, value: float, result: Estimates) -> bool:
        """Estimate one reading in the general case. Returns whether it was refused."""
        shares, judge = self._shares, self._judge
        steps = self._steps(now_ns)
        alphas, betas, gain = ALPHAS, BETAS, shares.gain
        if steps != 1.0:
            alphas, betas = zip(*[gains.after(steps) for gains in BANK], strict=True)
            gain = shares.mean(alphas)
        self._count += 1
        if self._count == 1 or gain > _RESTART_GAIN:
            self._restart(value)
            result.add(value, sqrt(shares.noise), 0.0)
            return False
        self._learn_change(value)
        bank = self._bank.ahead(steps)
        predicted = shares.mean(bank.levels)
        surprise = value - predicted
        # The variance of a surprise grows with the step.
        noise = shares.noise * (1.0 - shares.gain) / (1.0 - gain)
        if self._count > _FIRST and surprise * surprise > _SUSPICIOUS_SQUARED * noise:
            judged = judge.judge(bank, value, noise, self._count, shares)
            if judged is None:
                self._bank = bank
                shares.refuse(_REFUSED_SQUARED)
                result.add(predicted, sqrt(noise * gain), surprise)
                return True
            bank = judged
        elif judge.pending:
            judge.settle(self._count)
        self._accept(bank, value, alphas, betas)
        sigma_gain = max(gain, 1.0 / (bank.age + 1.0))
        result.add(shares.mean(self._bank.levels), sqrt(sigma_gain * (1.0 - shares.gain) * shares.noise), surprise)
        return False

    def _steps(self, now_ns: int) -> float:
        """Return the time since the last reading in usual steps, ≥ 0, and update the usual step."""
        step_ns = now_ns - self._at_ns
        usual_ns = self._step_ns
        if self._count == 0 or step_ns < -_OTHER_BOOT * usual_ns:
            self._at_ns = now_ns
            return _LONG_AGO if self._count else 1.0
        if step_ns <= 0:
            return 0.0
        self._at_ns = now_ns
        if usual_ns == 0.0:
            self._step_ns = float(step_ns)
            return 1.0
        steps = step_ns / usual_ns
        if abs(steps - 1.0) <= _EVEN:
            return 1.0
        pace: float = min(2.0, max(0.5, steps)) ** _PACE
        self._step_ns *= pace
        self._bank = self._bank._replace(slopes=tuple(slope * pace for slope in self._bank.slopes))
        self._judge.former = None
        return steps / pace

    def _restart(self, value: float) -> None:
        """Restart at a reading; the learned noise and step are kept."""
        self._bank = BankState((value,) * SIZE, NO_STATE.slopes, 1)
        self._judge.forget()
        self._last = value

    def _learn_change(self, value: float) -> None:
        """Update the smallest change seen; collect the first changes, which give an upper bound of the noise."""
        change = abs(value - self._last)
        self._last = value
        if 0.0 < change < self._judge.grain:
            self._judge.grain = change
        if self._count <= _FIRST + 1:
            self._changes.append(change)

    def _accept(self, bank: BankState, value: float, gains: Sequence[float], slope_gains: Sequence[float]) -> None:
        """Correct all filters by a reading."""
        shares = self._shares
        # After a start, the estimate is the mean of the readings so far.
        least = 1.0 / (bank.age + 1.0)
        age = min(bank.age + 1, _SETTLED)
        gain = shares.mean(gains)
        if gain > shares.gain * _MORE:  # after a gap, past readings weigh less for some readings
            age = min(age, int(1.0 / gain))
        errors = [value - level for level in bank.levels]
        self._bank = BankState(
            tuple(
                level + max(gain, least) * error for level, gain, error in zip(bank.levels, gains, errors, strict=True)
            ),
            tuple(slope + gain * error for slope, gain, error in zip(bank.slopes, slope_gains, errors, strict=True)),
            age,
        )
        for index in range(SIZE):
            shares.sums[index] += errors[index] ** 2
        shares.counted += 1
        self._left -= 1
        if self._left <= 0:
            self._weigh()

    def _weigh(self) -> None:
        """Update the weights of the three filters."""
        if self._changes and self._count > _FIRST:
            # The median change of normal noise is 0.95 standard deviations; a spike hardly affects a median.
            usual = sorted(self._changes)[len(self._changes) // 2]
            if usual > 0.0:
                self._shares.cap(4.4 * usual * usual)
            self._changes = []
        self._shares.weigh(self._count - 1, self._judge.grain)
        self._left = _REFRESH if self._count >= _EARLY else 1

    def model(self) -> Model | None:
        """See `Filter.model`: the model whose steady-state gains are the mean gains (dt = 1: K = (α, β), R = 1)."""
        if self._step_ns == 0.0:
            return None
        alpha, beta = self._shares.gain, self._shares.mean(BETAS)
        surprise = 1.0 / (1.0 - alpha)
        noise, step_s = self._shares.noise / surprise, self._step_ns / NS_PER_S
        level = max(0.0, surprise * (alpha * alpha - 2.0 * beta + alpha * beta))
        slope = surprise * beta * beta
        return Model(noise, noise * level / step_s, noise * slope / step_s**3)

    def state(self) -> FilterState:
        """See `Filter.state`."""
        shares, judge, former = self._shares, self._judge, self._judge.former
        return (
            *(self._count, self._at_ns, self._step_ns, self._last, self._left, shares.noise, shares.counted),
            *(0.0 if judge.grain == inf else judge.grain, int(judge.refused), int(judge.upwards)),
            *(judge.former_count, judge.wary_until),
            *(*self._bank.levels, *self._bank.slopes, self._bank.age),
            *(*shares.sums, *shares.energies, *shares.shares),
            *(len(judge.pending), *judge.pending),
            *(len(self._changes), *self._changes),
            *(() if former is None else (*former.levels, *former.slopes, former.age)),
        )

    def restore(self, state: FilterState, shift_ns: int = 0) -> None:
        """See `Filter.restore`."""
        rest = list(state)

        def take(count: int) -> list[float]:
            if len(rest) < count:
                raise ValueError(f"{len(state)} numbers are no state of an automatic filter")
            taken = rest[:count]
            del rest[:count]
            return taken

        def bank_state() -> BankState:
            return BankState(tuple(take(SIZE)), tuple(take(SIZE)), int(take(1)[0]))

        shares, judge = self._shares, self._judge
        count, at_ns, self._step_ns, self._last, left, shares.noise, counted = take(7)
        grain, refused, upwards, former_count, wary_until = take(5)
        self._count, self._at_ns, self._left = int(count), int(at_ns) + shift_ns, int(left)
        shares.counted = int(counted)
        judge.grain, judge.refused, judge.upwards = grain or inf, bool(refused), bool(upwards)
        judge.former_count, judge.wary_until = int(former_count), int(wary_until)
        self._bank = bank_state()
        shares.sums, shares.energies = take(SIZE), take(SIZE)
        shares.mix(take(SIZE))
        judge.pending = take(int(take(1)[0]))
        self._changes = take(int(take(1)[0]))
        judge.former = bank_state() if rest else None
        self._usual = self._usual_now()
