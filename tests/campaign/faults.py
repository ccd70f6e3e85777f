"""What goes wrong, and when: drawn from the seed, carried out by a worker on the simulated timeline."""

from __future__ import annotations

import errno
import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edge_agent.clock import NS_PER_S, Anchor, ClockQuality
from edge_agent.runtime import Inbox
from tests.campaign.disk import Call
from tests.campaign.disk_plan import WRITES
from tests.campaign.network import Door, Network

if TYPE_CHECKING:
    import random
    from collections import Counter
    from collections.abc import Callable

    from edge_agent.clock import SimulatedClock
    from edge_agent.simulate.i2c import SimulatedI2C
    from tests.campaign.broker import SimulatedBroker
    from tests.campaign.disk_plan import DiskPlan
    from tests.campaign.history import History

MEAN_S: Final = 150.0
"""Mean time between two faults."""
_HOUR_S: Final = 3600
_STEPS_S: Final = (-_HOUR_S, _HOUR_S, -365 * 86_400, 30 * 86_400, 55 * 365 * 86_400)
_CODES: Final = (0x10, 0x97, 0x87, 0x80, 0x83)
_BUS_CODES: Final = (errno.EREMOTEIO, errno.EIO, errno.ETIMEDOUT)


class LifeEnds(Exception):
    """The process ends: `stop` asks it to, `kill` does not, with `cut` the machine loses its power."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What faults are done to, during one life of the process."""

    clock: SimulatedClock
    broker: SimulatedBroker
    disk: DiskPlan
    bus: SimulatedI2C
    history: History
    true_offset_ns: int


