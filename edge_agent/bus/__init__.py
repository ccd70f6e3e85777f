"""Bytes in, bytes out. Everything above a bus is the same on a gateway, on a laptop and on a rig."""
