from __future__ import annotations

import json
import random
import zlib
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.clock import NS_PER_S, SimulatedClock
from edge_agent.pipeline.memory import Remembered, read_memory, write_memory
from edge_agent.reading import Flag
from edge_agent.stages.filters.auto import AutoSettings
from edge_agent.stages.filters.kalman import KalmanSettings
from edge_agent.stages.filters.median import MedianSettings

if TYPE_CHECKING:
    from edge_agent.stages.filters.estimates import Filter

S = NS_PER_S
WALL_NS = 1_767_225_600 * S
STATES = [Remembered("air.temperature_c", "auto", (1, 2.5, -3)), Remembered("hot", "alert", (2, 17))]


def saved(text: bytes = b"", other: bytes = b"") -> bytes:
    """Saved a thousand seconds after a boot; some of it may be something else."""
    body = write_memory(SimulatedClock(WALL_NS, start_ns=1000 * S, boot_id="a"), STATES)
    plain = zlib.decompress(body)
    assert text in plain
    return zlib.compress(plain.replace(text, other)) if text else body


def test_within_one_boot_stamps_stay() -> None:
    assert read_memory(saved(), SimulatedClock(WALL_NS, start_ns=1060 * S, boot_id="a")) == (STATES, 0, True)


def test_after_a_reboot_stamps_move_by_wall_time() -> None:
    # It was saved 1000 s after its boot, and 40 s of wall time later the machine has been up for 10 s.
    now = SimulatedClock(WALL_NS + 40 * S, start_ns=10 * S, boot_id="b")
    remembered, shift_ns, _ = read_memory(saved(), now)
    assert remembered == STATES
    assert 1000 * S + shift_ns == 10 * S - 40 * S


def test_what_is_remembered_never_lies_ahead() -> None:
    earlier = SimulatedClock(WALL_NS - 3600 * S, start_ns=10 * S, boot_id="b")
    _, shift_ns, _ = read_memory(saved(), earlier)
    assert 1000 * S + shift_ns == 10 * S


class _Unsynced(SimulatedClock):
    def anchor(self) -> Any:
        return super().anchor().__class__(0, type(super().anchor().quality).NONE, 0)


def test_where_wall_time_is_not_known_all_of_it_is_long_ago() -> None:
    _, shift_ns, is_dated = read_memory(saved(), _Unsynced(0, start_ns=2000 * S, boot_id="b"))
    assert not is_dated
    assert 1000 * S + shift_ns < -300 * 86_400 * S


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"7",
        b"null",
        b"\xff",
        b'{"version":1}',
        b'{"version":2}',
        b"[" * 100000,
        saved(b"2.5", b'"x"'),
        saved(b"2.5", b"null"),
        saved(b"2.5", b"1e999"),
        saved(b"2.5", b"NaN"),
        saved(b"2.5", b"true"),
        saved(b"2.5", b"9" * 400),
        saved(b'"alert",2,17', b""),
        saved(b'"boot"', b'"boat"'),
        saved()[:-9],
    ],
)
def test_what_is_no_memory_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 json says its part
        read_memory(body, SimulatedClock(0))


@given(st.binary(max_size=60), st.booleans())
def test_any_bytes_are_refused_or_read(body: bytes, deflated: bool) -> None:
    try:
        remembered, *_ = read_memory(zlib.compress(body) if deflated else body, SimulatedClock(0))
    except ValueError:
        return
    assert all(isinstance(each, Remembered) for each in remembered)


KINDS = [AutoSettings(0.05, 0.01), KalmanSettings(0.05, 1e-3), MedianSettings(0.05, 5)]


@pytest.mark.parametrize("settings", KINDS, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("shift_ns", [0, -5_000 * S, 7 * S])
def test_a_filter_that_is_restored_on_other_stamps_goes_on_as_if_nothing_had_happened(
    settings: AutoSettings | KalmanSettings | MedianSettings, shift_ns: int
) -> None:
    rng = random.Random(5)
    values = [20.0 + 0.01 * row + rng.gauss(0.0, 0.05) for row in range(300)]
    times_ns = [10_000 * S + row * S for row in range(300)]
    whole, before, after = settings.build(), settings.build(), settings.build()
    run(before, times_ns[:150], values[:150])
    after.restore(tuple(json.loads(json.dumps(before.state()))), shift_ns)
    later = run(after, [now_ns + shift_ns for now_ns in times_ns[150:]], values[150:])
    assert later == pytest.approx(run(whole, times_ns, values)[150:], abs=1e-12)


def run(filter_: Filter, times_ns: list[int], values: list[float]) -> list[float]:
    estimates = filter_.run(times_ns, values, [Flag(0)] * len(values))
    return [value for value in estimates.values if value is not None]


def test_after_a_long_time_a_filter_begins_at_what_is_measured_but_still_knows_the_noise() -> None:
    rng = random.Random(6)
    settings = AutoSettings()
    before, after = settings.build(), settings.build()
    at = count(10_000)
    run(before, [next(at) * S for _ in range(400)], [20.0 + rng.gauss(0.0, 0.05) for _ in range(400)])
    after.restore(before.state(), -400 * 86_400 * S)
    estimates = after.run([60 * S, 61 * S], [25.0, 25.01], [Flag(0), Flag(0)])
    assert estimates.values[0] == 25.0
    assert estimates.sigmas[0] == pytest.approx(0.05, rel=0.5)
