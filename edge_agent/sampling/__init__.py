"""Sampling: one worker per bus, the states of sensors and buses, and recorded readings as a source."""
