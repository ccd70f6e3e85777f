from __future__ import annotations

import json
from typing import Any

import pytest

from edge_agent.wire.batch import Message
from edge_agent.wire.formats.json_document import rewrite
from edge_agent.wire.rows import objects
from tests.wire.samples import ENVELOPE, EVENT, FULL, SMALL, TOMBSTONE


def written(message: Message) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(rewrite(message).payload)
    return document


def test_a_small_batch_reads_like_this() -> None:
    assert rewrite(Message(ENVELOPE, SMALL)).payload.decode()[:248] == (
        '{"kind":"batch","node":"node-1","epoch":3,"seq":42,"t_quality":"synced","readings":['
        '{"sensor":"air","quantity":"temperature_c","t":"2026-01-01T00:00:00.000Z","t_ns":1767225600000000000,'
        '"value":21.5,"raw":null,"quality":"good","flags":[]},{"sensor":'
    )


@pytest.mark.parametrize("content", [SMALL, FULL])
def test_with_what_they_share_put_back_the_readings_are_those_that_decode_prints(content: Any) -> None:
    message = Message(ENVELOPE, content)
    document = written(message)
    shared = {key: document[key] for key in ("node", "epoch", "seq", "t_quality")}
    readings = [{**shared, **row} for row in document["readings"]]
    features = [
        {"kind": "features", **{k: shared[k] for k in ("node", "epoch", "seq")}, **row} for row in document["features"]
    ]
    assert readings + features == list(objects(message))


@pytest.mark.parametrize("content", [EVENT, TOMBSTONE])
def test_events_and_tombstones_are_the_objects_that_decode_prints(content: Any) -> None:
    message = Message(ENVELOPE, content)
    assert [written(message)] == list(objects(message))
    assert (rewrite(message).content_type, rewrite(message).topic) == ("application/json", None)
