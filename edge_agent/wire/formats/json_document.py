"""One JSON object per record: identity once, and in a batch an array of readings, each of which stands alone. Pure.

The objects are those that `edge-agent decode` prints, less what they share. Columns would be a third of the size, but
then every flow, rule and query would have to put rows together again; who wants few bytes takes `batch`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from edge_agent.wire.batch import Batch
from edge_agent.wire.formats.base import Rewritten
from edge_agent.wire.rows import objects

if TYPE_CHECKING:
    from edge_agent.wire.batch import Message

CONTENT_TYPE: Final = "application/json"
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


def _text(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
