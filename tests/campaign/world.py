"""One campaign: a gateway in simulated time, its broker, its disk, and what goes wrong, all from one seed.

The agent is the production code from the bus up. It lives many lives: each ends with a stop, a kill or a power cut, and
the next one starts on what the disk holds.
"""

from __future__ import annotations

import random
import shutil
import tempfile
import threading
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from edge_agent.agent.agent import Agent
from edge_agent.agent.build import bus_sources, sampled_buses
from edge_agent.agent.channels import channel_settings
from edge_agent.cli.simulation import buses_of, simulated_recovery, simulated_rig
from edge_agent.clock import NS_PER_S, SimulatedClock
from edge_agent.errors import Unavailable
from edge_agent.outbox.boots import number_of
from edge_agent.outbox.schema import StoreSettings
from edge_agent.runtime import Pace
from edge_agent.simulate.i2c import SimulatedI2C
from tests.campaign.broker import NetworkClock, SimulatedBroker
from tests.campaign.checker import check_end, check_sums, digest
from tests.campaign.disk import Disk, damage
from tests.campaign.disk_files import DiskFiles
from tests.campaign.disk_plan import DiskPlan
from tests.campaign.faults import LifeEnds, Machine, Player
from tests.campaign.history import History
from tests.campaign.nth import FailingClock, Nth, guarded
from tests.campaign.setup import (
    AT_START,
    ATTEMPTS,
    BOOT_NS,
    DURABLE_NS,
    QUIET_S,
    RESTART_NS,
    ROT,
    START_WALL_NS,
    Result,
    config,
)
from tests.campaign.vfs import DiskVfs
from tests.campaign.watch import StoreWatch, observed

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from edge_agent.uplink.mqtt import Link


