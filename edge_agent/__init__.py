"""bus → driver → measurement → validate → calibrate → filter → features → deadband → wire → outbox → uplink."""

__version__ = "0.1.0"
