from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from edge_agent.clock import NS_PER_S
from edge_agent.pipeline.rules import Rules, Surroundings
from edge_agent.reading import ChannelBlock, Event, EventKind, Flag, status_of
from edge_agent.stages.alerts import AlertSettings, parse_condition

if TYPE_CHECKING:
    from collections.abc import Sequence

S = NS_PER_S
T = "temperature_c"
BAD, PREDICTED, ODD = (status_of(flag) for flag in (Flag.NO_VALUE, Flag.OUTLIER, Flag.TOO_FAST))


@dataclass
class World:
    """Rules, what they are about, and what they told."""

    whens: Sequence[str]
    for_s: float = 0.0
    over: int = 3
    pending: int = 0
    uplink: str = "online"
    told: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        settings = [
            AlertSettings(when, when, parse_condition(when), for_ns=round(self.for_s * S), over=self.over)
            for when in self.whens
        ]
        around = Surroundings(lambda: self.pending, lambda: self.uplink, lambda: "synced")
        self.rules = Rules(settings, self.told.append, around)

    def saw(self, *values: float | None, at_s: int = 0, status: int = 0, quantity: str = T) -> None:
        """Readings, one a second."""
        times_ns = [(at_s + row) * S for row in range(len(values))]
        self.rules.saw(
            "air", quantity, ChannelBlock(times_ns, values, values, [None] * len(values), [status] * len(values))
        )

    def states(self) -> list[tuple[str, str]]:
        """Which rule said what."""
        return [(event.subject, event.state) for event in self.told]


def test_each_reading_of_a_block_counts_at_its_own_moment() -> None:
    world = World(["air.temperature_c > 40"])
    world.saw(39.0, 41.0, 39.5, at_s=10)
    assert [(event.kind, event.boot_ns, event.state) for event in world.told] == [
        (EventKind.ALERT, 11 * S, "firing"),
        (EventKind.ALERT, 12 * S, "resolved"),
    ]
    assert world.told[0].severity == "warning"
    assert (world.rules.fired, world.rules.firing) == (1, [])


def test_other_channels_say_nothing_to_a_rule() -> None:
    world = World(["air.temperature_c > 40"])
    world.saw(99.0, quantity="humidity_pct")
    world.rules.saw("soil", T, ChannelBlock([0], [99.0], [99.0], [None], [0]))
    assert world.told == []
    assert world.rules.wants("air", T)
    assert not world.rules.wants("soil", T)


@pytest.mark.parametrize(("status", "counts"), [(0, True), (ODD, True), (BAD, False), (PREDICTED, False)])
def test_bad_readings_and_predictions_are_no_evidence(status: int, counts: bool) -> None:
    world = World(["air.temperature_c > 40"])
    world.saw(99.0, status=status)
    assert bool(world.told) is counts


def test_while_nothing_is_measured_a_rule_about_a_number_stays_as_it_is() -> None:
    world = World(["air.temperature_c > 40"], for_s=60)
    world.saw(41.0)
    assert world.rules.look(1000 * S) is None
    assert world.told == []


def test_a_feature_is_computed_over_as_many_readings_as_asked() -> None:
    world = World(["air.temperature_c.slope_per_s > 0.5", "air.temperature_c.range > 2.5"], over=4)
    world.saw(20.0, 21.0, 22.0)
    assert world.told == []
    world.saw(23.0, at_s=3)
    assert world.states() == [(when, "firing") for when in world.whens]
    world.saw(23.0, 23.0, 23.0, at_s=4)
    assert [event.state for event in world.told[2:]] == ["resolved", "resolved"]


def test_quality_is_a_state() -> None:
    world = World(["air.temperature_c bad"])
    world.saw(20.0)
    world.saw(None, status=BAD, at_s=1)
    world.saw(20.0, at_s=2)
    assert [event.state for event in world.told] == ["firing", "resolved"]


def test_a_sensor_that_stays_offline_is_told_after_a_while_without_any_reading() -> None:
    world = World(["air offline"], for_s=60)
    world.rules.heard(Event(EventKind.SENSOR_STATE, 0, "air", "offline", "gone"))
    assert world.rules.look(10 * S) == 70 * S
    assert world.rules.look(70 * S) is None
    world.rules.measured("air")
    world.rules.look(80 * S)
    assert [(event.boot_ns // S, event.state) for event in world.told] == [(70, "firing"), (80, "resolved")]


def test_nothing_is_said_of_a_sensor_of_which_nothing_is_known() -> None:
    world = World(["air sampling", "air offline"])
    world.rules.look(0)
    assert world.told == []


def test_outbox_and_uplink_are_looked_at_whenever_there_is_something_to_do() -> None:
    world = World(["outbox.pending > 1000", "uplink offline"])
    world.rules.look(0)
    world.pending, world.uplink = 1001, "offline"
    world.rules.look(1 * S)
    world.pending, world.uplink = 1000, "online"
    world.rules.look(2 * S)
    assert [event.state for event in world.told] == ["firing", "firing", "resolved", "resolved"]


def test_after_a_restart_a_rule_that_fires_is_not_told_again_and_its_end_is() -> None:
    before, after = World(["air.temperature_c > 40"]), World(["air.temperature_c > 40", "air.temperature_c > 41"])
    before.saw(45.0)
    after.rules.restore(before.rules.remembered(), 0)
    after.saw(46.0)
    assert after.rules.firing == ["air.temperature_c > 40", "air.temperature_c > 41"]
    after.saw(20.0, at_s=1)
    assert after.states() == [
        ("air.temperature_c > 41", "firing"),
        ("air.temperature_c > 40", "resolved"),
        ("air.temperature_c > 41", "resolved"),
    ]
