"""Rules of uplink, pipeline and clock, each broken by one small change, and the list of all. See `mutation.py`."""

from __future__ import annotations

from typing import Final

from tests.campaign.mutation import Mutation
from tests.campaign.mutations_store import LOSSES, RECOVERY, STORE

_SESSION: Final = "uplink/session.py"
_WORKER: Final = "uplink/worker.py"
_PIPELINE: Final = "pipeline/pipeline.py"

UPLINK: Final = (
    Mutation(
        "mids of an earlier connection are kept",
        "uplink/sending.py",
        "        self._mids.clear()\n",
        "        pass\n",
        "directed",
    ),
    Mutation(
        "events of an earlier connection are believed",
        _WORKER,
        "if link == self._links and self._link is not None:",
        "if link:",
        "directed",
    ),
    Mutation("every PUBACK confirms", _SESSION, "        if code == SUCCESS:\n", "        if code >= 0:\n"),
    Mutation(
        "no subscriber counts as delivered",
        _SESSION,
        "        if code == SUCCESS:\n",
        "        if code in {SUCCESS, 0x10}:\n",
    ),
    Mutation(
        "a record is confirmed when it is sent",
        _SESSION,
        "            self._actions.append(Send(*held, again))\n",
        "            self._actions += [Send(*held, again), Confirm(held[1])]\n",
    ),
    Mutation(
        "a record that the broker never takes is confirmed",
        _SESSION,
        '            self._set_aside(now_ns, record, f"refused by the broker: {HOPELESS[code]} ({code:#04x})")',
        "            self._succeed(now_ns, record, way)",
    ),
    Mutation(
        "gateways come back in step",
        "uplink/ends.py",
        "round(rng.uniform(0.05, 1.0) * cap_s * NS_PER_S)",
        "round(cap_s * NS_PER_S)",
        "directed",
    ),
    Mutation(
        "nothing is sent again on a new connection",
        _SESSION,
        "        self._actions.append(Rewind())\n",
        "",
    ),
    Mutation(
        "records in flight stay in flight over a break",
        "uplink/flow.py",
        "        self.in_flight.clear()\n        self.ready_ns = None\n",
        "        self.ready_ns = None\n",
    ),
    Mutation(
        "an acknowledgement is awaited for ever",
        _SESSION,
        "if overdue_ns is not None and now_ns >= overdue_ns:",
        "if False:",
    ),
    Mutation(
        "after a refusal nothing is tried again",
        _SESSION,
        "        if self._retry_ns is not None and now_ns >= self._retry_ns:",
        "        if self._retry_ns is not None and self.state is LinkState.OFFLINE and now_ns >= self._retry_ns:",
    ),
    Mutation(
        "a commit wakes nobody",
        "uplink/requests.py",
        '        """Handle that there may be new records."""\n        self._drained.clear()\n',
        '        """Handle that there may be new records."""\n',
    ),
)

TIME: Final = (
    Mutation(
        "stored records keep a wrong wall time",
        "agent/agent.py",
        "            self.store.inbox.put_always(SetAnchor(tuple(pieces)))\n",
        "",
        "agent",
    ),
    Mutation(
        "a worse anchor replaces a better one",
        "outbox/boots.py",
        "        if new.quality < last.quality or (",
        "        if (",
        "outbox",
    ),
    Mutation(
        "steps of an hour are not noticed",
        "runtime.py",
        "    step_ns = 50_000_000\n",
        "    step_ns = 4_000_000_000_000\n",
        "agent",
    ),
    Mutation(
        "rows are secured ten times later",
        _PIPELINE,
        "first_ns + self._durability_ns",
        "first_ns + 10 * self._durability_ns",
    ),
    Mutation(
        "the open batch is lost at a stop",
        _PIPELINE,
        "        self.step()\n        self.seal()\n        if self._window is not None:",
        "        self.step()\n        if self._window is not None:",
    ),
    Mutation(
        "rows count as secured that the store refused",
        _PIPELINE,
        "        if self._recorder.secure([sensor.unsecured() for sensor in unsecured]):\n            for",
        "        if self._recorder.secure([sensor.unsecured() for sensor in unsecured]) or True:\n            for",
        "pipeline",
    ),
    Mutation(
        "a measurement is delivered twice",
        "sampling/worker.py",
        "            self._deliver(sensor.make_measurement(measured_ns, values))\n",
        "            measured = sensor.make_measurement(measured_ns, values)\n"
        "            self._deliver(measured)\n"
        "            self._deliver(measured)\n",
        "sampling",
    ),
)

MUTATIONS: Final = UPLINK + STORE + LOSSES + RECOVERY + TIME
