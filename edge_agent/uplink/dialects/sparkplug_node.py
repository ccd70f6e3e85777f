"""Sparkplug B edge node (Sparkplug 3.0, chapters 4 to 6): births, deaths, sequence numbers, and records as NDATA.

One record is one NDATA of the node. With one device per sensor, a batch would need a message per sensor, and a PUBACK
would confirm only a part of it. Metrics are identified by name, not by alias, so that a host that missed a birth (sent
with QoS 0) can still store them. One deviation from the specification: data are published with QoS 1 instead of 0,
because their arrival is known only from a PUBACK.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_agent.quantity import QUANTITIES
from edge_agent.reading import Lane
from edge_agent.uplink.command import Rebirth
from edge_agent.uplink.dialect import Notice, Occasion, Publication
from edge_agent.uplink.mqtt import Will
from edge_agent.uplink.packet import publish_bytes
from edge_agent.uplink.terms import LARGEST_PACKET_BYTES
from edge_agent.version import __version__
from edge_agent.wire.decode import decode_message
from edge_agent.wire.formats.sparkplug_b import (
    BD_SEQ,
    CLOCK,
    EVENT,
    FEATURES,
    REBIRTH,
    TOMBSTONE,
    DataType,
    Metric,
    asks_for_rebirth,
    metrics_of,
    payload,
    to_ms,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from edge_agent.reading import Record
    from edge_agent.uplink.command import Command

NAMESPACE: Final = "spBv1.0"
CONTENT_TYPE: Final = "application/x-protobuf"
_NUMBERS: Final = 256
"""seq and bdSeq count from 0 to 255, then start at 0 again."""


@dataclass(slots=True)
class _Known:
    """A metric that births contain.

    Attributes:
        kind: its type.
        last: its latest value that was not historical; None before the first.
    """

    kind: DataType
    last: Metric | None = None


class SparkplugNode:
    """Edge node of one gateway.

    Args:
        group: id of the group.
        node: id of the edge node.
        channels: sensor and quantity of every configured channel. A metric of another channel, for example in a record
            that was stored before a change of the configuration, is added by a new birth.
        about: properties of the gateway in the birth, by name.
        encode: encodes a record in edge-agent's own format.
        wall_ns: best known UNIX time, nanoseconds.
    """

    def __init__(
        self,
        *,
        group: str,
        node: str,
        channels: Iterable[tuple[str, str]],
        about: dict[str, str],
        encode: Callable[[Record], bytes],
        wall_ns: Callable[[], int],
    ) -> None:
        self._group, self._node = group, node
        self._about = about
        self._encode = encode
        self._wall_ns = wall_ns
        self._bd_seq = _NUMBERS - 1
        self._seq = 0
        self._born = False
        self._most_bytes = LARGEST_PACKET_BYTES
        self._known: dict[str, _Known] = {}
        for name in (CLOCK, EVENT, TOMBSTONE):
            self._learn(name, DataType.STRING)
        for sensor, quantity in channels:
            name = f"{sensor}/{quantity}"
            self._learn(name, DataType.DOUBLE)
            self._learn(f"{name}/raw", DataType.DOUBLE)
            for feature in FEATURES:
                self._learn(f"{name}/{feature}", DataType.INT64 if feature == "count" else DataType.DOUBLE)

    @property
    def ignored(self) -> int:
        """Nothing is ignored."""
        return 0

    @property
    def topics(self) -> Sequence[str]:
        """Topic on which a host requests a rebirth."""
        return (self._topic("NCMD"),)

    def will(self) -> Will:
        """NDEATH of the session that starts now. With MQTT 5, the broker also publishes it at a regular disconnect."""
        self._bd_seq = (self._bd_seq + 1) % _NUMBERS
        return Will(self._topic("NDEATH"), self._death(), retain=False, at_goodbye=True)

    def notices(self, occasion: Occasion, most_bytes: int) -> Sequence[Notice]:
        """NBIRTH or NDEATH; there are no heartbeats."""
        self._most_bytes = most_bytes
        match occasion:
            case Occasion.BIRTH:
                return (self._birth(),)
            case Occasion.FAREWELL:
                return (Notice(self._topic("NDEATH"), self._death(), retain=False),)
            case Occasion.HEARTBEAT | Occasion.TEACH:
                return ()

    def publication(self, lane: Lane, record: Record, *, alone: bool = False) -> Publication:  # noqa: ARG002 it always does
        """The record as NDATA. Records of the backlog lane are marked as historical."""
        metrics = metrics_of(decode_message(self._encode(record)))
        for metric in metrics:
            if metric.name not in self._known:
                self._learn(metric.name, metric.kind)
                self._born = False
        before = () if self._born else (self._birth(),)
        historical = lane is Lane.BACKLOG
        encoded = payload(to_ms(self._wall_ns()), metrics, seq=self._seq, historical=historical)
        self._seq = (self._seq + 1) % _NUMBERS
        if not historical:
            for metric in metrics:
                self._known[metric.name].last = metric
        identity = (("epoch", str(record.epoch)), ("seq", str(record.seq)), ("n", str(record.readings)))
        return Publication(self._topic("NDATA"), encoded, CONTENT_TYPE, (*identity, ("v", NAMESPACE)), before)

    def parts(self, lane: Lane, record: Record, most_bytes: int) -> Sequence[Publication]:  # noqa: ARG002 there are none
        """Nothing: a metric without its others would look like a message of its own."""
        return ()

    def answered(self, record: Record, *, taken: bool) -> None:  # noqa: ARG002 it is the same of all
        """After a failure, send a new birth: hosts miss a sequence number, and perhaps the birth."""
        self._born = self._born and taken

    def heard(self, topic: str, payload: bytes) -> Sequence[Command]:  # noqa: ARG002 there is only one
        """`Rebirth` if the host requests one; there are no other commands."""
        return (Rebirth(),) if asks_for_rebirth(payload) else ()

    # ---- internal

    def _topic(self, kind: str) -> str:
        return f"{NAMESPACE}/{self._group}/{kind}/{self._node}"

    def _learn(self, name: str, kind: DataType) -> None:
        self._known[name] = _Known(kind)

    def _death(self) -> bytes:
        now_ms = to_ms(self._wall_ns())
        metric = Metric(BD_SEQ, now_ms, DataType.INT64, self._bd_seq)
        return payload(now_ms, (metric,), seq=None)

    def _birth(self) -> Notice:
        """NBIRTH: all metrics with their latest values. Has seq 0; the next NDATA has seq 1.

        If it is too large, the metrics of features are left out, and `Properties/Shortened` says so.
        """
        topic = self._topic("NBIRTH")
        octets = self._birth_payload(self._known)
        if publish_bytes(topic, octets) > self._most_bytes:
            brief = {name: known for name, known in self._known.items() if name.rpartition("/")[2] not in FEATURES}
            octets = self._birth_payload(brief, shortened=True)
        self._seq, self._born = 1, True
        return Notice(topic, octets, retain=False)

    def _birth_payload(self, shown: Mapping[str, _Known], *, shortened: bool = False) -> bytes:
        now_ms = to_ms(self._wall_ns())
        metrics = [
            Metric(BD_SEQ, now_ms, DataType.INT64, self._bd_seq),
            Metric(REBIRTH, now_ms, DataType.BOOLEAN, False),
            Metric("Properties/Software", now_ms, DataType.STRING, f"edge-agent {__version__}"),
        ]
        if shortened:
            metrics.append(Metric("Properties/Shortened", now_ms, DataType.BOOLEAN, True))
        metrics += [Metric(f"Properties/{name}", now_ms, DataType.STRING, text) for name, text in self._about.items()]
        metrics += [self._current(name, known, now_ms) for name, known in shown.items()]
        return payload(now_ms, sorted(metrics, key=_t_ms), seq=0)

    def _current(self, name: str, known: _Known, now_ms: int) -> Metric:
        unit = QUANTITIES.get(name.rpartition("/")[2])
        last = known.last or Metric(name, now_ms, known.kind, None)
        shown = (("engUnit", unit.unit),) if unit is not None else ()
        return Metric(name, last.t_ms, known.kind, last.value, (*shown, *last.properties))


def _t_ms(metric: Metric) -> int:
    return metric.t_ms
