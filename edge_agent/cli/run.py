"""`edge-agent [run]`: the daemon, and with `--simulate` the same thing on a simulated rig."""

from __future__ import annotations

import dataclasses
import logging
import os
import random
import signal
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from edge_agent.cli.options import (
    DEFAULT_CONFIG,
    SIMULATION_START,
    config_option,
    epoch_option,
    speed,
    to_ns,
    wall_time,
    with_broker,
)
from edge_agent.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.agent.agent import Agent
    from edge_agent.agent.report import Report
    from edge_agent.clock import SimulatedClock
    from edge_agent.config.model import Config

log = logging.getLogger(__name__)

PATIENCE_S: Final = 2.0
"""How long simulated time waits for a broker that does not answer."""
SIMULATED_DRAIN_S: Final = 0.7
"""Ctrl-C ends a simulation in less than two seconds."""


@dataclasses.dataclass(frozen=True, slots=True)
class Simulation:
    """What `--simulate` was asked for. `speed` None is as fast as the machine can."""

    speed: float | None
    duration_s: float | None
    seed: int
    start_ns: int | None
    scenario: str | None
    epoch: int | None


@click.command
@config_option
@click.option("--simulate", is_flag=True, help="Mock chips under the real drivers; needs no hardware, no root.")
@click.option("--scenario", metavar="FILE|NAME", help="With --simulate: what goes wrong, and when.")
@click.option("--speed", "pace", default="1", type=speed, metavar="N|max", help="Simulated seconds per second.")
@click.option(
    "--duration", "duration_s", type=click.FloatRange(min=0), metavar="SECONDS", help="End after so many seconds."
)
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Of weather and noise.")
@epoch_option
@click.option("--start", "start_ns", type=wall_time, metavar="TIME", help="Simulated wall time at the start.")
@click.option("--broker", metavar="URL", help="mqtt[s]://HOST[:PORT] instead of the configured or embedded one.")
@click.option(
    "--state-dir", type=click.Path(path_type=Path, file_okay=False), help="Where the outbox is; default: as configured."
)
@click.option("--report", type=click.Path(path_type=Path, dir_okay=False), help="Write a JSON report at the end.")
def run(
    config_path: Path | None,
    simulate: bool,
    scenario: str | None,
    pace: float | None,
    duration_s: float | None,
    seed: int,
    epoch: int | None,
    start_ns: int | None,
    broker: str | None,
    state_dir: Path | None,
    report: Path | None,
) -> None:
    """Sample, store and forward until stopped.

    With --simulate the buses are simulated down to the chips' registers, and a broker is started unless --broker
    names one. The same seed gives the same readings at any speed; simulated time begins at 2026-01-01T00:00:00Z,
    but with speed 1 and no --start it is now.
    """
    if report is not None and not report.parent.is_dir():
        raise click.BadParameter(f"there is no directory {report.parent}", param_hint="--report")
    if scenario is not None and not simulate:
        raise click.UsageError("--scenario needs --simulate")
    if epoch is not None and not simulate:
        raise click.UsageError("--epoch needs --simulate: every run of a gateway has an epoch of its own")
    if simulate:
        asked = Simulation(pace, duration_s, seed, start_ns, scenario, epoch)
        _simulate(config_path, asked, broker, state_dir, report)
    else:
        _work(config_path, duration_s, broker, state_dir, report)


def _work(
    config_path: Path | None, duration_s: float | None, broker: str | None, state_dir: Path | None, report: Path | None
) -> None:
    """Run on real buses until a signal comes."""
    # numpy's BLAS would start a thread per core and take 20 MiB for multiplications that never come.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # The scheduler's time zones would load all that Python was built with, 0.6 MiB, to learn where they are.
    os.environ.setdefault("PYTHONTZPATH", "/usr/share/zoneinfo:/usr/lib/zoneinfo:/usr/share/lib/zoneinfo:/etc/zoneinfo")
    from edge_agent.cli.main import set_up_logging
    from edge_agent.config.child import load_config_in_child

    set_up_logging()
    loaded = load_config_in_child(config_path or DEFAULT_CONFIG)
    # While the child reads it, all that takes long to load.
    from edge_agent.agent.gateway import Gateway

    config = loaded()
    if broker is not None:
        config = with_broker(config, broker)
    if not config.sensors:
        log.warning("no sensors are configured: `edge-agent scan` prints what to add")
    stop = threading.Event()
    on_signals(stop.set)
    with Gateway(config, directory=state_dir) as gateway:
        try:
            gateway.run(stop, duration_s)
        finally:
            if report is not None and gateway.is_started:
                gateway.report().write(report)
    tally = gateway.snapshot().store.tally
    log.info(
        "edge-agent stopped committed=%d confirmed=%d tombstoned=%d pending=%d",
        tally.committed,
        tally.confirmed,
        tally.tombstoned,
        tally.pending,
    )
    end_with(gateway.report())


