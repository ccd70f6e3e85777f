"""`[[sensor]]` tables → sensors: keys common to all, options of the driver, and a table per quantity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_agent.config import model
from edge_agent.config.problems import unknown
from edge_agent.config.tables import former_keys_of, keys_of
from edge_agent.drivers.registry import all_drivers, find_driver
from edge_agent.quantity import ENTRY_POINT_GROUP, QUANTITIES
from edge_agent.stages.derive import DERIVED

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from edge_agent.config.problems import KeyPath
    from edge_agent.config.tables import Tables
    from edge_agent.drivers.base import DriverInfo


class SensorTables:
    """Reads the sensors of one file.

    Attributes:
        ids: of all sensors that stand in the file, also of those that could not be read.
    """

    def __init__(self, tables: Tables, buses: AbstractSet[str]) -> None:
        """Tables gathers the problems; buses are the names that stand in the file."""
        self.ids: set[str] = set()
        self._tables = tables
        self._buses = buses

    def sensor(self, index: int, table: dict[str, Any]) -> model.Sensor | None:
        """Read the table with this index, from 0. None if too much is wrong with it."""
        path: KeyPath = ("sensor", index)
        self._check_id(path, table.get("id"))
        driver = self._driver(path, table.get("driver"))
        option_names = set() if driver is None else keys_of(driver.options)
        # An option of the driver goes before a former name of a common key.
        common = keys_of(model.SensorKeys) | (former_keys_of(model.SensorKeys) - option_names)
        keys = self._tables.section(model.SensorKeys, _only(table, common), path)
        has_bus = keys is not None and self._has_bus(path, keys.bus)
        if driver is None:
            return None
        options = self._tables.section(driver.options, _only(table, option_names), path)
        measured = self._measured(path, driver, options)
        if measured is None:
            return None
        derived = () if keys is None else tuple(name for name in keys.derive if name in DERIVED)
        known = (*keys_of(model.SensorKeys), *option_names, *measured)
        own_tables = {name: value for name, value in table.items() if name not in {*common, *option_names}}
        channels = self._channels(path, own_tables, driver, measured, derived, known)
        if keys is None or options is None or not has_bus or not self._has_address(path, driver, keys, table):
            return None
        default_address = driver.addresses[0] if driver.addresses else 0
        return model.Sensor(
            id=keys.id,
            driver=driver,
            bus=keys.bus,
            address=default_address if keys.address is None else keys.address,
            period_s=max(driver.period_s, driver.least_period_s(options)) if keys.period_s is None else keys.period_s,
            options=options,
            channels=channels,
            mux=keys.mux,
            mux_channel=keys.mux_channel,
            derive=keys.derive,
            location=keys.location,
            evict=keys.evict,
        )

    def _check_id(self, path: KeyPath, sensor_id: Any) -> None:
        if not isinstance(sensor_id, str):
            return
        if sensor_id in self.ids:
            self._tables.say((*path, "id"), f"another sensor is called {sensor_id!r} already")
        self.ids.add(sensor_id)

    def _driver(self, path: KeyPath, name: Any) -> DriverInfo | None:
        """The driver of that name. A name that is no text, or is missing, is found with the other common keys."""
        if not isinstance(name, str):
            return None
        driver = find_driver(name)
        if driver is None:
            self._tables.say((*path, "driver"), unknown(name, tuple(all_drivers()), "driver"))
        return driver

    def _measured(self, path: KeyPath, driver: DriverInfo, options: Any) -> tuple[str, ...] | None:
        """Names of what the sensor measures; None if one of them is not a quantity."""
        offered = driver.quantities if options is None else driver.measures(options)
        names = tuple(measured.quantity for measured in offered)
        if wrong := [name for name in names if name not in QUANTITIES]:
            self._tables.say(
                (*path, "driver"),
                f"{driver.name} measures {', '.join(wrong)}, which no installed package declares as a quantity "
                f"(entry point {ENTRY_POINT_GROUP})",
            )
            return None
        return names

    def _channels(
        self,
        path: KeyPath,
        own_tables: dict[str, Any],
        driver: DriverInfo,
        measured: tuple[str, ...],
        derived: tuple[str, ...],
        known: tuple[str, ...],
    ) -> dict[str, model.Channel]:
        """Settings of each quantity, measured ones first."""
        names = (*measured, *derived)
        for name in own_tables.keys() - set(names):
            if name in QUANTITIES:
                text = f"{driver.name} does not measure it; it measures {', '.join(measured)}"
            else:
                text = unknown(name, known)
            self._tables.say((*path, name), text)
        return {
            name: self._tables.section(model.Channel, own_tables.get(name, {}), (*path, name)) or model.Channel()
            for name in names
        }

    def _has_bus(self, path: KeyPath, bus: str) -> bool:
        """Whether the bus stands in the file."""
        if bus not in self._buses:
            self._tables.say((*path, "bus"), unknown(bus, tuple(self._buses), "bus"))
        return bus in self._buses

    def _has_address(self, path: KeyPath, driver: DriverInfo, keys: model.SensorKeys, table: dict[str, Any]) -> bool:
        """Whether the address is known, and one that the driver can have."""
        if keys.address is None:
            # If the address was wrong, not the usual one instead: another sensor may be there.
            return "address" not in table
        if not driver.addresses:
            self._tables.say((*path, "address"), f"{driver.name} has no address; leave it out")
            return False
        return True


def _only(table: dict[str, Any], names: AbstractSet[str]) -> dict[str, Any]:
    return {name: value for name, value in table.items() if name in names}