class Player:
    """Draws faults and carries them out. A worker, put before those of the agent.

    Args:
        machine: what they are done to.
        rng: draws them.
        counts: number of faults by kind.
        look: called every ten minutes, to compare the report with what was seen.
        quiet: whether nothing goes wrong in this life.
    """

    name = "faults"

    def __init__(
        self,
        machine: Machine,
        rng: random.Random,
        counts: Counter[str],
        look: Callable[[], object],
        *,
        quiet: bool,
    ) -> None:
        self.inbox: Inbox[Any] = Inbox(1)
        self._machine = machine
        self._rng = rng
        self._counts = counts
        self._look = look
        self._number = 0
        self._quiet = quiet
        self._due: list[tuple[int, int, Callable[[], object]]] = []
        self._kinds = {
            "link dies": (12, self._link_dies),
            "connections refused": (6, lambda: self._door(Door.REFUSES)),
            "black hole": (6, lambda: self._door(Door.BLACK_HOLE)),
            "no CONNACK": (4, lambda: self._door(Door.SILENT)),
            "half-open link": (8, self._half_open),
            "slow link": (6, self._slow),
            "small broker": (3, self._small),
            "no acknowledgements": (4, self._machine.broker.stop_answering),
            "broker answers a reason code": (10, self._code),
            "broker refuses for ever": (1, self._hopeless),
            "subscriber away": (4, self._away),
            "broker wiped": (3, self._wiped),
            "disk fails once": (10, self._disk_once),
            "disk fails for a while": (4, self._disk_failing),
            "sync fails for a while": (2, self._sync_failing),
            "sync fails before a power cut": (2, self._sync_then_cut),
            "bus fault": (12, self._bus_fault),
            "bus stuck": (3, self._bus_stuck),
            "clock steps": (6, self._clock_steps),
            "process killed": (4, lambda: self._end("kill")),
            "power cut": (4, lambda: self._end("cut")),
            "process stopped": (1, lambda: self._end("stop")),
        }
        self.after(600 * NS_PER_S, self._look_again)
        if not quiet:
            self.after(self._while(60), self._restore)  # faults of the life before
            self._plan()

    def calm(self) -> None:
        """No more faults begin; those under way end in their time."""
        self._quiet = True

    def boot(self) -> None:
        """A machine without a battery clock begins with a wrong time, until NTP has set it."""
        machine = self._machine
        right = Anchor(machine.true_offset_ns, ClockQuality.SYNCED, 0)
        if self._quiet or self._rng.random() < 0.5:
            self.set_anchor(right)
            return
        wrong_ns = self._rng.randrange(1, 10**6) * NS_PER_S
        self.set_anchor(Anchor(machine.true_offset_ns - wrong_ns, ClockQuality.NONE, 0))
        self.after(round(self._rng.expovariate(1 / 120) * NS_PER_S), lambda: self.set_anchor(right))

    def step(self) -> int | None:
        """Do what is due."""
        while self._due and self._due[0][0] <= self._machine.clock.now_ns():
            heapq.heappop(self._due)[2]()
        return self._due[0][0] if self._due else None

    def after(self, delay_ns: int, act: Callable[[], object]) -> None:
        """Do something later in this life."""
        self._number += 1
        heapq.heappush(self._due, (self._machine.clock.now_ns() + delay_ns, self._number, act))

    def _plan(self) -> None:
        self.after(round(self._rng.expovariate(1 / MEAN_S) * NS_PER_S), self._strike)

    def _strike(self) -> None:
        if self._quiet:
            return
        self._plan()
        weights = [weight for weight, _act in self._kinds.values()]
        (kind,) = self._rng.choices(list(self._kinds), weights)
        self._counts[kind] += 1
        self._kinds[kind][1]()

    def _look_again(self) -> None:
        self._look()
        self.after(600 * NS_PER_S, self._look_again)

    def _while(self, mean_s: float) -> int:
        """Duration of a fault; one of ten lasts ten times as long."""
        longer = 10 if self._rng.random() < 0.1 else 1
        return round(self._rng.expovariate(1 / (mean_s * longer)) * NS_PER_S)

    def _restore(self) -> None:
        """End what an earlier life left."""
        network, fresh = self._machine.broker.network, Network()
        network.door, network.rtt_ns, network.code = fresh.door, fresh.rtt_ns, fresh.code
        self._machine.disk.failing = 0
        self._back()

    # ---- network and broker

    def _link_dies(self) -> None:
        self._machine.broker.break_links("connection reset")

    def _door(self, door: Door) -> None:
        network = self._machine.broker.network
        network.door = door
        self._link_dies()
        self.after(self._while(90), lambda: setattr(network, "door", Door.OPEN))

    def _half_open(self) -> None:
        self._machine.broker.deafen()

    def _slow(self) -> None:
        network, before_ns = self._machine.broker.network, 20_000_000
        network.rtt_ns = round(self._rng.choice((0.5, 5, 29, 70)) * NS_PER_S)
        self.after(self._while(120), lambda: setattr(network, "rtt_ns", before_ns))

    def _small(self) -> None:
        """The broker takes one record at a time, as after a restart with another configuration."""
        network = self._machine.broker.network
        network.receive_maximum = self._rng.choice((1, 2, 20))
        self._link_dies()

    def _code(self) -> None:
        network = self._machine.broker.network
        network.code = self._rng.choice(_CODES)
        self.after(self._while(120), lambda: setattr(network, "code", 0))

    def _hopeless(self) -> None:
        network = self._machine.broker.network
        network.code = 0x95
        self.after(self._while(30), lambda: setattr(network, "code", 0))

    def _away(self) -> None:
        broker = self._machine.broker
        broker.network.reader = False
        self.after(self._while(300), self._back)

    def _back(self) -> None:
        self._machine.broker.network.reader = True
        self._machine.broker.read()

    def _wiped(self) -> None:
        self._machine.broker.wipe()
        self._door(Door.REFUSES)

    # ---- disk, bus, clock, life

    def _disk_once(self) -> None:
        call = self._rng.choice(list(Call))
        code = self._rng.choice((errno.EIO, errno.ENOSPC, errno.EROFS))
        self._machine.disk.once = (self._rng.randrange(4), frozenset({call}), code)

    def _sync_then_cut(self) -> None:
        """What a failed sync gave up is readable until the power goes, and then it is not."""
        self._machine.disk.once = (self._rng.randrange(3), frozenset({Call.SYNC}), errno.EIO)
        self._machine.disk.ends = (self._rng.randrange(1, 80), "cut")

    def _disk_failing(self) -> None:
        disk = self._machine.disk
        disk.failing = self._rng.choice((errno.EIO, errno.ENOSPC, errno.EROFS))
        disk.calls = WRITES
        self.after(self._while(60), lambda: setattr(disk, "failing", 0))

    def _sync_failing(self) -> None:
        """Writes reach the page cache, and can be read there, but not the card."""
        disk = self._machine.disk
        disk.failing, disk.calls = errno.EIO, frozenset({Call.SYNC})
        self.after(self._while(60), lambda: setattr(disk, "failing", 0))

    def _bus_fault(self) -> None:
        if self._rng.random() < 0.3:
            self._machine.bus.corrupt_next(self._rng.randrange(2), 1 << self._rng.randrange(8))
        else:
            self._machine.bus.fail_next(self._rng.randrange(1, 6), self._rng.choice(_BUS_CODES))

    def _bus_stuck(self) -> None:
        self._machine.bus.stick_after(0)
        self.after(self._while(60), self._machine.bus.recover)

    def _clock_steps(self) -> None:
        """Wall time is set wrongly, and later NTP sets it right."""
        machine = self._machine
        wrong_ns = self._rng.choice(_STEPS_S) * NS_PER_S
        quality = self._rng.choice((ClockQuality.SYNCED, ClockQuality.HOLDOVER))
        self.set_anchor(Anchor(machine.true_offset_ns + wrong_ns, quality, 0))
        right = Anchor(machine.true_offset_ns, ClockQuality.SYNCED, 0)
        self.after(self._while(600), lambda: self.set_anchor(right))

    def set_anchor(self, anchor: Anchor) -> None:
        """Step the wall clock."""
        self._machine.clock.set_anchor(anchor)
        self._machine.history.anchor(anchor, started=False)

    def _end(self, how: str) -> None:
        """At once, or in the middle of a write."""
        if how == "stop" or self._rng.random() < 0.3:
            raise LifeEnds(how)
        self._machine.disk.ends = (self._rng.randrange(30), how)
