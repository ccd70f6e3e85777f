"""The version of the program. The only place that states it."""

__version__ = "0.1.0"
