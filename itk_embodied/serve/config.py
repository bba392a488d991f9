"""The service's configuration file: TOML, every key optional, unknown ones refused.

[service]
stack = "embedded"               # a shipped stack's name, or a TOML file beside this one
bind = "127.0.0.1:5591"          # the stream; requests are taken at the next port
deadline_s = 1800.0              # what a task may take, waiting included
valid_s = 1800.0                 # how long after its frame a subgoal may be acted on
encoding = "png"                 # png, jpeg or raw
hwm = 64                         # messages kept for a slow listener
keep_tasks = 8                   # ended tasks that can still be asked for
[worker]                         # seconds, see `WorkerConfig`
silence_s = 10.0
[security]                       # needed for any address that is not a loopback one
key = "keys/service.key_secret"
allowed = "keys/allowed"
[metrics]
bind = "127.0.0.1:9464"          # Prometheus: /metrics; and /healthz
[log]
json = true
level = "info"
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Literal

import msgspec

from itk_embodied.bridges.gate import Guard
from itk_embodied.bridges.keys import AllowList, load_pair
from itk_embodied.bridges.sockets import check_address
from itk_embodied.bridges.wire import Encoding
from itk_embodied.bridges.worker_watch import WorkerConfig
from itk_embodied.errors import ConfigError, did_you_mean
from itk_embodied.service import ServiceConfig

DEFAULT_BIND = "127.0.0.1:5591"

_PLACE = re.compile(r"^(?P<host>\[[0-9A-Fa-f:.]+\]|[^:/\[\]\s]+)(?::(?P<port>\d{1,5}))?\Z")


class ServiceTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    stack: str = "embedded"
    bind: str = DEFAULT_BIND
    deadline_s: float = 1800.0
    valid_s: float = 1800.0
    encoding: Encoding = "png"
    hwm: int = 64
    keep_tasks: int = 8


class SecurityTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    key: str
    allowed: str


class MetricsTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    bind: str


class LogTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    json: bool = False
    level: Literal["debug", "info", "warning", "error"] = "info"


class ServeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A configuration file, read and checked. ``folder``: where it lies; paths in it start there."""

    service: ServiceTable = ServiceTable()
    worker: WorkerConfig = WorkerConfig()
    security: SecurityTable | None = None
    metrics: MetricsTable | None = None
    log: LogTable = LogTable()

    def service_config(self, folder: Path) -> ServiceConfig:
        """What `SubgoalService` takes; keys are read now.

        Raises:
            ConfigError: an address that needs keys, or keys that cannot be used.
        """
        guard = None
        if self.security is not None:
            own = load_pair(folder / Path(self.security.key).expanduser())
            guard = Guard(own, AllowList(folder / Path(self.security.allowed).expanduser()))
        host, port = split_place(self.service.bind, default_port=5591)
        stream = f"tcp://{host}:{port}"
        requests = f"tcp://{host}:{port + 1 if port else 0}"
        check_address(stream, secured=guard is not None)
        return ServiceConfig(
            stream=stream,
            requests=requests,
            deadline_s=self.service.deadline_s,
            valid_s=self.service.valid_s,
            encoding=self.service.encoding,
            hwm=self.service.hwm,
            keep_tasks=self.service.keep_tasks,
            worker=self.worker,
            guard=guard,
        )


def split_place(text: str, *, default_port: int) -> tuple[str, int]:
    """``HOST`` or ``HOST:PORT``; port 0 takes any free one.

    Raises:
        ConfigError: neither.
    """
    match = _PLACE.match(text.removeprefix("tcp://"))
    port = int(match["port"] or default_port) if match else 0
    if match is None or port > 65534:
        raise ConfigError(f"{text!r} is no place to listen; write HOST or HOST:PORT, e.g. {DEFAULT_BIND}.")
    return match["host"], port


def read_config(path: Path | None) -> tuple[ServeConfig, Path]:
    """Read a file, or take the defaults for None; returns the configuration and the folder its paths start in.

    Raises:
        ConfigError: no such file, not TOML, an unknown key, or a value that is not allowed; says where.
    """
    if path is None:
        return ServeConfig(), Path.cwd()
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"the configuration {path} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"the configuration {path} is not valid TOML: {error}") from None
    _check_names(tree, path)
    try:
        config = msgspec.convert(tree, ServeConfig)
    except msgspec.ValidationError as error:
        raise ConfigError(f"the configuration {path}: {str(error).replace('`', '')}") from None
    stack = config.service.stack
    if stack.endswith(".toml"):
        table = msgspec.structs.replace(config.service, stack=str(path.parent / Path(stack).expanduser()))
        config = msgspec.structs.replace(config, service=table)
    return config, path.parent


def _check_names(tree: dict[str, object], path: Path) -> None:
    tables = {
        "service": ServiceTable.__struct_fields__,
        "worker": tuple(WorkerConfig.__dataclass_fields__),
        "security": SecurityTable.__struct_fields__,
        "metrics": MetricsTable.__struct_fields__,
        "log": LogTable.__struct_fields__,
    }
    for name, table in tree.items():
        if name not in tables or not isinstance(table, dict):
            raise ConfigError(f"the configuration {path} has no table [{name}]; {did_you_mean(name, tables)}")
        for key in table:
            if key not in tables[name]:
                known = did_you_mean(key, tables[name])
                raise ConfigError(f"the configuration {path}: [{name}] has no key {key!r}; {known}")
