"""Filters of one channel: they estimate the true value from noisy readings. Pure."""
