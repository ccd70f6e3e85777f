"""Wall time that is wrong, steps and drifts: what a receiver makes of it is right in the end."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

import pytest

from edge_agent.agent.agent import Agent
from edge_agent.clock import NS_PER_S, Anchor, ClockQuality, SimulatedClock
from edge_agent.config.load import parse_config
from edge_agent.pipeline.settings import ChannelSettings
from edge_agent.reading import Event, Measurement, TimeFix
from edge_agent.runtime import Pace
from edge_agent.stages.validate import Limits
from edge_agent.wire.batch import Batch
from edge_agent.wire.codec import decode_message

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = '[gateway]\nid = "g"\n[uplink]\nurl = "mqtt://127.0.0.1:1"\n'
TRUE_NS = 1_800_000_000 * NS_PER_S
"""True wall minus boot time."""
HOUR_NS = 3600 * NS_PER_S
DAY_NS = 24 * HOUR_NS


class Gateway:
    """An agent whose records leave as soon as they are stored, and what a receiver makes of them.

    Args:
        directory: of the outbox.
        anchor: wall time at the start.
        boot: name of the boot.
    """

    def __init__(self, directory: Path, anchor: Anchor, boot: str = "boot") -> None:
        self.clock = SimulatedClock(0, boot_id=boot)
        self.clock.set_anchor(anchor)
        channels = {"air": [ChannelSettings("temperature_c", Limits(-40, 85))]}
        self.agent = Agent(parse_config(CONFIG), channels, clock=self.clock, rng=random.Random(1), directory=directory)
        self.period_ns = 10 * NS_PER_S
        self.measured: list[int] = []
        self.fixes: list[TimeFix] = []
        self.offsets: dict[int, int] = {}
        """Wall minus boot time of each stamp, as the receiver has it."""

    def run(self, seconds: float, *, sends: bool = True) -> None:
        """Measure at each period, and send what is stored."""
        end_ns = self.clock.now_ns() + round(seconds * NS_PER_S)
        while self.clock.now_ns() < end_ns:
            self.agent.pipeline.deliver(Measurement("air", self.clock.now_ns(), ("temperature_c",), (21.5,)))
            self.measured.append(self.clock.now_ns())
            pace = Pace(speed=None, wake=threading.Event())
            until_ns = min(end_ns, self.clock.now_ns() + self.period_ns)
            self.agent.run_simulated(self.clock, pace, end_ns=until_ns, stop=threading.Event())
            if sends:
                self.send()

    def send(self) -> None:
        """Hand records to the receiver. A time-fix holds for what came before it and for what comes later."""
        for _lane, record in self.agent.outbox.hand_out(1000):
            message = decode_message(self.agent._messages.record(record))
            if isinstance(message.content, Batch):
                for at_ns in message.content.groups[0].times_ns:
                    self.offsets[at_ns] = message.envelope.offset_ns
            elif isinstance(message.content, Event) and message.content.fix is not None:
                assert message.content.fix.boot == self.agent.outbox.boot
                self.fixes.append(message.content.fix)
            self.agent.outbox.confirm(record)
        self.agent.outbox.commit()
        for fix in self.fixes if self.applies_fixes else ():
            for at_ns in self.offsets:
                if fix.from_ns <= at_ns <= fix.to_ns:
                    self.offsets[at_ns] = fix.new_offset_ns

    applies_fixes = True

    def finish(self) -> None:
        """Let everything arrive."""
        self.run(70)
        self.agent.pipeline.finish()
        self.agent.store.step()
        self.send()
        self.agent.drain(0)

    def worst_ns(self) -> int:
        """Largest error of a reading at the receiver."""
        assert self.offsets.keys() == set(self.measured), "every reading arrived"
        return max(abs(offset_ns - TRUE_NS) for offset_ns in self.offsets.values())


RIGHT = Anchor(TRUE_NS, ClockQuality.SYNCED, 0)


def off_by(error_ns: int, quality: ClockQuality) -> Anchor:
    return Anchor(TRUE_NS + error_ns, quality, 0)


STEPS_NS = {
    "1970": -TRUE_NS,
    "-1 y": -365 * DAY_NS,
    "-1 h": -HOUR_NS,
    "+1 h": HOUR_NS,
    "+30 d": 30 * DAY_NS,
    "+55 y": 55 * 365 * DAY_NS,
}


@pytest.mark.parametrize("error_ns", STEPS_NS.values(), ids=STEPS_NS)
def test_a_clock_that_is_wrong_at_boot_is_right_in_the_end(tmp_path: Path, error_ns: int) -> None:
    gateway = Gateway(tmp_path, off_by(error_ns, ClockQuality.NONE))
    gateway.run(200)
    assert {offset_ns - TRUE_NS for offset_ns in gateway.offsets.values()} == {error_ns}, (
        "some left with the wrong time"
    )
    gateway.run(100, sends=False)
    gateway.clock.set_anchor(RIGHT)
    gateway.finish()
    assert gateway.worst_ns() <= 1_000_000


@pytest.mark.parametrize("error_ns", STEPS_NS.values(), ids=STEPS_NS)
def test_what_was_stored_before_the_clock_was_known_leaves_with_the_right_time(tmp_path: Path, error_ns: int) -> None:
    gateway = Gateway(tmp_path, off_by(error_ns, ClockQuality.NONE))
    gateway.run(200, sends=False)
    gateway.clock.set_anchor(RIGHT)
    gateway.run(10, sends=False)
    gateway.applies_fixes = False
    gateway.finish()
    assert gateway.worst_ns() <= 1_000_000, "without any correction at the receiver"
    assert [(fix.from_ns, fix.old_offset_ns, fix.new_offset_ns) for fix in gateway.fixes] == [
        (0, TRUE_NS + error_ns, TRUE_NS)
    ]


@pytest.mark.parametrize("error_ns", STEPS_NS.values(), ids=STEPS_NS)
def test_somebody_who_sets_the_clock_changes_nothing(tmp_path: Path, error_ns: int) -> None:
    """The kernel calls such a clock unsynchronised, until NTP sets it right."""
    gateway = Gateway(tmp_path, RIGHT)
    gateway.run(100)
    gateway.clock.set_anchor(off_by(error_ns, ClockQuality.HOLDOVER))
    gateway.run(100)
    gateway.clock.set_anchor(RIGHT)
    gateway.finish()
    assert gateway.worst_ns() <= 1_000_000


def test_a_step_of_a_synchronised_clock_restates_only_what_follows(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, RIGHT)
    gateway.run(100)
    stepped = off_by(5 * NS_PER_S, ClockQuality.SYNCED)
    before = set(gateway.measured)
    gateway.clock.set_anchor(stepped)
    gateway.finish()
    for at_ns, offset_ns in gateway.offsets.items():
        assert offset_ns == (RIGHT if at_ns in before else stepped).offset_ns


def test_a_clock_that_drifted_for_three_days_is_restated_bit_by_bit(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, RIGHT)
    gateway.run(60)
    gateway.clock.set_anchor(off_by(0, ClockQuality.HOLDOVER))
    gateway.period_ns = HOUR_NS
    gateway.run(72 * 3600)
    gateway.period_ns = 10 * NS_PER_S
    drifted_ns = round(20e-6 * 72 * HOUR_NS)
    assert drifted_ns == pytest.approx(5.2 * NS_PER_S, rel=0.01)
    moved = Anchor(TRUE_NS + drifted_ns, ClockQuality.SYNCED, 0)
    synced_ns = gateway.clock.now_ns()
    gateway.clock.set_anchor(moved)
    gateway.finish()
    for at_ns, offset_ns in gateway.offsets.items():
        true_ns = TRUE_NS + round(20e-6 * min(at_ns, synced_ns))
        assert abs(offset_ns - true_ns) < 0.15 * NS_PER_S, "one offset would be wrong by five seconds"


def test_the_anchors_of_a_boot_are_there_after_a_restart(tmp_path: Path) -> None:
    first = Gateway(tmp_path, RIGHT)
    first.run(100, sends=False)
    before = set(first.measured)
    first.clock.set_anchor(off_by(5 * NS_PER_S, ClockQuality.SYNCED))
    first.run(100, sends=False)
    first.agent.drain(0)
    second = Gateway(tmp_path, off_by(5 * NS_PER_S + 1000, ClockQuality.SYNCED))
    second.clock.advance_to(first.clock.now_ns())
    second.finish()
    early = {second.offsets[at_ns] - TRUE_NS for at_ns in before if at_ns < max(before) - 60 * NS_PER_S}
    assert early == {0}, "stamps before the step keep their anchor"


def test_a_reboot_without_a_clock_keeps_the_times_of_the_boot_before(tmp_path: Path) -> None:
    first = Gateway(tmp_path, RIGHT, "before")
    first.run(100, sends=False)
    first.agent.drain(0)
    second = Gateway(tmp_path, off_by(-TRUE_NS, ClockQuality.NONE), "after")
    second.run(30)
    assert {second.offsets[at_ns] for at_ns in first.measured} == {TRUE_NS}
    second.agent.drain(0)
