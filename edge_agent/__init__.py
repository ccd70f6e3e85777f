"""bus → driver → measurement → validate → calibrate → filter → features → deadband → wire → outbox → uplink."""

from edge_agent.version import __version__

__all__ = ["__version__"]
