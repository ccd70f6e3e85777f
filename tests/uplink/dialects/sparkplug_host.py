"""A Sparkplug host that forgives nothing: reads with the schema of Eclipse Tahu, and holds a node to the specification.

Names in comments are those of the specification's own test statements (`tck-id-…`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from esio_spb_builder.core.sparkplug_b_pb2 import DataType, Payload

REBIRTH = "Node Control/Rebirth"


@dataclass(frozen=True)
class Value:
    """One value of one metric."""

    name: str
    t_ms: int
    value: Any  # float, int, bool, str; None is null
    historical: bool
    properties: tuple[tuple[str, int | str], ...]


@dataclass
class Host:
    """What a host knows of one edge node.

    Attributes:
        lapses: how often it would have asked for a rebirth, because a message or a birth was missing before this one.
    """

    group: str
    node: str
    online: bool = False
    bd_seq: int | None = None
    seq: int = 0
    types: dict[str, int] = field(default_factory=dict)
    births: list[dict[str, Value]] = field(default_factory=list)
    data: list[Value] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    lapses: int = 0

    def hear(self, topic: str, octets: bytes) -> None:
        """Take a message."""
        namespace, group, kind, node = topic.split("/")
        assert (namespace, group, node) == ("spBv1.0", self.group, self.node)
        message = Payload.FromString(octets)
        assert not _unknown_fields(message)
        self.kinds.append(kind)
        match kind:
            case "NBIRTH":
                self._birth(message)
            case "NDATA":
                self._data(message)
            case "NDEATH":
                self._death(message)
            case _:
                raise AssertionError(topic)

    def _birth(self, message: Any) -> None:
        assert message.seq == 0  # topics-nbirth-seq-num
        assert message.HasField("seq")
        assert message.timestamp > 0  # payloads-nbirth-timestamp
        assert all(metric.HasField("datatype") for metric in message.metrics)  # payloads-metric-datatype-req
        assert all(metric.name and not metric.HasField("alias") for metric in message.metrics)
        names = [metric.name.lower() for metric in message.metrics]
        assert len(names) == len(set(names))  # case-sensitivity-metric-names
        self.types = {metric.name: metric.datatype for metric in message.metrics}
        values = {value.name: value for value in self._values(message)}
        assert self.types[REBIRTH] == DataType.Value("Boolean")
        assert values[REBIRTH].value is False
        assert self.types["bdSeq"] == DataType.Value("Int64")
        bd_seq = values["bdSeq"].value
        assert isinstance(bd_seq, int)
        self.bd_seq = bd_seq
        self.births.append(values)
        self.online, self.seq = True, 0

    def _data(self, message: Any) -> None:
        # payloads-ndata-order, payloads-ndata-seq-inc
        self.lapses += not self.online or message.seq != (self.seq + 1) % 256
        assert message.timestamp > 0  # payloads-ndata-timestamp
        self.seq = message.seq
        assert all(metric.datatype == self.types.get(metric.name, metric.datatype) for metric in message.metrics)
        self.data += self._values(message)

    def _death(self, message: Any) -> None:
        assert not message.HasField("seq")  # topics-ndeath-seq
        (metric,) = message.metrics  # topics-ndeath-payload
        assert metric.name == "bdSeq"
        if self.bd_seq is not None and metric.long_value == self.bd_seq:
            self.online = False

    def _values(self, message: Any) -> list[Value]:
        values = []
        for metric in message.metrics:
            assert metric.HasField("timestamp")  # payloads-name-birth-data-requirement
            name = metric.name
            held = metric.WhichOneof("value")
            assert (held is None) == metric.is_null  # operational-behavior-data-publish-nbirth-values
            kind = DataType.Name(self.types[name])
            fields = {"Int64": "long_value", "Double": "double_value", "Boolean": "boolean_value"}
            assert held in {None, fields.get(kind, "string_value")}
            value = None if held is None else getattr(metric, held)
            values.append(Value(name, metric.timestamp, value, metric.is_historical, _properties(metric)))
        times = [value.t_ms for value in values if not value.historical]
        assert times == sorted(times)  # operational-behavior-data-publish-nbirth-order
        return values


def _properties(metric: Any) -> tuple[tuple[str, int | str], ...]:
    found: list[tuple[str, int | str]] = []
    assert len(metric.properties.keys) == len(metric.properties.values)  # payloads-propertyset-values-array-size
    for key, value in zip(metric.properties.keys, metric.properties.values, strict=True):
        if key == "Quality":
            assert value.type == DataType.Value("Int32")  # payloads-propertyset-quality-value-type
            assert value.int_value in {0, 192, 500}  # payloads-propertyset-quality-value-value
        found.append((key, getattr(value, value.WhichOneof("value"))))
    return tuple(found)


def _unknown_fields(message: Any) -> bool:
    """Whether something was written that the schema does not know."""
    size: int = message.ByteSize()
    message.DiscardUnknownFields()
    return bool(message.ByteSize() != size)
