"""`edge-agent replay`: recorded readings through the same pipeline, store and uplink."""

from __future__ import annotations

import os
import random
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from edge_agent.cli.options import epoch_option, speed, with_broker
from edge_agent.clock import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.cli.plot import Plot
    from edge_agent.config.model import Config
    from edge_agent.pipeline.settings import ChannelSettings
    from edge_agent.quantity import ColumnMapping
    from edge_agent.sampling.recording import Recording
    from edge_agent.stages.alerts import AlertSettings

PATIENCE_S: Final = 5.0


@click.command
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--config", "config_path", type=click.Path(path_type=Path, dir_okay=False), help="Channels and uplink.")
@click.option(
    "--map",
    "maps",
    multiple=True,
    metavar="COLUMN=SENSOR.QUANTITY[:UNIT]",
    help="What a column is; repeat it. Units: c k f, pct fraction, pa hpa mbar kpa mmhg inhg, ppm, lx.",
)
@click.option("--broker", metavar="URL", help="mqtt[s]://HOST[:PORT]; default: the configured one.")
@click.option("--speed", "pace", default="max", type=speed, metavar="N|max", help="Recorded seconds per second.")
@click.option("--seed", type=click.IntRange(min=0), help="Of waiting times.")
@epoch_option
@click.option("--state-dir", type=click.Path(path_type=Path, file_okay=False), help="Where the outbox is.")
@click.option("--report", type=click.Path(path_type=Path, dir_okay=False), help="Write a JSON report at the end.")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Draw what became of it: png, svg, pdf.")
def replay(
    file: Path,
    config_path: Path | None,
    maps: tuple[str, ...],
    broker: str | None,
    pace: float | None,
    seed: int | None,
    epoch: int | None,
    state_dir: Path | None,
    report: Path | None,
    plot: Path | None,
) -> None:
    """Publish a recording: a CSV file with timestamp_ms, optionally sensor_id, and a column per field.

    Sensors of the configuration are calibrated, filtered and rounded as it says; any other passes as recorded.
    Rows that cannot be read are told of and left out.

    With --plot, a picture shows readings, estimates, anomalies and alerts. With neither --broker nor --config that is
    all: nothing is sent, and channels are filtered as those of a new sensor are.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from edge_agent.config.load import load_config
    from edge_agent.config.model import Config, Gateway, Outbox

    _check_plot(plot)
    if config_path is None and broker is None and plot is not None:
        _look(_open(file, _mappings(maps)), plot)
        return
    if config_path is not None:
        config = load_config(config_path)
    elif broker is None:
        raise click.UsageError("say where to: give --broker URL, or --config FILE with an [uplink]")
    else:
        # What is replayed can be replayed again: it need not be secured more often than it is sealed.
        config = Config(gateway=Gateway(id="replay"), buses={}, sensors=(), outbox=Outbox(durability_s=60.0))
    if broker is not None:
        config = with_broker(config, broker)
    mappings = _mappings(maps or config.replay.map)
    _run(_open(file, mappings), config, pace, seed, epoch, state_dir, report, plot)


def _mappings(texts: Sequence[str]) -> list[ColumnMapping]:
    from edge_agent.quantity import parse_mapping

    if not texts:
        raise click.UsageError(
            "say what the columns are: --map temp=air.temperature_c --map p=air.pressure_pa:hpa, or [replay] map = […]"
        )
    try:
        return [parse_mapping(text) for text in texts]
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--map") from None


def _open(file: Path, mappings: Sequence[ColumnMapping]) -> Recording:
    from edge_agent.sampling.recording import Recording

    return Recording(file, mappings, lambda sentence: click.echo(f"{sentence}; row left out", err=True))


def _run(
    recording: Recording,
    config: Config,
    pace: float | None,
    seed: int | None,
    epoch: int | None,
    state_dir: Path | None,
    report: Path | None,
    plot: Path | None,
) -> None:
    from edge_agent.agent.agent import Agent
    from edge_agent.agent.build import alert_settings, store_settings
    from edge_agent.cli.picture import picture_of, summary
    from edge_agent.cli.run import end_with, on_signals, remove_unless_pending, temporary_state_dir
    from edge_agent.clock import SimulatedClock
    from edge_agent.runtime import Pace
    from edge_agent.sampling.recording import ReplayWorker

    settings = _settings(config, recording)
    first_ns = recording.first_ns()
    if first_ns is None:
        click.echo(f"{recording.path}: no row that can be used")
        return
    clock = SimulatedClock(first_ns, boot_id=f"replay-{first_ns}")
    rng = random.Random(os.urandom(16) if seed is None else seed)  # noqa: S311 waiting times, no secrets
    stop = threading.Event()
    with ExitStack() as stack:
        directory = state_dir or temporary_state_dir()
        if state_dir is None:
            stack.callback(remove_unless_pending, directory)
        drawn = None if plot is None else _new_plot(alert_settings(config))

        def end() -> None:
            stop.set()
            agent.uplink.inbox.arrival.set()

        agent = Agent(
            config,
            settings,
            [lambda deliver: ReplayWorker(recording, clock, deliver, end)],
            clock=clock,
            rng=rng,
            directory=directory,
            store=store_settings(config, durable=state_dir is not None),
            taps=[] if drawn is None else [drawn],
            epoch=epoch,
        )
        wake = agent.uplink.inbox.arrival
        on_signals(end)
        picture = picture_of(agent, f"replaying {recording.path} to {config.uplink.url}")
        ticks = Pace(pace, wake, settle=lambda: agent.await_network(PATIENCE_S), shown=picture.show)
        try:
            agent.run_simulated(clock, ticks, end_ns=None, stop=stop, upkeep=False)
        finally:
            agent.drain(PATIENCE_S)
            picture.close()
            told = agent.report(seed)
            if report is not None:
                told.write(report)
            if drawn is not None and plot is not None:
                drawn.draw(plot, recording.path.name, clock.anchor().offset_ns)
    skipped = f", {recording.skipped} left out" if recording.skipped else ""
    click.echo(f"{recording.used:,} rows{skipped}\n{summary(told)}")
    end_with(told)


def _check_plot(plot: Path | None) -> None:
    """Tell what is wrong with the name of the picture before an hour is spent on what it would show."""
    if plot is None:
        return
    if plot.suffix.lower() not in {".png", ".svg", ".pdf"}:
        raise click.BadParameter(f"{plot.name} is neither .png nor .svg nor .pdf", param_hint="--plot")
    if not plot.parent.is_dir():
        raise click.BadParameter(f"there is no directory {plot.parent}", param_hint="--plot")
    _new_plot(())


def _new_plot(rules: Sequence[AlertSettings]) -> Plot:
    from edge_agent.errors import Unavailable
    from edge_agent.version import install_command

    try:
        from edge_agent.cli.plot import Plot
    except ModuleNotFoundError:
        raise Unavailable(f"the library for pictures is not installed: {install_command('plot')}") from None
    return Plot(rules)


def _look(recording: Recording, plot: Path) -> None:
    """Take a recording through the stages only, and draw what became of it."""
    from edge_agent.agent.channels import usual_channel
    from edge_agent.clock import SimulatedClock
    from edge_agent.pipeline.pipeline import Pipeline
    from edge_agent.pipeline.settings import BatchSettings
    from edge_agent.runtime import Pace, run_simulated
    from edge_agent.sampling.recording import ReplayWorker

    first_ns = recording.first_ns()
    if first_ns is None:
        click.echo(f"{recording.path}: no row that can be used")
        return
    clock, stop, drawn = SimulatedClock(first_ns), threading.Event(), _new_plot(())
    pipeline = Pipeline(
        {sensor: [usual_channel(name) for name in names] for sensor, names in recording.sensors().items()},
        BatchSettings(period_ns=60 * NS_PER_S, durability_ns=60 * NS_PER_S, time_step_ns=1, features=False),
        clock=clock,
        store=lambda _request: True,
        taps=[drawn],
    )
    worker = ReplayWorker(recording, clock, pipeline.deliver, stop.set)
    run_simulated([worker, pipeline], clock, Pace(None, threading.Event()), end_ns=None, stop=stop)
    pipeline.finish()
    drawn.draw(plot, recording.path.name, clock.anchor().offset_ns)
    skipped = f", {recording.skipped} left out" if recording.skipped else ""
    found = ", ".join(f"{count} {kind}" for kind, count in sorted(pipeline.snapshot().anomalies.items())) or "none"
    click.echo(f"{recording.used:,} rows{skipped}; anomalies: {found}\n{plot}")


def _settings(config: Config, recording: Recording) -> dict[str, list[ChannelSettings]]:
    """Configured sensors as configured; others as recorded: no filter, no rounding."""
    from edge_agent.agent.channels import channel_settings
    from edge_agent.pipeline.settings import ChannelSettings
    from edge_agent.quantity import QUANTITIES
    from edge_agent.stages.validate import Limits

    configured = channel_settings(config)
    settings: dict[str, list[ChannelSettings]] = {}
    for sensor, quantities in recording.sensors().items():
        known = {each.quantity: each for each in configured.get(sensor, [])}
        settings[sensor] = [
            known.get(name)
            or ChannelSettings(quantity=name, limits=Limits(QUANTITIES[name].minimum, QUANTITIES[name].maximum))
            for name in quantities
        ]
    return settings
