"""Everything arrives although the link fails in the middle of a backlog."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_agent.clock import NS_PER_S, SystemClock
from edge_agent.uplink.pace import Limits
from tests.uplink.drain import Gateway
from tests.uplink.proxy import Faults, Proxy, Way

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Mosquitto

BACKLOG = 150
WELL = Faults(delay_s=0.02)


def arrive(gateway: Gateway, arrived: set[int], count: int, seconds: float) -> int:
    """Wait until so many different records have arrived. Returns how many messages it took."""
    clock, messages = SystemClock(), 0
    deadline_ns = clock.now_ns() + round(seconds * NS_PER_S)
    while len(arrived) < count:
        assert clock.now_ns() < deadline_ns, f"only {len(arrived)} of {count} records arrived"
        arrived.add(gateway.arrivals.get(timeout=seconds)[0])
        messages += 1
    return messages


def _cut(proxy: Proxy) -> None:
    proxy.faults = Faults(delay_s=0.02, cut_after=20_000)  # in the middle of a packet, if it is not one's last byte


def _one_way(proxy: Proxy) -> None:
    proxy.faults = Faults(swallowed=frozenset({Way.DOWN}))


@pytest.mark.broker
@pytest.mark.parametrize("fault", [Proxy.reset, _cut, _one_way, Proxy.half_open])
def test_no_record_is_lost_by_a_fault_of_the_link(
    mosquitto: Mosquitto, tmp_path: Path, fault: Callable[[Proxy], None]
) -> None:
    arrived: set[int] = set()
    with Proxy(mosquitto.port, WELL) as proxy:
        gateway = Gateway(tmp_path, proxy.port, mosquitto.port, BACKLOG, 600, Limits())
        gateway.start()
        messages = arrive(gateway, arrived, 40, 10)
        fault(proxy)
        SystemClock().wait(gateway.uplink.inbox.arrival, SystemClock().now_ns() + NS_PER_S // 2)
        gateway.live(BACKLOG)
        proxy.faults = WELL
        proxy.reset()
        messages += arrive(gateway, arrived, BACKLOG + 1, 20)
        gateway.stop()
    assert arrived == set(range(BACKLOG + 1))
    assert messages - len(arrived) <= 16 * 3, "only what was in flight comes twice"
