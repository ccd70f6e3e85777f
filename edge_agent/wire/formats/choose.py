"""The formats by the names that the configuration knows them by. Pure."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

from edge_agent.wire.decode import decode_message
from edge_agent.wire.formats.base import Rewritten

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.wire.batch import Message
    from edge_agent.wire.formats.base import Rewrite

_MODULES: Final = {"json": "json_document", "influx": "influx_line", "senml": "senml_pack"}
"""Where `rewrite` is; a gateway imports only the one that it speaks."""


def rewriter(name: str) -> Rewrite:
    """How a message of ours becomes one in the format `name`; `batch` is ours."""
    if name == "batch":
        return _as_it_is
    rewrite: Callable[[Message], Rewritten] = import_module(f"edge_agent.wire.formats.{_MODULES[name]}").rewrite
    return lambda message: rewrite(decode_message(message))


def _as_it_is(message: bytes) -> Rewritten:
    version = str(message[0])
    return Rewritten(message, f"application/vnd.edge-agent.batch;v={version}", version)
