"""Filters of one channel: what the true value is, given noisy readings. Pure."""
