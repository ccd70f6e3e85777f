"""The status message: JSON, in full or shortened in stages until it is small enough. Pure.

The announcement is left out last, because batches refer to it.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from edge_agent.clock import NS_PER_S
from edge_agent.quantity import QUANTITIES
from edge_agent.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edge_agent.agent.snapshot import Snapshot
    from edge_agent.config import model
    from edge_agent.outbox.epochs import Epoch
    from edge_agent.wire.announcement import Announcement

ONLINE = "online"
_MOST_EPOCHS = 100
"""Epochs in a status; a gateway that was started more often without a link tells of the others later."""


def status_message(
    state: str, config: model.Config, snapshot: Snapshot, announcement: Announcement | None, most_bytes: int
) -> bytes:
    """The retained status. Birth and heartbeat say everything, last will and farewell only who is gone.

    Args:
        state: `online`, `stopped` or `offline`.
        config: who the gateway is, and which sensors it has.
        snapshot: what it is doing.
        announcement: the one in use; None: there is none.
        most_bytes: size that it should not exceed.

    Returns:
        The message with the most content that is small enough; if none is, the shortest one.
    """
    store = snapshot.store
    fields: dict[str, Any] = {"state": state, "node": snapshot.node, "epoch": store.epoch}
    if store.volatile:
        fields["volatile"] = {"epoch": store.epoch, "upto": store.last_seq, "because": store.failure}
    encoded = b""
    for stage in _stages(fields, config, snapshot, announcement) if state == ONLINE else (fields,):
        encoded = json.dumps(stage, separators=(",", ":"), ensure_ascii=False).encode()
        if len(encoded) <= most_bytes:
            break
    return encoded


def _stages(
    identity: dict[str, Any], config: model.Config, snapshot: Snapshot, announcement: Announcement | None
) -> Iterator[dict[str, Any]]:
    """Yield the members of the status, each time fewer ones."""
    clock, gateway = snapshot.clock, config.gateway
    states = {sensor.id: sensor.state.value for sensor in snapshot.sensors()}
    base = {
        **identity,
        "version": __version__,
        "site": gateway.site,
        "location": gateway.location,
        "t_ns": clock.wall_ns,
        "t_quality": clock.quality.name.lower(),
    }
    announced = {"announcement": announcement.to_text()} if announcement is not None else {}
    counts = _counts(snapshot)
    counts["epochs"] = [{"epoch": each.epoch, "boot": each.boot, "upto": each.mark} for each in _told(snapshot)]
    rules = {"alerts": snapshot.pipeline.alerts_firing}
    sensors = {sensor.id: _described(sensor, states) for sensor in config.sensors}
    yield {**base, **announced, **counts, **rules, "sensors": sensors}
    base["shortened"] = True
    for described in sensors.values():
        del described["calibration"]
    yield {**base, **announced, **counts, **rules, "sensors": sensors}
    brief = {name: {"state": described["state"]} for name, described in sensors.items()}
    yield {**base, **announced, **counts, **rules, "sensors": brief}
    yield {**base, **announced, **counts, **rules}
    yield {**base, **announced, **counts}
    yield {**base, **counts}
    del counts["epochs"]
    yield {**base, **counts}


def _counts(snapshot: Snapshot) -> dict[str, Any]:
    """What is said of records."""
    reason, eta_s = snapshot.uplink.aside_reason, snapshot.backlog_eta_s
    return {
        "backlog": {"records": snapshot.backlog, "eta_s": None if eta_s is None else round(eta_s, 1)},
        "wear": _wear(snapshot),
        "records": asdict(snapshot.store.tally) | {"set_aside": snapshot.store.set_aside},
        **_receivers(snapshot),
        **({"set_aside_reason": reason} if reason else {}),
    }


def _receivers(snapshot: Snapshot) -> dict[str, Any]:
    """What is said of receivers; nothing if they are not awaited, or nothing is wrong."""
    uplink = snapshot.uplink
    said = {
        "unconfirmed": uplink.unconfirmed,
        "unheard": uplink.unheard,
        "ignored_receivers": list(uplink.ignored_receivers),
        "ignored_messages": uplink.ignored_messages,
    }
    return {name: value for name, value in said.items() if value}


def _wear(snapshot: Snapshot) -> dict[str, Any]:
    """What is written, and how often open rows are secured."""
    wear, outbox, device = snapshot.store.wear, snapshot.outbox_mib_per_day, snapshot.device_mib_per_day
    return {
        "durability_s": round(wear.durability_ns / NS_PER_S, 1),
        **({"because": wear.because} if wear.because else {}),
        "outbox_mib_per_day": None if outbox is None else round(outbox, 2),
        "device": snapshot.device.name or "unknown",
        "device_mib_per_day": None if device is None else round(device, 2),
    }


def _told(snapshot: Snapshot) -> Sequence[Epoch]:
    """The oldest epochs of which records wait, and the current one."""
    epochs = snapshot.store.epochs
    return epochs if len(epochs) <= _MOST_EPOCHS else [*epochs[: _MOST_EPOCHS - 1], epochs[-1]]


def _described(sensor: model.Sensor, states: Mapping[str, str]) -> dict[str, Any]:
    """What the birth says of one sensor."""
    return {
        "driver": sensor.driver.name,
        "title": sensor.driver.title,
        "location": sensor.location,
        "bus": sensor.bus,
        "address": sensor.address,
        "period_s": sensor.period_s,
        "state": states.get(sensor.id, "replayed"),
        "quantities": {name: QUANTITIES[name].unit for name in sensor.channels},
        "calibration": {
            name: {
                "certificate": channel.certificate,
                "on": channel.calibrated_on,
                "due": channel.calibration_due,
            }
            for name, channel in sensor.channels.items()
            if channel.certificate or channel.calibrated_on or channel.calibration_due
        },
    }
