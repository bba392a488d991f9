"""CURVE keys: who a service is, and who may talk to it. Files are in ZeroMQ's certificate format (ZPL).

    NAME.key_secret   a pair: stays where it was made, readable by its owner only (0600)
    NAME.key          its public half: may be given to anybody
    allowed/NAME.key  public halves of the clients that a service lets in

A service needs its own pair and an allow-list; a client needs its own pair and the service's public half.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path

import zmq

from itk_embodied.errors import ConfigError, InputError

PUBLIC, SECRET = ".key", ".key_secret"
ALLOWED = "allowed"

_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
_KEY = re.compile(r"^[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}\Z")  # Z85: 32 bytes
_LINE = re.compile(r'^\s*(public-key|secret-key)\s*=\s*"([^"]*)"\s*$', re.MULTILINE)


@dataclass(frozen=True)
class KeyPair:
    """One's own key; the secret half is in no repr."""

    public: str
    secret: str = field(repr=False)


@dataclass(frozen=True)
class ClientKeys:
    """What a client needs to reach a service: its own pair, and the service's public key (40 letters)."""

    own: KeyPair
    service: str

    @staticmethod
    def load(own: str | Path, service: str | Path) -> ClientKeys:
        """From the client's ``.key_secret`` file, and the service's ``.key`` file or the key itself."""
        return ClientKeys(load_pair(own), load_public(service))


def default_folder() -> Path:
    """``$XDG_CONFIG_HOME/itk-embodied/keys``, else ``~/.config/itk-embodied/keys``."""
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "itk-embodied" / "keys"


def new_keys(folder: Path, name: str) -> tuple[Path, Path]:
    """Make a pair; returns the paths of the public and the secret file.

    Raises:
        InputError: the name cannot be a file's, or there is such a key already (it is never overwritten).
    """
    _check_name(name)
    public_file, secret_file = folder / f"{name}{PUBLIC}", folder / f"{name}{SECRET}"
    for path in (public_file, secret_file):
        if path.exists():
            raise InputError(f"there is a key {path} already; choose another name, or delete it yourself.")
    public, secret = (part.decode() for part in zmq.curve_keypair())
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _write(secret_file, f'curve\n    public-key = "{public}"\n    secret-key = "{secret}"\n', 0o600)
    _write(public_file, f'curve\n    public-key = "{public}"\n', 0o644)
    return public_file, secret_file


def load_pair(path: str | Path) -> KeyPair:
    """A ``.key_secret`` file.

    Raises:
        ConfigError: it is not there, not a pair, or others can read it.
    """
    path = Path(path).expanduser()
    keys = _read(path)
    if "secret-key" not in keys:
        raise ConfigError(f"{path} has no secret key; give the file NAME{SECRET} that `itk-embodied keys new` made.")
    if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise ConfigError(f"the secret key {path} can be read by others; run: chmod 600 {path}")
    return KeyPair(keys["public-key"], keys["secret-key"])


def load_public(key: str | Path) -> str:
    """A public key: 40 letters, or a file that has them.

    Raises:
        ConfigError: neither.
    """
    if _KEY.match(str(key)):
        return str(key)
    return _read(Path(key).expanduser())["public-key"]


class AllowList:
    """The clients that a service lets in: a folder of public keys, looked at again whenever it has changed."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).expanduser()
        self._seen: tuple[tuple[str, int, int], ...] | None = None
        self._keys: dict[str, str] = {}

    def keys(self) -> dict[str, str]:
        """Name to public key, as the folder is now. A file that cannot be read lets nobody in."""
        files: list[tuple[str, int, int]] = []
        with contextlib.suppress(OSError):
            for path in sorted(self.folder.glob(f"*{PUBLIC}")):
                with contextlib.suppress(OSError):
                    about = path.stat()
                    files.append((path.name, about.st_mtime_ns, about.st_size))
        if tuple(files) != self._seen:
            self._seen = tuple(files)
            self._keys = {}
            for name, _, _ in files:
                with contextlib.suppress(ConfigError):
                    self._keys[name.removesuffix(PUBLIC)] = load_public(self.folder / name)
        return self._keys

    def admits(self, public: str) -> bool:
        return public in self.keys().values()

    def add(self, name: str, public: str) -> Path:
        """Let a client in.

        Raises:
            InputError: the name cannot be a file's, or another key has it.
        """
        _check_name(name)
        path = self.folder / f"{name}{PUBLIC}"
        if self.keys().get(name, public) != public:
            raise InputError(f"another key is allowed as {name!r} already; remove it first, or choose another name.")
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write(path, f'curve\n    public-key = "{public}"\n', 0o600)
        return path

    def remove(self, name: str) -> None:
        """Shut a client out; a running service cuts it off within a heartbeat.

        Raises:
            InputError: nobody is allowed under that name.
        """
        if name not in self.keys():
            known = ", ".join(self.keys()) or "nobody"
            raise InputError(f"nobody is allowed as {name!r}; allowed: {known}.")
        (self.folder / f"{name}{PUBLIC}").unlink()


def _check_name(name: str) -> None:
    if not _NAME.match(name):
        raise InputError(f"{name!r} cannot name a key; use letters, digits, '_', '-' and '.', at most 64.")


def _read(path: Path) -> dict[str, str]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise ConfigError(f"the key file {path} cannot be read: {reason}. Make one: itk-embodied keys new.") from None
    keys = dict(_LINE.findall(text))
    if "public-key" not in keys or not all(_KEY.match(key) for key in keys.values()):
        raise ConfigError(f"{path} is no key file; make one with: itk-embodied keys new NAME.")
    return keys


def _write(path: Path, text: str, mode: int) -> None:
    """With the right mode from its first byte on."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(descriptor, mode)
        file.write(text)
