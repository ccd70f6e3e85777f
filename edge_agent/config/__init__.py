"""One TOML file in, frozen objects out, every mistake in it told at once."""
