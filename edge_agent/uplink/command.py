"""What others may ask of a gateway over the link. The uplink recognises commands; the agent carries them out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rebirth:
    """Publish the birth message again: somebody missed it."""


Command = Rebirth
"""Every command there is. Frozen, so that it can be handed to another thread."""
