"""Simulated hardware below the production drivers: the air, chip models that measure it, and buses to the chips."""
