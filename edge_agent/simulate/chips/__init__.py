"""Models of chips, written from their datasheets and ignorant of our drivers.

A module offers its models in `CHIPS`, by the name of the driver that reads them; `rig.py` finds them there.
"""
