"""Finds a format by its name in the configuration. Pure."""

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
"""Module of each format, which has a function `rewrite`. Only the one that is configured is imported."""


def rewriter(name: str) -> Rewrite:
    """Return the function that rewrites our messages in the format `name`; `batch` is our own format."""
    if name == "batch":
        return _as_it_is
    rewrite: Callable[[Message], Rewritten] = import_module(f"edge_agent.wire.formats.{_MODULES[name]}").rewrite
    return lambda message: rewrite(decode_message(message))


def _as_it_is(message: bytes) -> Rewritten:
    version = str(message[0])
    return Rewritten(message, f"application/vnd.edge-agent.batch;v={version}", version)
