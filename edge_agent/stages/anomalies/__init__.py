"""Anomaly detection for one channel, and for two channels that measure the same. Pure."""
