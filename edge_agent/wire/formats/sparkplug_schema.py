"""The part of the Sparkplug B protobuf schema that we speak (Sparkplug 3.0, 6.4.1). The only door to protobuf.

Built here from a table instead of by protoc: generated code is tied to versions of the library, and its pool refuses a
second schema of that name in one process. Fields that are left out (templates, data sets) are skipped on reading, as
protobuf has it.
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

__all__ = ["DecodeError", "Payload"]

_PACKAGE: Final = "edge_agent.sparkplug_b"
_MESSAGES: Final = {
    "Payload": ("timestamp 1 uint64", "metrics 2 Metric*", "seq 3 uint64"),
    "Metric": (
        "name 1 string",
        "timestamp 3 uint64",
        "datatype 4 uint32",
        "is_historical 5 bool",
        "is_null 7 bool",
        "properties 9 PropertySet",
        "int_value 10 uint32",
        "long_value 11 uint64",
        "double_value 13 double",
        "boolean_value 14 bool",
        "string_value 15 string",
    ),
    "PropertySet": ("keys 1 string*", "values 2 PropertyValue*"),
    "PropertyValue": ("type 1 uint32", "int_value 3 uint32", "string_value 8 string"),
}
"""Name, number and type of each field; `*` is repeated, and what ends in `_value` is one of several."""


def _payload_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name=f"{_PACKAGE}.proto", package=_PACKAGE, syntax="proto2")
    for message_name, fields in _MESSAGES.items():
        message = file.message_type.add(name=message_name)
        for text in fields:
            name, number, kind = text.split()
            field = message.field.add(name=name, number=int(number))
            field.label = field.LABEL_REPEATED if kind.endswith("*") else field.LABEL_OPTIONAL
            bare = kind.rstrip("*")
            if bare in _MESSAGES:
                field.type, field.type_name = field.TYPE_MESSAGE, f".{_PACKAGE}.{bare}"
            else:
                field.type = getattr(field, f"TYPE_{bare.upper()}")
            if name.endswith("_value"):
                if not message.oneof_decl:
                    message.oneof_decl.add(name="value")
                field.oneof_index = 0
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Payload"))


Payload: Final = _payload_class()
"""The message class."""
