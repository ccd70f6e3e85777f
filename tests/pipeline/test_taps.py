from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from edge_agent.clock import NS_PER_S, SimulatedClock
from edge_agent.pipeline.pipeline import Pipeline
from edge_agent.pipeline.settings import BatchSettings, ChannelSettings
from edge_agent.reading import Event, EventKind, Measurement
from edge_agent.stages.alerts import AlertSettings, parse_condition
from edge_agent.stages.validate import Limits

if TYPE_CHECKING:
    from edge_agent.reading import ChannelBlock

S = NS_PER_S
START_NS = 10 * S
T, H = "temperature_c", "humidity_pct"
CHANNEL = ChannelSettings(T, Limits(-40.0, 85.0))
SENSORS = {"air": [CHANNEL, replace(CHANNEL, quantity=H)], "soil": [CHANNEL]}
RULE = AlertSettings("warm", "air.temperature_c > 40", parse_condition("air.temperature_c > 40"))


class Listener:
    """A tap that wants some channels, and keeps what it receives."""

    def __init__(self, *wanted: tuple[str, str], prompt: bool) -> None:
        self.prompt = prompt
        self.blocks: list[tuple[str, str, list[float | None]]] = []
        self.events: list[Event] = []
        self._wanted = wanted

    def wants(self, sensor: str, quantity: str) -> bool:
        """Whether the channel is among those wanted."""
        return (sensor, quantity) in self._wanted

    def saw(self, sensor: str, quantity: str, block: ChannelBlock) -> None:
        """Keep the values."""
        self.blocks.append((sensor, quantity, list(block.values)))

    def heard(self, event: Event) -> None:
        """Keep the event."""
        self.events.append(event)


class Bench:
    """A pipeline with taps, whose rows are secured after 10 s and sealed after 60 s."""

    def __init__(self, *taps: Listener, alerts: tuple[AlertSettings, ...] = ()) -> None:
        self.clock = SimulatedClock(0, start_ns=START_NS)
        self.pipeline = Pipeline(
            SENSORS,
            BatchSettings(60 * S, 10 * S),
            clock=self.clock,
            store=lambda _request: True,
            alerts=alerts,
            taps=taps,
        )

    def measure(self, at_s: int, temperature_c: float) -> None:
        """Advance the clock, deliver a measurement of each sensor, step."""
        boot_ns = START_NS + at_s * S
        self.clock.advance_to(boot_ns)
        self.pipeline.deliver(Measurement("air", boot_ns, (T, H), (temperature_c, 50.0)))
        self.pipeline.deliver(Measurement("soil", boot_ns, (T,), (temperature_c - 10.0,)))
        self.pipeline.step()


@pytest.mark.parametrize("prompt", [False, True])
def test_a_tap_sees_only_the_channels_that_it_wants_and_each_reading_once(prompt: bool) -> None:
    tap = Listener(("air", H), ("soil", T), prompt=prompt)
    bench = Bench(tap)
    for second in range(15):
        bench.measure(second, 20.0 + second)
    bench.pipeline.finish()
    assert {(sensor, quantity) for sensor, quantity, _ in tap.blocks} == {("air", H), ("soil", T)}
    soil = [value for sensor, _, values in tap.blocks if sensor == "soil" for value in values]
    assert soil == [10.0 + second for second in range(15)]
    assert sum(len(values) for sensor, _, values in tap.blocks if sensor == "air") == 15


def test_a_prompt_tap_sees_each_reading_at_the_next_step() -> None:
    tap = Listener(("air", T), prompt=True)
    bench = Bench(tap)
    for second in range(5):
        bench.measure(second, 20.0 + second)
        assert tap.blocks[second:] == [("air", T, [20.0 + second])]


def test_a_tap_that_is_not_prompt_sees_readings_when_rows_are_secured() -> None:
    tap = Listener(("air", T), prompt=False)
    bench = Bench(tap)
    for second in range(10):
        bench.measure(second, 20.0 + second)
    assert tap.blocks == []
    bench.measure(10, 30.0)
    assert tap.blocks == [("air", T, [20.0 + second for second in range(11)])]


def test_a_tap_that_is_not_prompt_sees_readings_when_a_batch_is_sealed() -> None:
    tap = Listener(("air", T), prompt=False)
    bench = Bench(tap)
    bench.measure(0, 20.0)
    bench.pipeline.seal()
    assert tap.blocks == [("air", T, [20.0])]


def test_a_prompt_tap_hurries_only_the_sensors_that_it_wants() -> None:
    prompt, patient = Listener(("air", T), prompt=True), Listener(("air", H), ("soil", T), prompt=False)
    bench = Bench(prompt, patient)
    bench.measure(0, 20.0)
    bench.measure(1, 21.0)
    assert [(sensor, quantity) for sensor, quantity, _ in patient.blocks] == [("air", H), ("air", H)]


@pytest.mark.parametrize("prompt", [False, True])
def test_a_tap_hears_events_and_alerts_whatever_channels_it_wants(prompt: bool) -> None:
    tap = Listener(prompt=prompt)
    bench = Bench(tap, alerts=(RULE,))
    failed = Event(EventKind.SENSOR_STATE, START_NS, "soil", "offline", "it does not answer")
    bench.pipeline.deliver(failed)
    bench.measure(1, 20.0)
    bench.measure(2, 45.0)
    bench.measure(3, 20.0)
    assert tap.blocks == []
    assert tap.events[0] == failed
    assert [(event.kind, event.subject, event.state) for event in tap.events[1:]] == [
        (EventKind.ALERT, "warm", "firing"),
        (EventKind.ALERT, "warm", "resolved"),
    ]
