"""Sends records: `session` decides what to send next, `mqtt` is the connection, `worker` connects both."""
