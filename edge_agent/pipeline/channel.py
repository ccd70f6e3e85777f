"""One channel: the state of its stages, and its column of the open batch.

`Channel.judge` and `Channel.take` are the path of every reading: validate → calibrate → filter → watch → round → open
batch.
"""

from __future__ import annotations

from collections import deque
from math import isfinite
from typing import TYPE_CHECKING, Final

from edge_agent.features import describe_column
from edge_agent.pipeline.memory import Remembered
from edge_agent.pipeline.rounding import rounded
from edge_agent.reading import NOT_SENT, ChannelBlock, Flag, Quality, quality_of, status_of
from edge_agent.stages.calibrate import Calibration, calibrate
from edge_agent.stages.filters.smooth import smooth
from edge_agent.stages.validate import Validator
from edge_agent.wire.batch import Batch, Column, Group
from edge_agent.wire.encode import encode_batch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.pipeline.counts import Counts
    from edge_agent.pipeline.findings import Watch
    from edge_agent.pipeline.open_rows import OpenColumn
    from edge_agent.pipeline.settings import ChannelSettings
    from edge_agent.pipeline.taps import Tap

_NO_FLAG: Final = Flag(0)
_REFUSED: Final = frozenset({Quality.BAD, Quality.ESTIMATED})
_LEAD: Final = 32
"""Readings of the batch before with which the smoother starts, so that it has settled at the start of this batch."""


