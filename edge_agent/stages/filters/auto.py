"""The filter that needs no settings: it learns noise and pace of one channel from its readings. Pure.

Three small filters run side by side on every reading: one of level only, two of level and slope (alpha-beta filters,
fast and slow; Bar-Shalom, Li, Kirubarajan: Estimation with Applications to Tracking and Navigation, 2001, §6.5).
What is shown is the mean of the three, weighed by how well each has predicted of late: its share is (energy of its
errors)^(-readings remembered / 2), as in dynamic model averaging (Raftery, Kárný, Ettler 2010). A gain of 0.27, which
is that of a random walk with Q = R / 10, is among them, so that a channel for which a fixed filter happens to be right
loses nothing.

Energies scale with the readings and see only differences, so neither unit nor offset matters.

What is odd is weighed in `doubt`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt
from typing import TYPE_CHECKING, Final, NamedTuple

from edge_agent.clock import NS_PER_S
from edge_agent.reading import Flag
from edge_agent.stages.filters.bank import ALPHAS, BANK, BETAS, NOWHERE, SIZE, Course, Shares
from edge_agent.stages.filters.estimates import Estimates, Model
from edge_agent.stages.filters.outliers import GATE_SQUARED, Doubt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.stages.filters.estimates import FilterState

_NO_VALUE: Final = Flag.NO_VALUE
_UNUSED: Final = Flag.NO_VALUE | Flag.OUT_OF_RANGE
_OUTLIER: Final = Flag.OUTLIER
# Shares are computed anew after so many readings.
REFRESH: Final = 64
# Before, after every one.
_EARLY: Final = 16
# A few readings tell nothing of noise.
_FIRST: Final = 6
# From here on, none of the three learns faster than it does for ever.
_GROWN_UP: Final = 10
# Further from the prediction than so many standard deviations: odd.
ODD_SQUARED: Final = 3.0**2
# Up to here, as a multiple of that, a reading is surely not refused.
_MERELY_ODD: Final = GATE_SQUARED / ODD_SQUARED * (1.0 - 1e-9)
# A refused reading counts in the energies as one so far off.
_REFUSED_SQUARED: Final = 9.0
# Steps may differ from the usual by this share and count as the usual.
_EVEN: Final = 1.0 / 16.0
# When a reading would decide alone by more than this, the past has nothing to add.
_LOST: Final = 0.95
_LONG_AGO: Final = 1e9
# Time that runs back by more usual steps than this is that of another boot.
_OTHER_BOOT: Final = 1000
# How much the memory of the usual step gives way to one that is not.
_PACE: Final = 1.0 / 16.0
# A gain so much higher than usual tells of a gap.
_MORE: Final = 1.2


@dataclass(frozen=True, slots=True)
class AutoSettings:
    """What is known of a channel before its first reading. Nothing need be.

    Attributes:
        sigma: noise of one reading (standard deviation), canonical unit; counts as much as two readings.
        resolution: smallest difference that the chip tells, canonical unit.
    """

    sigma: float | None = None
    resolution: float | None = None

    def build(self) -> Auto:
        """A filter that has seen nothing yet."""
        return Auto(self)


class _Quick(NamedTuple):
    """Which readings take the quick road: those that come at the usual step and surprise nobody.

    Attributes:
        soonest_ns, latest_ns: after the reading before.
        limit: largest square of a surprise; negative while no reading may.
        sigma: of all their estimates.
    """

    soonest_ns: float
    latest_ns: float
    limit: float
    sigma: float


class Odd(NamedTuple):
    """A reading that is odd but not refused, with the one after it, which is not odd."""

    value: float
    following: float
    upwards: bool


class Auto:
    """The filter of one channel."""

    __slots__ = ("_at_ns", "_changes", "_count", "_course", "_doubt", "_last", "_left", "_shares", "_step_ns")

    def __init__(self, settings: AutoSettings) -> None:
        self._count = 0
        self._at_ns = 0
        self._step_ns = 0.0  # the usual one; 0: not known yet
        self._course = NOWHERE
        self._shares = Shares(settings.sigma)
        self._doubt = Doubt(settings.resolution)
        self._left = 1  # readings until the shares are computed anew
        self._changes: list[float] = []  # of the first readings
        self._last = 0.0

    def run(self, times_ns: Sequence[int], values: Sequence[float | None], flags: list[Flag]) -> Estimates:
        """See `Filter.run`."""
        estimates, sigmas, innovations = result = Estimates([], [], [])
        shares = self._shares
        alpha0, alpha1, alpha2 = ALPHAS
        _, beta1, beta2 = BETAS
        at_ns, left = self._at_ns, self._left
        (level0, level1, level2), (_, slope1, slope2), age = self._course
        sum0, sum1, sum2 = shares.sums
        soonest_ns, latest_ns, limit, sigma = self._quick()
        share0, share1, share2 = shares.shares
        for now_ns, value, flag in zip(times_ns, values, flags, strict=True):
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
            self._note(at_ns, left)
            self._course = Course((level0, level1, level2), (0.0, slope1, slope2), age)
            shares.sums = [sum0, sum1, sum2]
            if not left:
                self._weigh()
            elif self._take(now_ns, value, result):
                flags[len(estimates) - 1] = flag | _OUTLIER
            at_ns, left = self._at_ns, self._left
            (level0, level1, level2), (_, slope1, slope2), age = self._course
            sum0, sum1, sum2 = shares.sums
            soonest_ns, latest_ns, limit, sigma = self._quick()
            share0, share1, share2 = shares.shares
        sigmas += [sigma] * (len(estimates) - len(sigmas))
        self._note(at_ns, left)
        self._course = Course((level0, level1, level2), (0.0, slope1, slope2), age)
        shares.sums = [sum0, sum1, sum2]
        return result

    def _quick(self) -> _Quick:
        """What the quick road needs."""
        shares, step_ns = self._shares, self._step_ns
        even = step_ns * _EVEN
        calm = self._course.age >= _GROWN_UP and self._count >= _EARLY and not self._doubt.pending
        limit = ODD_SQUARED * shares.noise if calm else -1.0
        sigma = sqrt(shares.gain * (1.0 - shares.gain) * shares.noise)
        return _Quick(step_ns - even, step_ns + even, limit, sigma)

    # What `fleet` needs, which takes many channels along the quick road at once.

    @property
    def at_ns(self) -> int:
        """Stamp of the latest reading, nanoseconds since boot."""
        return self._at_ns

    def is_calm(self) -> bool:
        """Whether the next reading may take the quick road."""
        calm = self._course.age >= _GROWN_UP and self._count >= _EARLY and not self._doubt.pending
        return calm and not self._changes

    def depart(self) -> tuple[float, ...]:
        """Numbers that change on the quick road, then those that it goes by.

        The last three are the shortest and longest step that counts as the usual one, ns, and how large the square of
        a surprise may be for the reading to be merely odd, as a multiple of ODD_SQUARED of its variance.
        """
        shares, grain, even = self._shares, self._doubt.grain, self._step_ns * _EVEN
        return (
            *self._course.levels,
            *self._course.slopes,
            *shares.shares,
            *shares.sums,
            *shares.energies,
            *(shares.noise, self._left, self._count, shares.counted),
            *(shares.prior, grain * grain / 12.0 if grain < inf else 0.0),
            *(self._step_ns - even, self._step_ns + even, 0.0 if self._doubt.regrets(self._count) else _MERELY_ODD),
        )

    def arrive(self, at_ns: int, end: Sequence[float], odd: Sequence[Odd] = ()) -> None:
        """Take over what `depart` gave, but for those that it goes by, as it is after readings up to `at_ns`."""
        for each in odd:
            self._look_at_change(each.value)
            self._look_at_change(each.following)
            self._doubt.pass_over(upwards=each.upwards)
        shares = self._shares
        level0, level1, level2, slope0, slope1, slope2, share0, share1, share2, *rest = end
        self._course = Course((level0, level1, level2), (slope0, slope1, slope2), self._course.age)
        if shares.shares[0] != share0 or shares.shares[1] != share1:
            shares.mix([share0, share1, share2])
        shares.sums, shares.energies = rest[:SIZE], rest[SIZE : 2 * SIZE]
        shares.noise, left, count, counted = rest[2 * SIZE :]
        self._at_ns, self._left, self._count, shares.counted = at_ns, int(left), int(count), int(counted)

    def _note(self, at_ns: int, left: int) -> None:
        """Count what took the quick road."""
        done = self._left - left
        self._at_ns, self._left = at_ns, left
        self._count += done
        self._shares.counted += done

    def _take(self, now_ns: int, value: float, result: Estimates) -> bool:
        """Estimate one reading with all due care; whether it was refused."""
        shares, doubt = self._shares, self._doubt
        steps = self._steps(now_ns)
        alphas, betas, gain = ALPHAS, BETAS, shares.gain
        if steps != 1.0:
            alphas, betas = zip(*[each.after(steps) for each in BANK], strict=True)
            gain = shares.mean(alphas)
        self._count += 1
        if self._count == 1 or gain > _LOST:
            self._begin(value)
            result.add(value, sqrt(shares.noise), 0.0)
            return False
        self._look_at_change(value)
        course = self._course.ahead(steps)
        predicted = shares.mean(course.levels)
        surprise = value - predicted
        # Longer steps leave more room for surprise.
        noise = shares.noise * (1.0 - shares.gain) / (1.0 - gain)
        if self._count > _FIRST and surprise * surprise > ODD_SQUARED * noise:
            judged = doubt.judge(course, value, noise, self._count, shares)
            if judged is None:
                self._course = course
                shares.refuse(_REFUSED_SQUARED)
                result.add(predicted, sqrt(noise * gain), surprise)
                return True
            course = judged
        elif doubt.pending:
            doubt.settle(self._count)
        self._accept(course, value, alphas, betas)
        sigma_gain = max(gain, 1.0 / (course.age + 1.0))
        result.add(shares.mean(self._course.levels), sqrt(sigma_gain * (1.0 - shares.gain) * shares.noise), surprise)
        return False

    def _steps(self, now_ns: int) -> float:
        """How many usual steps have passed, ≥ 0; learns what is usual."""
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
        self._course = self._course._replace(slopes=tuple(slope * pace for slope in self._course.slopes))
        self._doubt.former = None
        return steps / pace

    def _begin(self, value: float) -> None:
        """Start anew at what is measured; what was learned of noise and pace stays."""
        self._course = Course((value,) * SIZE, NOWHERE.slopes, 1)
        self._doubt.forget()
        self._last = value

    def _look_at_change(self, value: float) -> None:
        """Learn how finely the chip counts and, from the first few changes, what cannot be noise."""
        change = abs(value - self._last)
        self._last = value
        if 0.0 < change < self._doubt.grain:
            self._doubt.grain = change
        if self._count <= _FIRST + 1:
            self._changes.append(change)

    def _accept(self, course: Course, value: float, gains: Sequence[float], slope_gains: Sequence[float]) -> None:
        """Correct all the filters by a reading."""
        shares = self._shares
        # Who has just started takes the mean of what there is.
        least = 1.0 / (course.age + 1.0)
        age = min(course.age + 1, _GROWN_UP)
        gain = shares.mean(gains)
        if gain > shares.gain * _MORE:  # after a gap, the past weighs less for a while
            age = min(age, int(1.0 / gain))
        errors = [value - level for level in course.levels]
        self._course = Course(
            tuple(
                level + max(gain, least) * error
                for level, gain, error in zip(course.levels, gains, errors, strict=True)
            ),
            tuple(slope + gain * error for slope, gain, error in zip(course.slopes, slope_gains, errors, strict=True)),
            age,
        )
        for index in range(SIZE):
            shares.sums[index] += errors[index] ** 2
        shares.counted += 1
        self._left -= 1
        if self._left <= 0:
            self._weigh()

    def _weigh(self) -> None:
        """Bring the shares up to date."""
        if self._changes and self._count > _FIRST:
            # Of normal noise, a change is in the middle 0.95 standard deviations: a spike so early counts little.
            usual = sorted(self._changes)[len(self._changes) // 2]
            if usual > 0.0:
                self._shares.cap(4.4 * usual * usual)
            self._changes = []
        self._shares.weigh(self._count - 1, self._doubt.grain)
        self._left = REFRESH if self._count >= _EARLY else 1

    def model(self) -> Model | None:
        """See `Filter.model`: the one of which the mean gains are the steady state (dt = 1: K = (α, β), R = 1)."""
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
        shares, doubt, former = self._shares, self._doubt, self._doubt.former
        return (
            *(self._count, self._at_ns, self._step_ns, self._last, self._left, shares.noise, shares.counted),
            *(0.0 if doubt.grain == inf else doubt.grain, int(doubt.refused), int(doubt.upwards)),
            *(doubt.former_count, doubt.wary_until),
            *(*self._course.levels, *self._course.slopes, self._course.age),
            *(*shares.sums, *shares.energies, *shares.shares),
            *(len(doubt.pending), *doubt.pending),
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

        def course() -> Course:
            return Course(tuple(take(SIZE)), tuple(take(SIZE)), int(take(1)[0]))

        shares, doubt = self._shares, self._doubt
        count, at_ns, self._step_ns, self._last, left, shares.noise, counted = take(7)
        grain, refused, upwards, former_count, wary_until = take(5)
        self._count, self._at_ns, self._left = int(count), int(at_ns) + shift_ns, int(left)
        shares.counted = int(counted)
        doubt.grain, doubt.refused, doubt.upwards = grain or inf, bool(refused), bool(upwards)
        doubt.former_count, doubt.wary_until = int(former_count), int(wary_until)
        self._course = course()
        shares.sums, shares.energies = take(SIZE), take(SIZE)
        shares.mix(take(SIZE))
        doubt.pending = take(int(take(1)[0]))
        self._changes = take(int(take(1)[0]))
        doubt.former = course() if rest else None
