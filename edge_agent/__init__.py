"""edge-agent: reads sensors on a gateway and gets every reading upstream.

The path: bus → driver → measurement → validate → calibrate → derive → filter → features and anomalies → reduce → wire →
outbox → uplink. To embed it in a program of your own: `edge_agent.open(config)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.version import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.agent.gateway import Gateway
    from edge_agent.config.model import Config

__all__ = ["__version__", "open"]


def open(config: Path | str | Config) -> Gateway:  # noqa: A001 read as `edge_agent.open`
    """Make a gateway of a configuration; nothing is touched before it reads or runs.

    Args:
        config: path of a TOML file, or what `edge_agent.config.load` made of one.

    Raises:
        ConfigError: the file is wrong; lists every mistake.
    """
    from edge_agent.agent.gateway import Gateway  # noqa: PLC0415 importing the package loads no library
    from edge_agent.config.load import load_config  # noqa: PLC0415
    from edge_agent.config.model import Config  # noqa: PLC0415

    if isinstance(config, Config):
        return Gateway(config)
    from pathlib import Path  # noqa: PLC0415

    return Gateway(load_config(Path(config)))
