from __future__ import annotations

import random

import pytest

from edge_agent.clock import NS_PER_S, SimulatedClock
from edge_agent.simulate.chips.ascii_line import GREETING, make_device
from edge_agent.simulate.chips.base import Part, SerialSlave, SerialTalker
from edge_agent.simulate.world import Air

AIR = Air(25.4, 57.1, 100_500.0)


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(0)


def device(clock: SimulatedClock, **options: object) -> object:
    return make_device(Part(clock, lambda _: AIR, random.Random(1), options=options))


@pytest.mark.parametrize(
    ("options", "start"),
    [
        ({}, b"25.4"),
        ({"separator": ";"}, b"25.4"),
        ({"format": "keyvalue", "columns": ("T=temperature_c",)}, b"T=25."),
        ({"format": "json", "columns": ("a.t=temperature_c*0.1",)}, b'{"a": {"t": 25'),
        ({"columns": ("", "temperature_c:F")}, b"x,77."),
    ],
)
def test_a_microcontroller_writes_what_its_options_say(
    clock: SimulatedClock, options: dict[str, object], start: bytes
) -> None:
    found = device(clock, **options)
    assert isinstance(found, SerialTalker)
    clock.advance_to(clock.now_ns() + NS_PER_S)
    said = found.speak()
    assert said.startswith(GREETING)
    assert said.endswith(b"\r\n")
    assert said[len(GREETING) :].startswith(start)


def test_one_that_only_answers_does_so_without_a_line_end(clock: SimulatedClock) -> None:
    found = device(clock, request="READ", columns=("temperature_c",))
    assert isinstance(found, SerialSlave)
    assert found.frame_length(b"REA") is None
    assert found.frame_length(b"READ") == 4
    reply = found.respond(b"READ")
    assert reply is not None
    assert float(reply) == pytest.approx(25.4, abs=0.1)
    assert found.respond(b"WHAT") is None