def _simulate(
    config_path: Path | None, asked: Simulation, broker: str | None, state_dir: Path | None, report: Path | None
) -> None:
    """Run on simulated buses until the duration is over or Ctrl-C."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from edge_agent.agent.agent import Agent
    from edge_agent.agent.build import bus_sources, sampled_buses, store_settings
    from edge_agent.agent.channels import channel_settings
    from edge_agent.cli.simulation import buses_of, rig_config, simulated_recovery, simulated_rig
    from edge_agent.clock import SimulatedClock

    config = rig_config(config_path)
    scenario = None
    if asked.scenario is not None:
        from edge_agent.simulate.scenario import ScenarioPlayer, load_scenario

        scenario = load_scenario(asked.scenario)
    start_ns = _start_ns(asked)
    # A boot is named by what it is, so that two runs into one --state-dir do not mix up their times.
    clock = SimulatedClock(start_ns, boot_id=f"simulated-{asked.seed}-{start_ns}")
    rng = random.Random(asked.seed)  # noqa: S311 meant to be repeatable
    with ExitStack() as stack:
        config, headline = _choose_broker(config, broker, stack)
        directory = state_dir or temporary_state_dir()
        if state_dir is None:
            stack.callback(remove_unless_pending, directory)
        rig = stack.enter_context(simulated_rig(config, clock, asked.seed))
        player = None if scenario is None else ScenarioPlayer(scenario, rig, clock)
        buses = stack.enter_context(buses_of(rig, config))
        # Its own numbers: how often the network made the uplink draw must not change a reading's time.
        sampling_rng = random.Random(f"{asked.seed}/sampling")  # noqa: S311
        sources = bus_sources(sampled_buses(config, buses, simulated_recovery(rig, config)), clock, sampling_rng)
        if player is not None:
            sources.insert(0, lambda _deliver: player)
        agent = Agent(
            config,
            channel_settings(config),
            sources,
            clock=clock,
            rng=rng,
            directory=directory,
            store=store_settings(config, durable=state_dir is not None),
            epoch=asked.epoch,
        )
        told = _run_to_the_end(agent, clock, asked, headline, report)
    end_with(told)


def _run_to_the_end(
    agent: Agent, clock: SimulatedClock, asked: Simulation, headline: str, report: Path | None
) -> Report:
    """Run a simulated agent until the duration is over or Ctrl-C, and show what it does."""
    from edge_agent.cli.picture import picture_of, summary
    from edge_agent.clock import NS_PER_S
    from edge_agent.runtime import Pace

    stop, wake = threading.Event(), agent.uplink.inbox.arrival

    def end() -> None:
        stop.set()
        wake.set()

    on_signals(end)
    picture = picture_of(agent, headline)
    fast = asked.speed is None or asked.speed > 1
    pace = Pace(
        asked.speed,
        wake,
        settle=(lambda: agent.await_network(PATIENCE_S)) if fast else _no_wait,
        shown=picture.show,
    )
    end_ns = None if asked.duration_s is None else clock.now_ns() + round(asked.duration_s * NS_PER_S)
    try:
        agent.run_simulated(clock, pace, end_ns=end_ns, stop=stop)
    finally:
        # A receiver confirms once a second.
        agent.drain(SIMULATED_DRAIN_S if agent.config.uplink.ack == "puback" else PATIENCE_S)
        picture.close()
        told = agent.report(asked.seed)
        if report is not None:
            told.write(report)
    click.echo(summary(told))
    return told


def end_with(report: Report) -> None:
    """End with exit code 69 if the outbox took nothing in at the end.

    Raises:
        Unavailable: it did not.
    """
    outbox = report.outbox
    if not outbox.failure:
        return
    lost = "what was in memory has arrived"
    if outbox.lost_records:
        lost = f"{outbox.lost_records} records with {outbox.lost_readings} readings were in memory only and are lost"
    raise Unavailable(f"the outbox took nothing in: {outbox.failure}; {lost}; check the disk, or give a --state-dir")


def _no_wait() -> None:
    """At real speed the network has the time that it takes."""


def _start_ns(asked: Simulation) -> int:
    from edge_agent.clock import SystemClock

    if asked.start_ns is not None:
        return asked.start_ns
    if asked.speed == 1:
        clock = SystemClock()
        return clock.now_ns() + clock.anchor().offset_ns
    return to_ns(SIMULATION_START)


def _choose_broker(config: Config, broker: str | None, stack: ExitStack) -> tuple[Config, str]:
    """The configuration with the broker to use, and a headline that says which.

    A configured broker is not used unless it is asked for: nobody wants invented readings among real ones.
    """
    if broker is not None:
        return with_broker(config, broker), f"simulating {config.gateway.id}, broker {broker}"
    from edge_agent.agent.dialect import format_of
    from edge_agent.simulate.broker import EmbeddedBroker

    embedded = stack.enter_context(EmbeddedBroker())
    config = dataclasses.replace(
        config, uplink=dataclasses.replace(config.uplink, url=embedded.url, username=None, ca_file=None, cert_file=None)
    )
    form = format_of(config)
    prefix = config.uplink.prefix or f"edge/{config.gateway.id}"
    if form.load is None:
        prefix = f"spBv1.0/{config.uplink.sparkplug_group}"
    shown = "'%t %p'" if form.is_text else "'%t %x'"
    if form.may_refer:
        shown += " | edge-agent decode"
    return config, (
        f"simulating {config.gateway.id}, embedded broker {embedded.url}\n"
        f"watch it:  mosquitto_sub -V 5 -p {embedded.port} -t '{prefix}/#' -F {shown}"
    )


def temporary_state_dir() -> Path:
    """A directory for an outbox that is thrown away; in memory, where a flush costs nothing, if the system has that."""
    import tempfile

    in_memory = Path("/dev/shm")  # noqa: S108 mkdtemp makes a directory of our own in it
    place = in_memory if in_memory.is_dir() and os.access(in_memory, os.W_OK) else None
    return Path(tempfile.mkdtemp(prefix="edge-agent-", dir=place))


def remove_unless_pending(directory: Path) -> None:
    """Remove a temporary outbox, but not with records that nobody else has."""
    import shutil

    from edge_agent.outbox.recovery import pending_in

    if pending := pending_in(directory):
        kept = "1 record is" if pending == 1 else f"{pending} records are"
        click.echo(f"{kept} kept: run again with --state-dir {directory} to deliver what waits")
    else:
        shutil.rmtree(directory, ignore_errors=True)


def on_signals(act: Callable[[], object]) -> None:
    """Call `act` on Ctrl-C and on SIGTERM, from now on."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: act())
