"""Formats of other programs: one file each, with a function that rewrites one of our messages. Pure."""
