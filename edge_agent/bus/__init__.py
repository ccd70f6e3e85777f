"""Access to I2C, serial and sysfs. Everything above a bus is the same on a gateway, in simulation and on a rig."""
