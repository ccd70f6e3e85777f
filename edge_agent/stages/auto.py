"""The filter that needs no settings: it learns noise and pace of one channel from its readings. Pure.

Three small filters run side by side on every reading: one of level only, two of level and slope (alpha-beta filters,
fast and slow; Bar-Shalom, Li, Kirubarajan: Estimation with Applications to Tracking and Navigation, 2001, §6.5).
Whichever predicted best of late says how to take the next reading in: its share is (energy of its errors)^(-readings
remembered / 2), as in dynamic model averaging (Raftery, Kárný, Ettler 2010). What is shown comes from a fourth filter
that has the mean gains of all, weighed so. A gain of 0.27, which is that of a random walk with Q = R / 10, is among
them, so that a channel for which a fixed filter happens to be right loses nothing.

Energies scale with the readings and see only differences, so neither unit nor offset matters.

Outliers: one reading too far off is refused. Two that agree are a step and are believed at once, for waiting costs more
than a rare mistake; where spikes have been seen lately, it takes three. If the readings then return to where they
came from, it was a mistake, the former state is taken up again, and it counts as a spike seen. Two readings in a row
that are merely odd, on the same side, are a small step. Outliers that disagree are noise that has grown.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt
from typing import TYPE_CHECKING, Final, NamedTuple

from edge_agent.reading import Flag
from edge_agent.stages.estimates import Estimates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.stages.estimates import FilterState

_NO_VALUE: Final = Flag.NO_VALUE
_UNUSED: Final = Flag.NO_VALUE | Flag.OUT_OF_RANGE
_OUTLIER: Final = Flag.OUTLIER


class _Gains(NamedTuple):
    """One of the three, with the steady state of the Kalman filter that it is, for a step of 1 and noise of 1."""

    alpha: float
    beta: float
    p01: float
    p11: float
    drift: float
    """Variance that a step adds: to the level for filters of level only, else of the acceleration."""

    def after(self, steps: float) -> tuple[float, float]:
        """Gains of a reading that comes so many steps after the last."""
        if self.beta == 0.0:
            p00, p01 = self.alpha + self.drift * steps, 0.0
        else:
            p00 = self.alpha + steps * (2.0 * self.p01 + steps * self.p11)
            p00 += self.drift * steps * max(0.0, steps * steps / 3.0 - 1.0 / 12.0)
            p01 = self.p01 + steps * self.p11 + self.drift * steps * steps / 2.0
        return p00 / (p00 + 1.0), p01 / (p00 + 1.0)


def _level(alpha: float) -> _Gains:
    return _Gains(alpha, 0.0, 0.0, 0.0, alpha * alpha / (1.0 - alpha))


def _trend(alpha: float) -> _Gains:
    beta = 2.0 * (2.0 - alpha) - 4.0 * sqrt(1.0 - alpha)
    return _Gains(alpha, beta, beta, beta * (alpha - beta / 2.0) / (1.0 - alpha), beta * beta / (1.0 - alpha))


_BANK: Final = (_level(0.27), _trend(0.5), _trend(0.1))
_SIZE: Final = len(_BANK)
_ALPHAS: Final = tuple(each.alpha for each in _BANK)
_BETAS: Final = tuple(each.beta for each in _BANK)
# Readings that the energies remember.
_MEMORY: Final = 200
# Shares are computed anew after so many readings.
_REFRESH: Final = 32
# Before, after every one.
_EARLY: Final = 16
# A few readings tell nothing of noise.
_FIRST: Final = 6
# From here on, none of the three learns faster than it does for ever.
_GROWN_UP: Final = 10
# Further from the prediction than so many standard deviations: refused; odd.
_GATE_SQUARED: Final = 5.0**2
_ODD_SQUARED: Final = 3.0**2
# Readings that are so far from each other agree, squared, of the variance of their difference.
_AGREE_SQUARED: Final = 3.5**2
# A change of so many counts of a chip is never an outlier.
_COUNTS: Final = 1.5
# A refused reading counts in the energies as one so far off.
_REFUSED_SQUARED: Final = 9.0
# After a spike, steps are believed late for so many readings.
_WARY: Final = 500
# A step may turn out to be a mistake for so many readings.
_REMORSE: Final = 8
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


class _Course(NamedTuple):
    """Where all the filters are and are heading: levels and slopes per usual step; first the one that is shown."""

    levels: tuple[float, ...]
    slopes: tuple[float, ...]
    age: int
    """Readings since they started anew."""

    def ahead(self, steps: float) -> _Course:
        """Predict."""
        levels = tuple(level + slope * steps for level, slope in zip(self.levels, self.slopes, strict=True))
        return self._replace(levels=levels)


_NOWHERE: Final = _Course((0.0,) * (_SIZE + 1), (0.0,) * (_SIZE + 1), 0)


class Auto:
    """The filter of one channel."""

    __slots__ = (
        "_at_ns",
        "_changes",
        "_count",
        "_counted",
        "_course",
        "_energies",
        "_former",
        "_former_count",
        "_gain",
        "_grain",
        "_keep",
        "_last",
        "_left",
        "_noise",
        "_pending",
        "_prior",
        "_refused",
        "_shares",
        "_slope_gain",
        "_step_ns",
        "_sums",
        "_upwards",
        "_wary_until",
    )

    def __init__(self, settings: AutoSettings) -> None:
        self._prior = settings.sigma
        self._count = 0
        self._at_ns = 0
        self._step_ns = 0.0  # the usual one; 0: not known yet
        self._course = _NOWHERE
        self._sums = [0.0] * _SIZE  # squared errors since the shares were computed, of so many readings:
        self._counted = 0
        self._left = 1
        self._energies = [0.0 if settings.sigma is None else settings.sigma**2] * _SIZE
        self._shares = [1.0 / _SIZE] * _SIZE
        self._gain, self._slope_gain, self._keep = 0.0, 0.0, 0.0
        self._mix()
        self._noise = self._energies[0]  # energy of the best
        self._changes: list[float] = []  # of the first readings
        self._last = 0.0
        self._grain = settings.resolution or inf  # smallest change seen
        self._pending: list[float] = []  # odd ones in a row, on one side; whether one of them was refused:
        self._refused = False
        self._upwards = False
        self._former: _Course | None = None
        self._former_count = 0
        self._wary_until = 0

    def run(  # noqa: PLR0915 one loop: calls would take most of the time
        self, times_ns: Sequence[int], values: Sequence[float | None], flags: list[Flag]
    ) -> Estimates:
        """See `Filter.run`."""
        estimates, sigmas, innovations = result = Estimates([], [], [])
        alpha0, alpha1, alpha2 = _ALPHAS
        _, beta1, beta2 = _BETAS
        at_ns, left = self._at_ns, self._left
        (level, level0, level1, level2), (slope, _, slope1, slope2), age = self._course
        sum0, sum1, sum2 = self._sums
        soonest_ns, latest_ns, limit, gain, slope_gain, keep, sigma = self._quick()
        for now_ns, value, flag in zip(times_ns, values, flags, strict=True):
            if value is None or (flag and flag & _UNUSED):
                sigmas += [sigma] * (len(estimates) - len(sigmas))
                result.add(None if flag & _NO_VALUE else value)
                continue
            predicted = level + slope
            surprise = value - predicted
            if surprise * surprise <= limit and soonest_ns <= now_ns - at_ns <= latest_ns:
                at_ns = now_ns
                level = predicted + gain * surprise
                slope = keep * slope + slope_gain * surprise
                error = value - level0
                level0 += alpha0 * error
                sum0 += error * error
                level1 += slope1
                error = value - level1
                level1 += alpha1 * error
                slope1 += beta1 * error
                sum1 += error * error
                level2 += slope2
                error = value - level2
                level2 += alpha2 * error
                slope2 += beta2 * error
                sum2 += error * error
                estimates.append(level)
                innovations.append(surprise)
                left -= 1
                if left:
                    continue
            sigmas += [sigma] * (len(estimates) - len(sigmas))
            self._note(at_ns, left)
            self._course = _Course((level, level0, level1, level2), (slope, 0.0, slope1, slope2), age)
            self._sums = [sum0, sum1, sum2]
            if not left:
                self._weigh()
            elif self._take(now_ns, value, result):
                flags[len(estimates) - 1] = flag | _OUTLIER
            at_ns, left = self._at_ns, self._left
            (level, level0, level1, level2), (slope, _, slope1, slope2), age = self._course
            sum0, sum1, sum2 = self._sums
            soonest_ns, latest_ns, limit, gain, slope_gain, keep, sigma = self._quick()
        sigmas += [sigma] * (len(estimates) - len(sigmas))
        self._note(at_ns, left)
        self._course = _Course((level, level0, level1, level2), (slope, 0.0, slope1, slope2), age)
        self._sums = [sum0, sum1, sum2]
        return result

    def _quick(self) -> tuple[float, float, float, float, float, float, float]:
        """What the quick road needs: earliest and latest step, largest squared surprise, gains, sigma."""
        even = self._step_ns * _EVEN
        calm = self._course.age >= _GROWN_UP and self._count >= _EARLY and not self._pending
        limit = _ODD_SQUARED * self._noise if calm else -1.0
        sigma = sqrt(self._gain * (1.0 - self._gain) * self._noise)
        return self._step_ns - even, self._step_ns + even, limit, self._gain, self._slope_gain, self._keep, sigma

    def _note(self, at_ns: int, left: int) -> None:
        """Count what took the quick road."""
        done = self._left - left
        self._at_ns, self._left = at_ns, left
        self._count += done
        self._counted += done

    def _take(self, now_ns: int, value: float, result: Estimates) -> bool:
        """Estimate one reading with all due care; whether it was refused."""
        steps = self._steps(now_ns)
        alphas, betas, gain, slope_gain = _ALPHAS, _BETAS, self._gain, self._slope_gain
        if steps != 1.0:
            alphas, betas = zip(*[each.after(steps) for each in _BANK], strict=True)
            gain, slope_gain = self._mean_gains(alphas, betas)
        self._count += 1
        if self._count == 1 or gain > _LOST:
            self._begin(value)
            result.add(value, sqrt(self._noise), 0.0)
            return False
        self._look_at_change(value)
        course = self._course.ahead(steps)
        surprise = value - course.levels[0]
        # Longer steps leave more room for surprise.
        noise = self._noise * (1.0 - self._gain) / (1.0 - gain)
        if self._count > _FIRST and surprise * surprise > _ODD_SQUARED * noise:
            judged = self._judge(course, value, surprise, noise)
            if judged is None:
                self._course = course
                self._sums = [each + _REFUSED_SQUARED * self._noise for each in self._sums]
                self._counted += 1
                result.add(course.levels[0], sqrt(noise * gain), surprise)
                return True
            course = judged
        elif self._pending:
            self._settle()
        self._accept(course, value, (gain, *alphas), (slope_gain, *betas))
        sigma_gain = max(gain, 1.0 / (course.age + 1.0))
        result.add(self._course.levels[0], sqrt(sigma_gain * (1.0 - self._gain) * self._noise), surprise)
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
        self._former = None
        return steps / pace

    def _begin(self, value: float) -> None:
        """Start anew at what is measured; what was learned of noise and pace stays."""
        self._course = _Course((value,) * (_SIZE + 1), _NOWHERE.slopes, 1)
        self._pending.clear()
        self._former = None
        self._last = value

    def _look_at_change(self, value: float) -> None:
        """Learn how finely the chip counts and, from the first few changes, what cannot be noise."""
        change = abs(value - self._last)
        self._last = value
        if 0.0 < change < self._grain:
            self._grain = change
        if self._count <= _FIRST + 1:
            self._changes.append(change)

    def _judge(self, course: _Course, value: float, surprise: float, noise: float) -> _Course | None:
        """Weigh an odd reading: return the course to correct by it, or None to refuse it."""
        far = surprise * surprise > _GATE_SQUARED * noise and abs(surprise) > _COUNTS * self._grain
        upwards = surprise > 0.0
        since = self._count - self._former_count
        if self._former is not None and since <= _REMORSE:
            back = self._former.ahead(since)
            if (value - back.levels[0]) ** 2 <= _GATE_SQUARED * noise:
                self._former = None
                self._refused = True
                self._settle()
                return back
        pending = self._pending
        if pending and upwards == self._upwards and self._agree(value, noise):
            self._refused |= far
            if self._refused and len(pending) == 1 and self._count < self._wary_until:
                pending.append(value)
                return None if far else course
            if self._refused:
                self._former, self._former_count = course, self._count
            count = len(pending)
            level = sum(pending) / count + course.slopes[0] * (count + 1) / 2.0
            pending.clear()
            return _Course((level,) * (_SIZE + 1), course.slopes, count)
        if far and pending and self._refused:
            self._sums = [each * 2.0 for each in self._sums]
            self._energies = [each * 2.0 for each in self._energies]
            self._noise *= 2.0
        elif pending:
            self._settle()
        self._pending = [value]
        self._refused, self._upwards = far, upwards
        return None if far else course

    def _agree(self, value: float, noise: float) -> bool:
        """Whether a reading could be the same as each of those that are pending."""
        near = max(sqrt(_AGREE_SQUARED * 2.0 * noise), _COUNTS * self._grain if self._grain < inf else 0.0)
        return all(abs(value - other) <= near for other in self._pending)

    def _settle(self) -> None:
        """Forget what was pending: the readings did not stay there."""
        if self._refused:
            self._wary_until = self._count + _WARY
        self._pending = []

    def _accept(self, course: _Course, value: float, gains: Sequence[float], slope_gains: Sequence[float]) -> None:
        """Correct all the filters by a reading."""
        # Who has just started takes the mean of what there is.
        least = 1.0 / (course.age + 1.0)
        age = min(course.age + 1, _GROWN_UP)
        if gains[0] > self._gain * _MORE:  # after a gap, the past weighs less for a while
            age = min(age, int(1.0 / gains[0]))
        # A level that heads nowhere has no slope to keep.
        slopes = (self._keep * course.slopes[0], *course.slopes[1:])
        errors = [value - level for level in course.levels]
        self._course = _Course(
            tuple(
                level + max(gain, least) * error
                for level, gain, error in zip(course.levels, gains, errors, strict=True)
            ),
            tuple(slope + gain * error for slope, gain, error in zip(slopes, slope_gains, errors, strict=True)),
            age,
        )
        for index in range(_SIZE):
            # Errors of longer steps are larger.
            share = (1.0 - gains[index + 1]) / (1.0 - _ALPHAS[index])
            self._sums[index] += errors[index + 1] ** 2 * share
        self._counted += 1
        self._left -= 1
        if self._left <= 0:
            self._weigh()

    def _weigh(self) -> None:
        """Bring energies and shares up to date."""
        errors = self._count - 1 if self._prior is None else self._count + 1
        memory = max(1, min(_MEMORY, errors))
        keep = max(0.0, 1.0 - self._counted / memory)
        (energy0, energy1, energy2), (sum0, sum1, sum2) = self._energies, self._sums
        energy0 = energy0 * keep + sum0 / memory
        energy1 = energy1 * keep + sum1 / memory
        energy2 = energy2 * keep + sum2 / memory
        if self._changes and self._count > _FIRST:
            # Of normal noise, a change is in the middle 0.95 standard deviations: a spike so early counts little.
            usual = sorted(self._changes)[len(self._changes) // 2]
            if usual > 0.0:
                most = 4.4 * usual * usual
                energy0, energy1, energy2 = min(energy0, most), min(energy1, most), min(energy2, most)
            self._changes = []
        self._energies = [energy0, energy1, energy2]
        self._sums = [0.0] * _SIZE
        self._counted = 0
        self._left = _REFRESH if self._count >= _EARLY else 1
        least = min(self._energies)
        if self._grain < inf:
            least = max(least, self._grain * self._grain / 12.0)  # variance of rounding
        self._noise = least
        if least > 0.0:
            power = -memory / 2.0
            weight0 = (energy0 / least) ** power if energy0 > least else 1.0
            weight1 = (energy1 / least) ** power if energy1 > least else 1.0
            weight2 = (energy2 / least) ** power if energy2 > least else 1.0
            total = weight0 + weight1 + weight2
            self._shares = [weight0 / total, weight1 / total, weight2 / total]
            self._mix()

    def _mix(self) -> None:
        """The gains of what is shown."""
        self._gain, self._slope_gain = self._mean_gains(_ALPHAS, _BETAS)
        self._keep = self._shares[1] + self._shares[2]

    def _mean_gains(self, alphas: Sequence[float], betas: Sequence[float]) -> tuple[float, float]:
        share0, share1, share2 = self._shares
        alpha0, alpha1, alpha2 = alphas
        _, beta1, beta2 = betas
        return share0 * alpha0 + share1 * alpha1 + share2 * alpha2, share1 * beta1 + share2 * beta2

    def state(self) -> FilterState:
        """See `Filter.state`."""
        former = () if self._former is None else (*self._former.levels, *self._former.slopes, self._former.age)
        return (
            *(self._count, self._at_ns, self._step_ns, self._last, 0.0 if self._grain == inf else self._grain),
            *(self._counted, self._left, self._noise, self._wary_until, self._former_count),
            *(self._gain, self._slope_gain, self._keep, self._refused, self._upwards),
            *self._course.levels,
            *self._course.slopes,
            self._course.age,
            *self._sums,
            *self._energies,
            *self._shares,
            len(self._pending),
            *self._pending,
            len(self._changes),
            *self._changes,
            *former,
        )

    def restore(self, state: FilterState) -> None:
        """See `Filter.restore`."""
        rest = list(state)

        def take(count: int) -> list[float]:
            if len(rest) < count:
                raise ValueError(f"{len(state)} numbers are no state of an automatic filter")
            taken = rest[:count]
            del rest[:count]
            return taken

        def course() -> _Course:
            return _Course(tuple(take(_SIZE + 1)), tuple(take(_SIZE + 1)), int(take(1)[0]))

        count, at_ns, self._step_ns, self._last, grain = take(5)
        counted, left, self._noise, wary_until, former_count = take(5)
        self._gain, self._slope_gain, self._keep, refused, upwards = take(5)
        self._count, self._at_ns, self._grain = int(count), int(at_ns), grain or inf
        self._counted, self._left, self._wary_until = int(counted), int(left), int(wary_until)
        self._former_count, self._refused, self._upwards = int(former_count), bool(refused), bool(upwards)
        self._course = course()
        self._sums, self._energies, self._shares = take(_SIZE), take(_SIZE), take(_SIZE)
        self._pending = take(int(take(1)[0]))
        self._changes = take(int(take(1)[0]))
        self._former = course() if rest else None
