"""One file per chip family: pure datasheet maths, and a class that probes, triggers and collects."""
