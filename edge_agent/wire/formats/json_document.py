"""One JSON object per record: its identity and, of a batch, an array of self-contained readings. Pure.

The objects are those that `edge-agent decode` prints, without the keys that all of a record share. Columns would take a
third of the size, but every flow, rule and query would have to assemble rows; for few bytes there is `batch`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from edge_agent.errors import WireError
from edge_agent.wire.batch import Batch
from edge_agent.wire.formats.base import Rewritten
from edge_agent.wire.rows import objects

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edge_agent.wire.batch import Message

CONTENT_TYPE: Final = "application/json"
_IDENTITY: Final = {"node": (str,), "epoch": (int,), "seq": (int,)}
_READING: Final[dict[str, tuple[type, ...]]] = {
    "sensor": (str,),
    "quantity": (str,),
    "t": (str,),
    "t_ns": (int,),
    "value": (int, float, type(None)),
    "raw": (int, float, type(None)),
    "quality": (str,),
    "flags": (list,),
}
"""Keys of a reading in their order, and the types of their values."""
_SIGMA: Final = "sigma"
"""Key of a reading that is there only if a sigma was sent."""
_ROW: Final = "row"
"""Key of a reading that is there only if its batch came in parts."""
_SHARED: Final = frozenset({"node", "epoch", "seq", "t_quality", "kind"})


def rewrite(message: Message) -> Rewritten:
    """Write a record as UTF-8 JSON without spaces. Keys and their order are public and stable."""
    if not isinstance(message.content, Batch):
        (document,) = objects(message)
        return Rewritten(_text(document), CONTENT_TYPE)
    envelope = message.envelope
    rows: dict[bool, list[dict[str, Any]]] = {False: [], True: []}
    for row in objects(message):
        rows["kind" in row].append({key: value for key, value in row.items() if key not in _SHARED})
    document = {
        "kind": "batch",
        "node": envelope.node,
        "epoch": envelope.epoch,
        "seq": envelope.seq,
        "t_quality": envelope.time_quality.name.lower(),
        "readings": rows[False],
        "features": rows[True],
    }
    return Rewritten(_text(document), CONTENT_TYPE)


def is_record(document: Mapping[str, Any]) -> bool:
    """Tell whether a JSON object may be a record in this format, and not a status message."""
    return document.get("kind") in {"batch", "event", "tombstone"} and "seq" in document


def rows_of(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Read a record back.

    Yields:
        The objects that `rows.objects` makes of the same record.

    Raises:
        WireError: another program wrote it.
    """
    if document["kind"] != "batch":
        yield dict(document)
        return
    identity = {key: document.get(key) for key in ("node", "epoch", "seq")}
    lists = [document.get("readings"), document.get("features")]
    if not _are(identity, _IDENTITY) or not all(isinstance(each, list) for each in lists):
        raise WireError("a JSON object that only looks like a batch of ours")
    readings, features = lists
    for reading in readings or ():
        if not isinstance(reading, dict) or not _are(reading, _READING):
            raise WireError("a JSON object with a reading that is none of ours")
        sensor, quantity, t, t_ns, *rest = _READING
        yield {
            **identity,
            **({_ROW: reading[_ROW]} if _ROW in reading else {}),
            **{key: reading[key] for key in (sensor, quantity, t, t_ns)},
            "t_quality": document.get("t_quality"),
            **{key: value for key, value in reading.items() if key in rest or key == _SIGMA},
        }
    for described in features or ():
        if not isinstance(described, dict):
            raise WireError("a JSON object with features that are none of ours")
        yield {"kind": "features", **identity, **described}


def _are(fields: Mapping[str, Any], types: Mapping[str, tuple[type, ...]]) -> bool:
    return all(key in fields and type(fields[key]) in allowed for key, allowed in types.items())


def _text(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
