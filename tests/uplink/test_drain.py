"""Live records overtake a backlog, however slow the link is. Real time passes, so the backlog is small."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_agent.uplink.pace import Limits
from tests.uplink.drain import OVERHEAD_BYTES, Gateway, drain
from tests.uplink.proxy import Faults, Proxy

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Mosquitto

BODY_BYTES = 600


@pytest.mark.broker
@pytest.mark.parametrize(
    ("kbit_per_s", "delay_s", "lives", "every_s"), [(8, 0.05, 2, 4.0), (64, 0.3, 4, 1.0), (None, 0.0, 3, 0.3)]
)
def test_a_live_record_waits_two_seconds_at_most(
    mosquitto: Mosquitto, tmp_path: Path, kbit_per_s: int | None, delay_s: float, lives: int, every_s: float
) -> None:
    bytes_per_s = None if kbit_per_s is None else kbit_per_s * 1000 / 8
    with Proxy(mosquitto.port, Faults(bytes_per_s, delay_s)) as proxy:
        gateway = Gateway(tmp_path, proxy.port, mosquitto.port, 400, BODY_BYTES, Limits())
        result = drain(gateway, 400, lives=lives, every_s=every_s, most_s=lives * every_s + 4)
        gateway.stop()
    wire_s = 0.0 if bytes_per_s is None else (BODY_BYTES + OVERHEAD_BYTES) / bytes_per_s
    assert len(result.lags_s) == lives, "each of them arrived"
    assert max(result.lags_s) < 2 + 2 * delay_s + wire_s, result
    assert result.arrived == result.distinct, "nothing was sent twice"


@pytest.mark.broker
def test_the_link_is_used_all_the_same(mosquitto: Mosquitto, tmp_path: Path) -> None:
    with Proxy(mosquitto.port, Faults(8000, 0.3)) as proxy:
        gateway = Gateway(tmp_path, proxy.port, mosquitto.port, 50, BODY_BYTES, Limits())
        result = drain(gateway, 50, lives=0, every_s=1, most_s=20)
        gateway.stop()
    wire_s = 50 * (BODY_BYTES + OVERHEAD_BYTES) / 8000
    assert result.drained_s is not None
    assert result.drained_s < wire_s * 1.4 + 3, "one message at a time took 0.7 s each"
    assert result.eta_s is not None
    assert 0.3 * wire_s < result.eta_s < 0.9 * wire_s


@pytest.mark.broker
def test_a_configured_rate_is_kept(mosquitto: Mosquitto, tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, mosquitto.port, mosquitto.port, 100, BODY_BYTES, Limits(max_messages_per_s=10))
    result = drain(gateway, 100, lives=0, every_s=1, most_s=2)
    gateway.stop()
    assert 20 <= result.distinct <= 32, "ten at once, and ten in each second"
