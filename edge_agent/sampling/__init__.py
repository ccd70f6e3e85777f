"""From chips to measurements: one worker per bus, and what becomes of a sensor or a bus that fails."""
