"""Rules of uplink, pipeline and clock, each broken by one small change, and the list of all. See `mutation.py`."""

from __future__ import annotations

from typing import Final

from tests.campaign.mutation import Mutation
from tests.campaign.mutations_store import LOSSES, STORE

_SESSION: Final = "uplink/session.py"
_WORKER: Final = "uplink/worker.py"
_PIPELINE: Final = "pipeline/pipeline.py"

UPLINK: Final = (
    Mutation(
        "mids of an earlier connection are kept", _WORKER, "        self._mids.clear()\n", "        pass\n", "directed"
    ),
    Mutation(
        "events of an earlier connection are believed",
        _WORKER,
        "if link == self._links and self._link is not None:",
        "if link:",
        "directed",
    ),
    Mutation("every PUBACK confirms", _SESSION, "        if code == _SUCCESS:", "        if code >= 0:"),
    Mutation(
        "no subscriber counts as delivered",
        _SESSION,
        "        if code == _SUCCESS:",
        "        if code in {_SUCCESS, NO_MATCHING_SUBSCRIBERS}:",
    ),
    Mutation(
        "a record is confirmed when it is sent",
        _SESSION,
        "        self._actions.append(Send(lane, record))\n",
        "        self._actions += [Send(lane, record), Confirm(record)]\n",
    ),
    Mutation(
        "a record that the broker never takes is confirmed",
        _SESSION,
        '            self._refuse(record, f"refused by the broker: {_HOPELESS[code]} ({code:#04x})")',
        "            self._succeed(record, way)",
    ),
    Mutation(
        "gateways come back in step",
        _SESSION,
        "self._rng.uniform(0.05, 1.0) * cap_s",
        "cap_s",
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
        _SESSION,
        "        self._in_flight.clear()\n",
        "",
    ),
    Mutation(
        "an acknowledgement is awaited for ever",
        _SESSION,
        "if any(now_ns >= due_ns for _record, due_ns, _way in self._in_flight.values()):",
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
        _SESSION,
        "        self._drained = False\n        self._request()",
        "        self._request()",
    ),
)

TIME: Final = (
    Mutation(
        "stored records keep a wrong wall time",
        "agent/agent.py",
        "        self.store.inbox.put_always(SetAnchor(anchor))\n",
        "",
    ),
    Mutation(
        "a worse anchor replaces a better one",
        "outbox/boots.py",
        "if anchor.quality < known.quality or anchor == known:",
        "if anchor == known:",
    ),
    Mutation(
        "steps of an hour are not noticed",
        "runtime.py",
        "    step_ns = 50_000_000\n",
        "    step_ns = 4_000_000_000_000\n",
    ),
    Mutation(
        "rows are secured ten times later",
        _PIPELINE,
        "first_ns + self._settings.durability_ns",
        "first_ns + 10 * self._settings.durability_ns",
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
    ),
)

MUTATIONS: Final = UPLINK + STORE + LOSSES + TIME