@dataclass
class World:
    """One campaign.

    Args:
        seed: of everything.
        hours: simulated time with faults; a quiet time follows.
        nth: the one call that fails in place of all other faults.
    """

    seed: int
    hours: float
    nth: Nth | None = None
    base_ns: int = 0
    """Campaign time minus boot time of the present life."""
    faults: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._rng = random.Random(f"{self.seed}/faults")
        self._clock = FailingClock(START_WALL_NS)
        self.history = History(self.elapsed_ns)
        self.disk = Disk(random.Random(f"{self.seed}/disk"))
        self.broker = SimulatedBroker(self._clock, self.history, self.elapsed_ns)
        self.plan = DiskPlan(self.disk)
        self.max_bytes = self._rng.choice((40, 40, 128, 1024)) * 1024
        self.quiet_s = QUIET_S if self.nth is None else 300
        self._boots = self._lives = 0
        self._files = DiskFiles(self.disk, self.history.secured)
        self._watch = StoreWatch(self._vfs_name, self.disk, self.history, self._statement)
        self.history.look = self._watch.look

    @property
    def _vfs_name(self) -> str:
        return f"campaign-{self.seed}"

    def elapsed_ns(self) -> int:
        """The campaign's own time."""
        return self.base_ns + self._clock.now_ns()

    def run(self) -> Result:
        """All lives, the quiet end, and the verdict."""
        place = "/dev/shm" if Path("/dev/shm").is_dir() else None
        self._directory = Path(tempfile.mkdtemp(prefix="campaign-", dir=place))
        self._vfs = DiskVfs(self.disk, self._vfs_name)
        end_ns = round(self.hours * 3600 * NS_PER_S)
        try:
            how = "cut"
            while self.elapsed_ns() < end_ns:
                half = self.nth is not None and self._lives == 0  # then the start on a filled outbox is among the calls
                how = self._live(how, end_ns // 2 if half else end_ns, quiet=self.nth is not None)
            if how != "end" or self.nth is not None:
                self._calm()
            for _attempt in range(ATTEMPTS):
                if how == "end" and self.nth is None:
                    break
                how = self._live(how, self.elapsed_ns() + self.quiet_s * NS_PER_S, quiet=True)
            check_end(self.history, every_reading=self.nth is not None and not self.nth.ends_process)
        finally:
            self._abandon()
            self.disk.close()
            self._vfs.unregister()
            shutil.rmtree(self._directory, ignore_errors=True)
        hours = self.elapsed_ns() / NS_PER_S / 3600
        return Result(self.seed, hours, self.faults, self.history.counts, self.history.violations, digest(self.history))

    # ---- lives

    def _live(self, before: str, end_ns: int, *, quiet: bool) -> str:
        """One life of the process. Returns how it ended."""
        self._start(before)
        with simulated_rig(config(), self._clock, self.seed) as rig, buses_of(rig, config()) as buses:
            bus = rig.buses["i2c1"]
            assert isinstance(bus, SimulatedI2C)
            true_offset_ns = START_WALL_NS + self.base_ns
            machine = Machine(self._clock, self.broker, self.plan, bus, self.history, true_offset_ns)
            player = Player(machine, self._rng, self.faults, self._look, quiet=quiet)
            if before == "cut":
                player.boot()
            if self.nth is not None:
                self.nth.arm(bus, self._clock, self.broker, self.plan)
            sampled = sampled_buses(config(), buses, simulated_recovery(rig, config()))
            sampling = bus_sources(sampled, self._clock, random.Random(f"{self.seed}/{self._lives}/sampling"))
            try:
                self._agent = self._make(
                    [lambda _: self.broker, lambda _: player, *(observed(source, self.history) for source in sampling)]
                )
                how = self._work(player, end_ns, quiet=quiet)
            except Unavailable as error:
                how = self._refused(error)
            except LifeEnds as ends:
                how = str(ends)
            except Exception as error:  # noqa: BLE001 whatever it is, it is a finding
                how = self._crashed(error)
        self._end(how)
        return how

    def _crashed(self, error: Exception) -> str:
        """The process ends by an exception."""
        if self.nth is not None and self.nth.meant(error):
            self.history.counts["starts that crashed"] += 1
        else:
            self.history.violate("unhandled", "".join(traceback.format_exception(error)))
        return "kill"

    def _failed(self, error: Exception) -> int:
        """A worker failed; on a gateway its thread goes on in a second."""
        if isinstance(error, LifeEnds):
            raise error
        if self.nth is None or not self.nth.meant(error):
            self.history.violate("unhandled", "".join(traceback.format_exception(error)))
        self.history.counts["steps that failed"] += 1
        return self._clock.now_ns() + NS_PER_S

    def _work(self, player: Player, end_ns: int, *, quiet: bool) -> str:
        agent = self._agent
        agent.monitor.period_ns = 10 * NS_PER_S  # a tenth of the steps, which are most of what an hour costs
        for worker in (*agent.sources[2:], agent.pipeline, agent.store, agent.uplink, agent.monitor):
            worker.step = guarded(worker.step, self._failed)  # type: ignore[method-assign]
        try:
            self._run_until(end_ns)
            if not quiet:  # all faults stop, and the same process must recover from them
                player.calm()
                self._calm()
                self._run_until(self.elapsed_ns() + self.quiet_s * NS_PER_S)
        except LifeEnds as ends:
            if str(ends) != "stop":
                raise
            agent.drain(5.0)
            self._settle()
            return "stop"
        agent.drain(60.0)
        return "end"

    def _run_until(self, end_ns: int) -> None:
        pace = Pace(None, threading.Event(), self._settle)
        self._agent.run_simulated(self._clock, pace, end_ns=end_ns - self.base_ns, stop=threading.Event())

    def _make(self, sources: list[Any]) -> Agent:
        connect = cast("Callable[..., sqlite3.Connection]", self._watch.connect)
        store = StoreSettings(self.max_bytes, connect=connect, files=self._files)
        self.history.epoch = self._lives
        self.plan.failed = 0
        return Agent(
            config(),
            channel_settings(config()),
            sources,
            clock=self._clock,
            rng=random.Random(f"{self.seed}/{self._lives}/agent"),
            directory=self._directory,
            store=store,
            epoch=self._lives,
            link=cast("Callable[..., Link]", self.broker.link),
            network_clock=NetworkClock(self._clock, self.broker),
        )

    def _start(self, before: str) -> None:
        """The clock of the next life: another boot after a power cut."""
        elapsed_ns = self.elapsed_ns() if self._lives else 0
        self._lives += 1
        new_boot = before == "cut"
        self._boots += new_boot
        start_ns = BOOT_NS if new_boot else self._clock.now_ns() + RESTART_NS
        anchor = SimulatedClock.anchor(self._clock)  # not one of the calls that may fail
        self._clock = FailingClock(START_WALL_NS, boot_id=f"boot-{self.seed}-{self._boots}", start_ns=start_ns)
        self.base_ns = elapsed_ns + RESTART_NS - start_ns
        self._clock.set_anchor(anchor)
        self.history.boot = number_of(self._clock.boot_id())
        self.broker.use(self._clock)
        if not new_boot:
            self.history.anchor(anchor, started=True)

    def _end(self, how: str) -> None:
        if self.plan.ended:
            how, self.plan.ended = self.plan.ended, ""
        if how == "cut":
            self.disk.cut()
        else:
            self.disk.kill()
        self._abandon()
        window_ns = None if self.plan.failed else 0 if how in {"stop", "end"} else DURABLE_NS
        self.history.process_ended(window_ns)
        self.disk.start()
        if how in {"kill", "cut"} and self.nth is None:
            if self._rng.random() < ROT:
                self._rot()
            if self._rng.random() < AT_START:
                self.faults["process ends while it starts"] += 1
                self.plan.ends = (self._rng.randrange(150), self._rng.choice(("kill", "cut")))
        self.plan.ends = self.plan.once = None
        self.disk.judge = self.plan.judge

    def _refused(self, error: Unavailable) -> str:
        """The agent refused to start: that is a finding, whatever failed."""
        if self.plan.ended:
            return self.plan.ended
        self.history.counts["starts refused"] += 1
        self.history.violate("start", f"the agent refuses to start: {error}")
        self._clock.advance_to(self._clock.now_ns() + 5 * NS_PER_S)
        if self._rng.random() < 0.3:
            self.plan.failing = 0  # nobody else ends it while no process runs
        return "kill"

    def _rot(self) -> None:
        """Bytes of a file change while no process runs: all that is stored is exposed."""
        files = [file for file in self._directory.iterdir() if file.is_file() and file.stat().st_size]
        if files:
            self.faults["stored bytes damaged"] += 1
            damage(self._rng.choice(sorted(files)), self._rng)
            self.history.expose()

    def _calm(self) -> None:
        """All faults stop."""
        network = type(self.broker.network)()
        self.broker.network = network
        self.broker.read()
        self.plan.failing, self.plan.ends, self.plan.once = 0, None, None
        if self.nth is not None:
            self.nth.over = True

    def _abandon(self) -> None:
        """What the kernel does with the descriptors of a process that is gone."""
        self._watch.close()
        self._files.close_all()

    # ---- what is watched

    def _settle(self) -> None:
        if not self.disk.power:
            raise LifeEnds(self.plan.ended or "kill")

    def _statement(self) -> None:
        if self.nth is not None:
            self.nth.call("statement")

    def _look(self) -> None:
        records = self._agent.report(self.seed).records
        check_sums(self.history, records, settled=not self._agent.store._failing)
