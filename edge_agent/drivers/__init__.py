"""Drivers, one file per chip family: the maths of the datasheet, and a class that probes, triggers and collects."""
