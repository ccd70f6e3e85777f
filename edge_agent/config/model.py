"""The configuration as frozen objects. Keys of the TOML file are the names of the fields. Pure.

`config/edge-agent.toml` shows every key with its default and its meaning; a test holds the two together.
"""

# No `from __future__ import annotations` here: cattrs drops Annotated from annotations that are text.
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

from edge_agent.drivers.base import DriverInfo


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits of a number; None: no limit."""

    above: float | None = None
    at_least: float | None = None
    at_most: float | None = None


@dataclass(frozen=True, slots=True)
class Matches:
    """The regular expression that a text must match as a whole, and a name for such a text in messages."""

    pattern: str
    meaning: str


NAME: Final = Matches("[a-z0-9-]{1,64}", "1 to 64 of a-z, 0-9 and -")
Name = Annotated[str, NAME]
"""Id of a gateway, bus or sensor; becomes a topic level or a file name."""
AbsolutePath = Annotated[str, Matches("/[^\x00-\x1f]*", "a path that begins with /")]
Receiver = Annotated[str, Matches("[A-Za-z0-9_.-]{1,64}", "1 to 64 letters, digits, dots, dashes and underscores")]
TopicLevel = Annotated[str, Matches("[^/+#\x00-\x1f]{1,128}", "text without /, + and #")]
Positive = Annotated[float, Bounds(above=0)]
Day = Annotated[str, Matches("[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])", "a day such as 2026-11-23")]
Evict = Literal["oldest", "newest", "thin"]
"""What of a sensor goes when the outbox is full: its oldest batches, its newest ones, or most rows of the oldest."""
Line = Annotated[int, Bounds(at_least=0, at_most=1023)]
"""Number of a line on a GPIO chip."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """`[gateway]`: this gateway.

    `site` and `location` are sent in the status message. `altitude_m` is metres above the sea.
    """

    id: Name
    site: str = ""
    location: str = ""
    altitude_m: Annotated[float, Bounds(at_least=-500, at_most=3000)] | None = None


@dataclass(frozen=True, slots=True)
class Bus:
    """`[bus.NAME]`: one device that sensors are connected to. `baud` to `dtr` are used on serial buses only.

    `recover` lists the ways to recover the bus when nothing on it answers, in the order in which they are tried.
    """

    device: AbsolutePath
    kind: Literal["i2c", "serial", "sysfs"] | None = None
    baud: Annotated[int, Bounds(at_least=50, at_most=4_000_000)] = 9600
    bytesize: Literal[7, 8] = 8
    parity: Literal["N", "E", "O"] = "N"
    stopbits: Literal[1, 2] = 1
    echo: bool = False
    dtr: bool = False
    recover: tuple[Literal["reopen", "general-call-reset", "rebind", "clock-pulses", "power-cycle"], ...] = ("reopen",)
    gpio_chip: AbsolutePath = "/dev/gpiochip0"
    scl_gpio: Line | None = None
    sda_gpio: Line | None = None
    power_gpio: Line | None = None
    power_off_s: Annotated[float, Bounds(at_least=0.1, at_most=60)] = 1.0

    def resolved_kind(self) -> str | None:
        """The kind as given, or by the path of the device; None if the path does not tell."""
        if self.kind is not None:
            return self.kind
        if self.device.startswith("/dev/i2c-"):
            return "i2c"
        if self.device.startswith(("/dev/tty", "/dev/serial", "/dev/pts/", "/dev/rfcomm")):
            return "serial"
        return "sysfs" if self.device.startswith("/sys/") else None


@dataclass(frozen=True, slots=True)
class Channel:
    """`[sensor.QUANTITY]`: settings of one quantity of one sensor. Numbers are in the canonical unit."""

    gain: float = 1.0
    offset: float = 0.0
    points: tuple[tuple[float, float], ...] = ()
    polynomial: tuple[float, ...] = ()
    certificate: str | None = None
    calibrated_on: Day | None = None
    calibration_due: Day | None = None
    range: tuple[float, float] | None = None
    max_rate_per_s: Positive | None = None
    filter: Literal["auto", "kalman", "median", "none"] = "auto"
    median_of: Literal[3, 5] = 3
    sigma: Positive | None = None
    drift_per_s: Positive | None = None
    deadband: Annotated[float, Bounds(at_least=0)] = 0.0
    reduce: Literal["deadband", "swinging-door"] = "deadband"
    heartbeat_s: Positive = 300.0
    resolution: Positive | None = None
    send: Literal["filtered", "smoothed"] = "filtered"
    send_raw: bool = True
    send_sigma: bool = False
    anomaly: Literal["auto", "none"] = "auto"
    anomaly_threshold: Annotated[float, Bounds(at_least=1, at_most=12)] = 5.0
    anomaly_z_score: Positive | None = None
    anomaly_jump_per_s: Positive | None = None
    sibling: str | None = None


@dataclass(frozen=True, slots=True)
class Sensor:
    """`[[sensor]]`: one configured chip.

    Attributes:
        id: name in messages, unique.
        driver: declaration of its driver.
        bus: name of a `[bus.NAME]`.
        address: 7-bit I2C address or Modbus unit; 0 on buses without addresses.
        mux, mux_channel: address and channel of the TCA9548A that it is behind; None if behind none.
        period_s: seconds between measurements.
        options: the driver's own keys, an instance of `driver.options`.
        channels: settings by quantity, measured ones first, then derived ones.
        derive: quantities that are computed from the measured ones.
        location: where it is, for people; sent in the status message.
        evict: what of it goes when the outbox is full; None: as `[outbox]` says.
    """

    id: str
    driver: DriverInfo
    bus: str
    address: int
    period_s: float
    options: Any
    channels: Mapping[str, Channel]
    mux: int | None = None
    mux_channel: int | None = None
    derive: tuple[str, ...] = ()
    location: str = ""
    evict: Evict | None = None


@dataclass(frozen=True, slots=True)
class SensorKeys:
    """The keys of a `[[sensor]]` that do not depend on its driver."""

    id: Name
    driver: str
    bus: str
    address: int | None = None
    mux: Annotated[int, Bounds(at_least=0x70, at_most=0x77)] | None = None
    mux_channel: Annotated[int, Bounds(at_least=0, at_most=7)] | None = None
    derive: tuple[str, ...] = ()
    location: str = ""
    period_s: Annotated[float, Bounds(at_least=0.01, at_most=86_400)] | None = None
    evict: Evict | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """`[batch]`: what one message contains."""

    period_s: Annotated[float, Bounds(at_least=0.1, at_most=3600)] = 60.0
    align: bool = False
    features: bool = True
    names: Literal["announced", "inline"] = "announced"
    time_resolution_s: Annotated[float, Bounds(at_least=1e-9, at_most=1)] = 0.001


@dataclass(frozen=True, slots=True)
class Outbox:
    """`[outbox]`: the store for records that have not arrived yet."""

    directory: AbsolutePath = "/var/lib/edge-agent"
    durability_s: Annotated[float, Bounds(at_least=0.1, at_most=3600)] = 10.0
    max_mib: Annotated[float, Bounds(at_least=1, at_most=1_048_576)] = 256.0
    evict: Evict = "oldest"
    max_mib_per_day: Annotated[float, Bounds(at_least=1, at_most=1_048_576)] | None = None


@dataclass(frozen=True, slots=True)
class Uplink:
    """`[uplink]`: the broker and the connection to it."""

    url: str = "mqtt://127.0.0.1:1883"
    ack: Literal["puback", "receiver"] = "puback"
    receivers: tuple[Receiver, ...] = ()
    ack_key_file: AbsolutePath | None = None
    protocol: Literal["auto", "5", "3.1.1"] = "auto"
    format: str = "batch"
    sparkplug_group: TopicLevel = "edge-agent"
    prefix: str | None = None
    client_id: str | None = None
    username: str | None = None
    password_file: AbsolutePath | None = None
    password_credential: str | None = None
    ca_file: AbsolutePath | None = None
    cert_file: AbsolutePath | None = None
    key_file: AbsolutePath | None = None
    insecure_plaintext: bool = False
    keepalive_s: Annotated[int, Bounds(at_least=5, at_most=1200)] = 30
    window: Annotated[int, Bounds(at_least=1, at_most=1000)] = 16
    backlog_share: Annotated[float, Bounds(at_least=0, at_most=0.9)] = 0.1
    max_messages_per_s: Positive | None = None
    max_bytes_per_s: Annotated[float, Bounds(at_least=100)] | None = None
    heartbeat_s: Annotated[float, Bounds(at_least=1, at_most=86_400)] = 60.0


@dataclass(frozen=True, slots=True)
class Alert:
    """`[[alert]]`: one rule. `when` is a condition of `stages.alerts`; it is also the name if there is none."""

    when: str
    name: Annotated[str, Matches("[^\x00-\x1f]{1,64}", "1 to 64 characters")] | None = None
    for_s: Annotated[float, Bounds(at_least=0, at_most=864_000)] = 0.0
    clear: float | None = None
    severity: Literal["info", "warning", "critical"] = "warning"
    message: Annotated[str, Matches("[^\x00-\x1f]{1,200}", "1 to 200 characters")] | None = None
    over: Annotated[int, Bounds(at_least=2, at_most=3600)] = 60


@dataclass(frozen=True, slots=True)
class Replay:
    """`[replay]`: the columns of a recording, each `column=sensor.quantity[:unit]`."""

    map: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Config:
    """The whole file."""

    gateway: Gateway
    buses: Mapping[str, Bus]
    sensors: tuple[Sensor, ...]
    batch: Batch = field(default_factory=Batch)
    outbox: Outbox = field(default_factory=Outbox)
    uplink: Uplink = field(default_factory=Uplink)
    replay: Replay = field(default_factory=Replay)
    alerts: tuple[Alert, ...] = ()
