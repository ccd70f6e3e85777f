"""Watching channels: each reading goes past the channel's detector, and what is found becomes events, not too many.

One broken sensor must not fill the outbox: of each channel, a few findings an hour are told of, then that there are
more, and these are counted. The end of something is told whenever its beginning was.
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
"""So many findings of one channel are told of; the rest of the hour's are counted."""
STAGE: Final = "anomaly"
_PAIR: Final = "sibling "
_HOUR_NS: Final = 3600 * NS_PER_S


class Watch:
    """One channel: its detector, and the pairs that it is part of.

    Args:
        name: `sensor.quantity`.
        settings: of its detector.
        tell: what to do with a finding about a channel of that name.
    """

    def __init__(self, name: str, settings: AnomalySettings, tell: Callable[[str, Anomaly], None]) -> None:
        self.name = name
        self.detector = settings.build()
        self.shift_ns = 0
        """Taken from stamps: detectors learn hours of the day, and their time goes on when the machine starts anew."""
        self._settings = settings
        self._tell = tell
        self._pairs: list[tuple[Siblings, int, str]] = []
        self._siblings: dict[str, Siblings] = {}  # by name, of those whose drift is told of this channel

    def pair(self, other: Watch) -> None:
        """Compare with a channel that measures the same. A drift is told of this one, as its difference from that."""
        siblings = self._siblings[other.name] = Siblings(THRESHOLD)
        self._pairs.append((siblings, 0, self.name))
        other._pairs.append((siblings, 1, self.name))

    def remembered(self) -> list[Remembered]:
        """What a restart should not have to learn again."""
        pairs = [Remembered(self.name, _PAIR + other, each.state()) for other, each in self._siblings.items()]
        return [Remembered(self.name, STAGE, self.detector.state()), *pairs]

    def restore(self, remembered: Remembered) -> None:
        """Go on where an earlier run ended. What belongs to another stage is left alone.

        Raises:
            ValueError: it is no state of the stage that it names.
        """
        if remembered.stage == STAGE:
            detector = self._settings.build()  # so that a state of which half is good changes nothing
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
        """Look at a block; see `Detector.run`."""
        shift_ns = self.shift_ns
        if shift_ns:
            times_ns = [now_ns - shift_ns for now_ns in times_ns]
        for anomaly in self.detector.run(times_ns, values, flags, estimates):
            self._tell(self.name, _shifted(anomaly, shift_ns))
        for siblings, side, name in self._pairs:
            for anomaly in siblings.take(side, times_ns, values):
                self._tell(name, _shifted(anomaly, shift_ns))


def _shifted(anomaly: Anomaly, by_ns: int) -> Anomaly:
    if not by_ns:
        return anomaly
    return replace(anomaly, at_ns=anomaly.at_ns + by_ns, since_ns=anomaly.since_ns + by_ns)


class _Told:
    """What was told of one channel."""

    def __init__(self) -> None:
        self.hour_ns = 0  # where the hour began
        self.count = 0  # in it
        self.lasting: set[AnomalyKind] = set()  # told to have begun, and not to have ended


class Findings:
    """Makes events of findings.

    Args:
        deliver: takes the events.

    Attributes:
        counts: findings by kind, told or not; what lasts counts once.
    """

    def __init__(self, deliver: Callable[[Event], None]) -> None:
        self.counts: Counter[str] = Counter()
        self._deliver = deliver
        self._told: dict[tuple[str, bool], _Told] = {}

    def tell(self, name: str, anomaly: Anomaly) -> None:
        """Take a finding about a channel."""
        # A drift is found when the other channel's block comes, whichever of the others were found before.
        told = self._told.setdefault((name, anomaly.kind is AnomalyKind.DRIFT), _Told())
        if anomaly.phase is Phase.ENDED:
            if anomaly.kind in told.lasting:
                told.lasting.discard(anomaly.kind)
                self._deliver_event(name, anomaly.at_ns, anomaly.state, describe(name, anomaly))
            return
        self.counts[anomaly.kind.value] += 1
        if not 0 <= anomaly.at_ns - told.hour_ns < _HOUR_NS or not told.count:
            told.hour_ns, told.count = anomaly.at_ns, 0
        told.count += 1
        if told.count <= MOST_IN_AN_HOUR:
            if anomaly.phase is Phase.BEGAN:
                told.lasting.add(anomaly.kind)
            self._deliver_event(name, anomaly.at_ns, anomaly.state, describe(name, anomaly))
        elif told.count == MOST_IN_AN_HOUR + 1:
            cause = f"{MOST_IN_AN_HOUR} anomalies were told within an hour; until it is over, more are only counted"
            self._deliver_event(name, anomaly.at_ns, "more", cause)

    def _deliver_event(self, name: str, at_ns: int, state: str, cause: str) -> None:
        self._deliver(Event(EventKind.ANOMALY, at_ns, name, state, cause))


def describe(name: str, anomaly: Anomaly) -> str:
    """One sentence with the evidence, for an anomaly of a channel `sensor.quantity`."""
    unit = QUANTITIES[name.rpartition(".")[2]].unit
    value, expected = f"{anomaly.value:.6g} {unit}", f"{anomaly.expected:.6g} {unit}"
    lasted = f"{(anomaly.at_ns - anomaly.since_ns) / NS_PER_S:.6g} s"
    if anomaly.phase is Phase.ENDED:
        return f"it lasted {lasted}, its score was {anomaly.score:.1f}"
    match anomaly.kind:
        case AnomalyKind.SURPRISE:
            told = f"a reading of {value} where {expected} was expected, and it did not stay there"
        case AnomalyKind.JUMP:
            told = f"from {expected} to {value} at once, and it stayed"
        case AnomalyKind.LEVEL:
            told = f"{value} for the last {lasted}, usual at this hour is {expected}"
        case AnomalyKind.FLATLINE:
            told = f"{value} without any change for {lasted}, longer than ever before"
        case AnomalyKind.NOISE_BURST:
            told = f"noise of {value} for the last {lasted}, usual is {expected}"
        case AnomalyKind.DRIFT:
            told = f"it differs by {value} from its sibling, usual is {expected}"
        case AnomalyKind.GAP:
            told = f"no reading for {anomaly.value:.6g} s, usual is one in {anomaly.expected:.3g} s"
        case AnomalyKind.Z_SCORE:
            told = f"a reading of {value} where the mean of those before was {expected}"
    return f"{told}; score {anomaly.score:.1f}"


def watches_of(sensors: Mapping[str, Sequence[ChannelSettings]], findings: Findings) -> dict[str, dict[str, Watch]]:
    """Those of all channels that are watched, by sensor and quantity; siblings know of each other."""
    watches = {
        name: {
            channel.quantity: Watch(f"{name}.{channel.quantity}", channel.anomaly, findings.tell)
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
