"""The public way to embed: a gateway as one object, on the machine's own clock and buses."""

from __future__ import annotations

import logging
import os
import random
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Self

from edge_agent.agent.agent import Agent
from edge_agent.agent.build import bus_sources, open_buses, recovery_steps, sampled_buses
from edge_agent.agent.channels import channel_settings
from edge_agent.agent.measure import measure_once
from edge_agent.agent.report import report_of
from edge_agent.clock import SystemClock
from edge_agent.errors import Unavailable
from edge_agent.outbox.prepare import prepare_outbox

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from edge_agent.agent.report import Report
    from edge_agent.agent.snapshot import Snapshot
    from edge_agent.config.model import Config
    from edge_agent.pipeline.taps import Tap
    from edge_agent.reading import Measurement


log = logging.getLogger(__name__)


class Gateway:
    """A gateway: reads the sensors of a configuration, and runs the agent that stores and forwards.

    Use it in a `with` statement, which closes the buses. One `run` or `read` at a time; `snapshot` from any thread.

    Args:
        config: what to do.
        directory: of the outbox; None: as configured.
        taps: who sees readings and events on their way.
    """

    def __init__(self, config: Config, *, directory: Path | None = None, taps: Iterable[Tap] = ()) -> None:
        self.config = config
        self._directory = directory or Path(config.outbox.directory)
        self._taps = list(taps)
        self._clock = SystemClock()
        self._buses = open_buses(config)
        self._agent: Agent | None = None

    def read(self) -> dict[str, Measurement]:
        """Measure once with every sensor, without storing or sending anything.

        Returns:
            By sensor id; a sensor that gave nothing is missing.
        """
        sensors = measure_once(self.config, self._buses, self._clock)
        return {name: sensor.last for name, sensor in sensors.items() if sensor.last is not None}

    def run(self, stop: threading.Event | None = None, duration_s: float | None = None) -> Report:
        """Sample, store and forward, with a thread per worker. Returns when it has ended and everything is stored.

        Args:
            stop: ends the run when it is set; None: only `duration_s` does.
            duration_s: ends the run after so many seconds; None: only `stop` does.

        Returns:
            What the run did.

        Raises:
            Unavailable: the outbox, a secret or a TLS file cannot be used.
        """
        prepare_outbox(self._directory)
        rng = random.Random(os.urandom(16))  # noqa: S311 waiting times, no secrets
        buses = sampled_buses(self.config, self._buses, recovery_steps(self.config, self._buses))
        self._agent = Agent(
            self.config,
            channel_settings(self.config),
            bus_sources(buses, self._clock, rng),
            clock=self._clock,
            rng=rng,
            directory=self._directory,
            taps=self._taps,
        )
        log.info("edge-agent started gateway=%s epoch=%d", self.config.gateway.id, self._agent.outbox.epoch)
        self._agent.run_threads(stop or threading.Event(), duration_s)
        return self._agent.report()

    @property
    def is_started(self) -> bool:
        """Whether it runs, or has run."""
        return self._agent is not None

    def report(self) -> Report:
        """What the run has done so far. Raises as `snapshot`."""
        return report_of(self.snapshot(), None)

    def snapshot(self) -> Snapshot:
        """What the gateway is doing, or did in its last run.

        Raises:
            Unavailable: it has not been run yet.
        """
        if self._agent is None:
            raise Unavailable("the gateway is not running: there is no snapshot before run()")
        return self._agent.snapshot()

    def close(self) -> None:
        """Close the buses. Twice is harmless."""
        for bus in self._buses.values():
            bus.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
