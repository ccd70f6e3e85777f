"""Reads the configuration: one TOML file → frozen objects, or every mistake at once."""
