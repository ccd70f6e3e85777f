"""Anomaly detection in the pipeline: passes readings to detectors, and makes events of their findings, rate-limited.

A broken sensor must not fill the outbox: per channel and hour, only the first findings are reported, then one event
says that there are more; the rest is only counted. The end of an anomaly is reported if its begin was.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from edge_agent.clock import NS_PER_S
from edge_agent.pipeline.memory import Remembered
from edge_agent.quantity import QUANTITIES
from edge_agent.reading import Event, EventKind
from edge_agent.stages.anomalies.anomaly import Anomaly, AnomalyKind, Phase
from edge_agent.stages.anomalies.detector import THRESHOLD
from edge_agent.stages.anomalies.siblings import Siblings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edge_agent.pipeline.settings import ChannelSettings
    from edge_agent.reading import Flag
    from edge_agent.stages.anomalies.detector import AnomalySettings
    from edge_agent.stages.filters.estimates import Estimates

MOST_IN_AN_HOUR: Final = 10
"""Number of findings per channel that are reported within an hour; the others are only counted."""
STAGE: Final = "anomaly"
_PAIR: Final = "sibling "
_HOUR_NS: Final = 3600 * NS_PER_S


class Watch:
    """Detector of one channel, and the pairs that the channel is part of.

    Args:
        name: name of the channel, `sensor.quantity`.
        settings: settings of its detector.
        report: called with each finding and the name of its channel.

    Attributes:
        detector: its detector.
        shift_ns: subtracted from stamps, nanoseconds: the time of detectors continues over reboots, because they learn
            hours of the day.
    """

    def __init__(self, name: str, settings: AnomalySettings, report: Callable[[str, Anomaly], None]) -> None:
        self.name = name
        self.detector = settings.build()
        self.shift_ns = 0
        self._settings = settings
        self._report = report
        self._pairs: list[tuple[Siblings, int, str]] = []
        self._siblings: dict[str, Siblings] = {}  # pairs whose drift is reported for this channel, by the other's name

    def pair(self, other: Watch) -> None:
        """Compare with a channel that measures the same. A drift is reported for this one, as this minus the other."""
        siblings = self._siblings[other.name] = Siblings(THRESHOLD)
        self._pairs.append((siblings, 0, self.name))
        other._pairs.append((siblings, 1, self.name))

    def remembered(self) -> list[Remembered]:
        """States of the detector and of the pairs reported for this channel, to be saved."""
        pairs = [Remembered(self.name, _PAIR + name, siblings.state()) for name, siblings in self._siblings.items()]
        return [Remembered(self.name, STAGE, self.detector.state()), *pairs]

    def restore(self, remembered: Remembered) -> None:
        """Restore the state of one stage. The state of another stage is ignored.

        Raises:
            ValueError: it is no state of the stage that it names.
        """
        if remembered.stage == STAGE:
            detector = self._settings.build()  # a new one, so that an invalid state changes nothing
            detector.restore(remembered.numbers)
            self.detector = detector
        elif (siblings := self._siblings.get(remembered.stage.removeprefix(_PAIR))) is not None:
            siblings.restore(remembered.numbers)

    def take(
        self,
        times_ns: Sequence[int],
        values: Sequence[float | None],
        flags: Sequence[Flag],
        estimates: Estimates | None,
    ) -> None:
        """Test a block, see `Detector.run`, and report what is found."""
        shift_ns = self.shift_ns
        if shift_ns:
            times_ns = [now_ns - shift_ns for now_ns in times_ns]
        for anomaly in self.detector.run(times_ns, values, flags, estimates):
            self._report(self.name, _shifted(anomaly, shift_ns))
        for siblings, side, name in self._pairs:
            for anomaly in siblings.take(side, times_ns, values):
                self._report(name, _shifted(anomaly, shift_ns))


def _shifted(anomaly: Anomaly, by_ns: int) -> Anomaly:
    if not by_ns:
        return anomaly
    return replace(anomaly, at_ns=anomaly.at_ns + by_ns, since_ns=anomaly.since_ns + by_ns)


class _Reported:
    """Findings of one channel that were reported."""

    def __init__(self) -> None:
        self.hour_ns = 0  # start of the current hour
        self.count = 0  # findings in it
        self.lasting: set[AnomalyKind] = set()  # kinds whose begin was reported, and whose end was not


class Findings:
    """Makes events of findings.

    Args:
        deliver: called with each event.

    Attributes:
        counts: findings by kind, reported or not; a lasting one counts once.
    """

    def __init__(self, deliver: Callable[[Event], None]) -> None:
        self.counts: Counter[str] = Counter()
        self._deliver = deliver
        self._reported: dict[tuple[str, bool], _Reported] = {}

    def report(self, name: str, anomaly: Anomaly) -> None:
        """Count a finding about a channel, and deliver its event unless there were too many in the hour."""
        # Drifts are counted apart: when one is found depends on the block of the other channel, so that otherwise the
        # cut into blocks would decide which findings are reported.
        reported = self._reported.setdefault((name, anomaly.kind is AnomalyKind.DRIFT), _Reported())
        if anomaly.phase is Phase.ENDED:
            if anomaly.kind in reported.lasting:
                reported.lasting.discard(anomaly.kind)
                self._deliver_event(name, anomaly.at_ns, anomaly.state, describe(name, anomaly))
            return
        self.counts[anomaly.kind.value] += 1
        if not 0 <= anomaly.at_ns - reported.hour_ns < _HOUR_NS or not reported.count:
            reported.hour_ns, reported.count = anomaly.at_ns, 0
        reported.count += 1
        if reported.count <= MOST_IN_AN_HOUR:
            if anomaly.phase is Phase.BEGAN:
                reported.lasting.add(anomaly.kind)
            self._deliver_event(name, anomaly.at_ns, anomaly.state, describe(name, anomaly))
        elif reported.count == MOST_IN_AN_HOUR + 1:
            cause = f"{MOST_IN_AN_HOUR} anomalies were told within an hour; until it is over, more are only counted"
            self._deliver_event(name, anomaly.at_ns, "more", cause)

    def _deliver_event(self, name: str, at_ns: int, state: str, cause: str) -> None:
        self._deliver(Event(EventKind.ANOMALY, at_ns, name, state, cause))


def describe(name: str, anomaly: Anomaly) -> str:
    """Describe an anomaly of a channel `sensor.quantity` in one sentence, with its numbers."""
    unit = QUANTITIES[name.rpartition(".")[2]].unit
    value, expected = f"{anomaly.value:.6g} {unit}", f"{anomaly.expected:.6g} {unit}"
    lasted = f"{(anomaly.at_ns - anomaly.since_ns) / NS_PER_S:.6g} s"
    if anomaly.phase is Phase.ENDED:
        return f"it lasted {lasted}, its score was {anomaly.score:.1f}"
    match anomaly.kind:
        case AnomalyKind.SURPRISE:
            text = f"a reading of {value} where {expected} was expected, and it did not stay there"
        case AnomalyKind.JUMP:
            text = f"from {expected} to {value} at once, and it stayed"
        case AnomalyKind.LEVEL:
            text = f"{value} for the last {lasted}, usual at this hour is {expected}"
        case AnomalyKind.FLATLINE:
            text = f"{value} without any change for {lasted}, longer than ever before"
        case AnomalyKind.NOISE_BURST:
            text = f"noise of {value} for the last {lasted}, usual is {expected}"
        case AnomalyKind.DRIFT:
            text = f"it differs by {value} from its sibling, usual is {expected}"
        case AnomalyKind.GAP:
            text = f"no reading for {anomaly.value:.6g} s, usual is one in {anomaly.expected:.3g} s"
        case AnomalyKind.Z_SCORE:
            text = f"a reading of {value} where the mean of those before was {expected}"
    return f"{text}; score {anomaly.score:.1f}"


def watches_of(sensors: Mapping[str, Sequence[ChannelSettings]], findings: Findings) -> dict[str, dict[str, Watch]]:
    """Make the watches of all channels with anomaly settings, by sensor and quantity; pairs siblings."""
    watches = {
        name: {
            channel.quantity: Watch(f"{name}.{channel.quantity}", channel.anomaly, findings.report)
            for channel in settings
            if channel.anomaly is not None
        }
        for name, settings in sensors.items()
    }
    for name, settings in sensors.items():
        for channel in settings:
            if channel.sibling is not None and channel.quantity in watches[name]:
                sensor, _, quantity = channel.sibling.partition(".")
                if quantity in watches.get(sensor, {}):
                    watches[name][channel.quantity].pair(watches[sensor][quantity])
    return watches
