"""Records out: `session` decides what to send next, `mqtt` carries it."""