class Channel:
    """One quantity of one sensor.

    Args:
        sensor: id of the sensor.
        settings: settings of the channel.
        counts: counts to which its readings are added.
        watch: its anomaly detector; None: no detector.
        taps: receivers of its blocks.

    Attributes:
        sensor, quantity: its sensor and its quantity.
        derived: how it is computed from other quantities; None if it is measured.
        values: rows of the open batch, filtered and rounded, canonical unit.
        raws: the same, calibrated and rounded but not filtered.
        statuses: the same, see `status_of`.
        last_value, last_status: value and status of the latest reading.
    """

    def __init__(
        self, sensor: str, settings: ChannelSettings, counts: Counts, watch: Watch | None, taps: Sequence[Tap] = ()
    ) -> None:
        self.sensor = sensor
        self.quantity = settings.quantity
        self.derived = settings.derived
        self.last_value: float | None = None
        self.last_status = 0
        self.values: list[float | None] = []
        self.raws: list[float | None] = []
        self.statuses: list[int] = []
        self._sigmas: list[float | None] = []
        self._settings = settings
        self._counts = counts
        self._validator = Validator(settings.limits)
        self._is_calibrated = settings.calibration != Calibration()
        self._filter = settings.filter.build() if settings.filter is not None else None
        self._watch = watch
        self._taps = taps
        self._sends_sigma = settings.send_sigma and self._filter is not None
        self._reducer = settings.reduce.build()
        self._lead: deque[tuple[int, float | None]] = deque(maxlen=_LEAD)

    # ---- the path of a reading

    def judge(
        self, times_ns: Sequence[int], measured: Sequence[float | None], seen: Sequence[Flag] | None
    ) -> tuple[list[Flag], list[float | None]]:
        """Validate and calibrate a block.

        Args:
            times_ns: nanoseconds since boot.
            measured: canonical unit; None where the chip returned no number.
            seen: flags that were set before, one per reading; None: none.

        Returns:
            Flags and calibrated values; a value that is not finite becomes None, with NO_VALUE.
        """
        flags = self._validator.run(times_ns, measured)
        if seen is not None:
            flags = [flag | earlier for flag, earlier in zip(flags, seen, strict=True)]
        if self._is_calibrated:
            raws = calibrate(self._settings.calibration, measured)
            are_finite = _are_finite(raws)
        else:
            raws = list(measured)
            are_finite = flags.count(_NO_FLAG) == len(flags)  # otherwise the validator would have set a flag
        if not are_finite:
            for row, raw in enumerate(raws):
                if raw is None or not isfinite(raw):
                    raws[row] = None
                    flags[row] |= Flag.NO_VALUE
        return flags, raws

    def take(self, times_ns: Sequence[int], flags: list[Flag], raws: list[float | None]) -> None:
        """Filter a judged block, test it for anomalies, round it, append it to the open batch, and pass it to taps."""
        estimates = None if self._filter is None else self._filter.run(times_ns, raws, flags)
        if self._watch is not None:
            self._watch.take(times_ns, raws, flags, estimates)
        values = rounded(raws if estimates is None else estimates.values, self._settings.resolution)
        good = flags.count(_NO_FLAG)
        statuses = [0] * good if good == len(flags) else [status_of(flag) for flag in flags]
        self._counts.add(statuses, good)
        self.last_value, self.last_status = values[-1], statuses[-1]
        self.values += values
        self.raws += rounded(raws, self._settings.raw_resolution)
        self.statuses += statuses
        if self._sends_sigma or self._taps:
            sigmas = [None] * len(values) if estimates is None else estimates.sigmas
            if self._sends_sigma:
                self._sigmas += sigmas
            for tap in self._taps:
                tap.saw(self.sensor, self.quantity, ChannelBlock(times_ns, raws, values, sigmas, statuses))

    def pad(self, rows: int) -> None:
        """Append `rows` rows in which the sensor did not measure this quantity."""
        self.values += [None] * rows
        self.raws += [None] * rows
        self.statuses += [NOT_SENT] * rows
        if self._sends_sigma:
            self._sigmas += [None] * rows

    # ---- the open batch

    def rows(self, first: int) -> OpenColumn:
        """The open batch from row `first` on, to be secured."""
        raws, statuses = self.raws[first:], self.statuses[first:]
        shown = raws if self._settings.send_raw else _evidence(raws, statuses)
        return self.quantity, self.values[first:], shown, self._sigmas[first:] if self._sends_sigma else None, statuses

    def column(self, *, describe: bool) -> Column:
        """The open batch as it is sent. The lists are not copied; `clear` makes new ones."""
        shown = self.raws if self._settings.send_raw else _evidence(self.raws, self.statuses)
        sigmas = self._sigmas if self._sends_sigma else None
        return Column(self.quantity, self.values, shown, self.statuses, None, sigmas, describe)

    def smooth(self, times_ns: Sequence[int]) -> None:
        """Smooth the values of the open batch, if the settings say so and the filter has a model."""
        model = self._filter.model() if self._filter is not None and self._settings.smoothed else None
        if model is None:
            return
        usable = [
            (now_ns, raw if status >= 0 and quality_of(status) not in _REFUSED else None)
            for now_ns, raw, status in zip(times_ns, self.raws, self.statuses, strict=True)
        ]
        moments = [*self._lead, *usable]
        stamps, readings = zip(*moments, strict=True)
        smoothed = rounded(smooth(model, stamps, readings)[len(self._lead) :], self._settings.resolution)
        self.values = [
            value if estimate is None or status < 0 or quality_of(status) is Quality.BAD else estimate
            for value, estimate, status in zip(self.values, smoothed, self.statuses, strict=True)
        ]
        self._lead.extend(usable)

    def reduced(self, times_ns: Sequence[int], *, describe: bool) -> Column:
        """The whole open batch without suppressed readings; with all readings, if that takes fewer bytes.

        Features always cover all readings; if all are sent, the encoder computes them.
        """
        whole = self.column(describe=describe)
        if self._reducer is None:
            return whole
        rows = [row for row, status in enumerate(self.statuses) if status != NOT_SENT]
        kept = self._reducer.run(
            [times_ns[row] for row in rows],
            [self.values[row] for row in rows],
            [self.statuses[row] for row in rows],
        )
        suppressed = kept.count(False)
        if not suppressed:
            return whole
        statuses = list(self.statuses)
        for row, keep in zip(rows, kept, strict=True):
            if not keep:
                statuses[row] = NOT_SENT
        features = describe_column(times_ns, self.values, self.statuses) if describe else None
        thinned = whole._replace(statuses=statuses, features=features, describe=False)
        # The positions of suppressed readings take bits as well.
        if _size(times_ns, thinned) >= _size(times_ns, whole):
            return whole
        self._counts.suppressed += suppressed
        return thinned

    def clear(self) -> None:
        """Start a new batch."""
        self.values, self.raws, self.statuses, self._sigmas = [], [], [], []

    # ---- saved states

    def remembered(self) -> list[Remembered]:
        """States of its stages, to be saved."""
        states = [] if self._watch is None else self._watch.remembered()
        if self._filter is not None and self._settings.filter is not None:
            states.append(
                Remembered(f"{self.sensor}.{self.quantity}", self._settings.filter.stage, self._filter.state())
            )
        return states

    def restore(self, remembered: Remembered, shift_ns: int) -> None:
        """Restore the state of one stage; the state of another kind of filter is ignored.

        Raises:
            ValueError: it is no state of the stage that it names.
        """
        if self._settings.filter is not None and remembered.stage == self._settings.filter.stage:
            filter_ = self._settings.filter.build()  # a new one, so that an invalid state changes nothing
            filter_.restore(tuple(remembered.numbers), shift_ns)
            self._filter = filter_
        elif self._watch is not None:
            self._watch.restore(remembered)


def _are_finite(numbers: Sequence[float | None]) -> bool:
    try:  # None is rare, and a test of each number takes more time
        return isfinite(sum(numbers)) or all(map(isfinite, numbers))  # type: ignore[arg-type]
    except TypeError:
        return False


def _evidence(raws: Sequence[float | None], statuses: Sequence[int]) -> list[float | None] | None:
    """Measured values of the first and the last reading of each run of refused ones; None if none was refused."""
    refused = [status > 0 and quality_of(status) in _REFUSED for status in statuses]
    if True not in refused:
        return None
    edges = zip([False, *refused[:-1]], refused, [*refused[1:], False], strict=True)
    shown = [here and not (before and after) for before, here, after in edges]
    return [raw if show else None for raw, show in zip(raws, shown, strict=True)]


def _size(times_ns: Sequence[int], column: Column) -> int:
    """Size of a message with this column only, bytes; for comparison."""
    return len(encode_batch(Batch((Group("", times_ns, (column,)),))))
