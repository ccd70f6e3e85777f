"""Simulated hardware below the production drivers: one world, chips that measure it, buses to them."""
