"""What all campaigns share: the configuration, the times, and the form of a result."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from edge_agent.clock import NS_PER_S
from edge_agent.config.load import parse_config

if TYPE_CHECKING:
    from collections import Counter

    from edge_agent.config.model import Config
    from tests.campaign.facts import Violation

START_WALL_NS: Final = 1_767_225_600 * NS_PER_S
QUIET_S: Final = 4500
"""Simulated time after the last fault within which everything pending must have arrived: what was set aside is tried
again after an hour."""
RESTART_NS: Final = 3 * NS_PER_S
BOOT_NS: Final = 20 * NS_PER_S
DURABLE_NS: Final = 50 * NS_PER_S
"""A reading of that age must be durable when the process is killed: the configured 30 s, and a commit."""
ROT: Final = 0.05
"""Share of ends of the process after which stored bytes are damaged."""
AT_START: Final = 0.15
"""Share of ends of the process after which the next one ends while it starts, or soon after."""
ATTEMPTS: Final = 3
"""Starts in the quiet end; a healthy one needs one."""

CONFIG: Final = """
[gateway]
id = "g"
[bus.i2c1]
device = "/dev/i2c-1"
[[sensor]]
id = "air"
driver = "tmp117"
bus = "i2c1"
period_s = 10
[sensor.temperature_c]
filter = "none"
anomaly = "none"
send_raw = false
[batch]
features = false
period_s = 120
[outbox]
durability_s = 30
[uplink]
url = "mqtt://127.0.0.1:1"
[[alert]]
when = "air.temperature_c > 22"
clear = 21.5
"""


@cache
def config() -> Config:
    """The configuration of all campaigns."""
    return parse_config(CONFIG)


@dataclass(frozen=True, slots=True)
class Result:
    """What one campaign gave. Can be passed between processes. `digest` tells one history from another."""

    seed: int
    hours: float
    faults: Counter[str]
    counts: Counter[str]
    violations: list[Violation]
    digest: str = ""
