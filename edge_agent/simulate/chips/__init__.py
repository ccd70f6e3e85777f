"""Chip models, written from datasheets and independent of the drivers of this package.

A module lists its models in `CHIPS`, by the names of the drivers that read them; see `simulate/registry.py`.
"""
