"""Where a checkpoint is, and what to say when it is not there. Needs no torch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from itk_embodied.agents.settings import CheckpointSettings
from itk_embodied.errors import CheckpointError, ItkError, MissingDependencyError

PACKAGE_PREFIX = "package:"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that can be loaded.

    Attributes:
        given: as the stack names it; for messages.
        location: a local folder, or a hub id that may be fetched.
        revision: of a hub id.
        local_only: nothing may be fetched.
        remedy: what to do when it does not load.
    """

    given: str
    location: str
    revision: str | None
    local_only: bool
    remedy: str

    @property
    def folder(self) -> Path | None:
        path = Path(self.location)
        return path if path.is_dir() else None

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Turn whatever a library raises while it loads into a `CheckpointError` with a remedy, in one line."""
        try:
            with _no_progress_bars() if self.given.startswith(PACKAGE_PREFIX) else nullcontext():
                yield
        except (ItkError, ImportError, MemoryError):
            raise
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise CheckpointError(f"checkpoint {self.given} cannot be loaded ({reason}). {self.remedy}") from error


def find_checkpoint(settings: CheckpointSettings, folder: Path | None = None) -> Checkpoint:
    """Find a checkpoint: a folder of the package, a local folder, or a hub id. Relative paths start at ``folder``.

    Raises:
        CheckpointError: it is not there; names the hub id and the line that fetches it.
    """
    given, revision = settings.checkpoint, settings.revision
    if given.startswith(PACKAGE_PREFIX):
        path = Path(str(files("itk_embodied").joinpath(given.removeprefix(PACKAGE_PREFIX))))
        remedy = "It comes with the package: install itk-embodied again, or train it with `itk-embodied train`."
        if not path.is_dir():
            raise CheckpointError(f"checkpoint {given} is not in this installation ({path}). {remedy}")
        return Checkpoint(given, str(path), None, True, remedy)
    path = (folder or Path()) / Path(given).expanduser()
    if path.is_dir():
        return Checkpoint(given, str(path.resolve()), None, True, "Save it again, or give another folder.")
    if not _HUB_ID.fullmatch(given):
        raise CheckpointError(
            f"there is no checkpoint folder {path}. Give a folder that exists, or a hub id such as org/name."
        )
    return _find_hub_id(given, revision, settings.allow_download, path)


def find_adapter(settings: CheckpointSettings, folder: Path | None = None) -> Checkpoint | None:
    """The LoRA adapter that the settings name, found as a checkpoint is; None where they name none."""
    if settings.lora is None:
        return None
    named = CheckpointSettings(checkpoint=settings.lora, allow_download=settings.allow_download)
    return find_checkpoint(named, folder)


def _find_hub_id(hub_id: str, revision: str | None, allow_download: bool, tried: Path) -> Checkpoint:
    pin = f" --revision {revision}" if revision else ""
    fetch = f"hf download {hub_id}{pin}"
    if allow_download:
        remedy = f"Check the name, the network and your access rights; to fetch it by hand: {fetch}"
        return Checkpoint(hub_id, hub_id, revision, False, remedy)
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
    except ImportError as error:
        raise MissingDependencyError('install the models\' packages: pip install "itk-embodied[models]"') from error
    try:
        location = snapshot_download(hub_id, revision=revision, local_files_only=True)
    except (LocalEntryNotFoundError, HFValidationError, OSError) as error:
        raise CheckpointError(
            f"checkpoint {hub_id} is not on this machine (no folder {tried}, not in the hub's cache). "
            f"Fetch it with `{fetch}`, or set allow_download = true in the stack."
        ) from error
    return Checkpoint(hub_id, location, revision, True, f"The copy in the cache may be incomplete; run: {fetch}")


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    """The small shipped models load in a moment; bars would only flash by."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    libraries = [log for log in (diffusers_logging, transformers_logging) if log.is_progress_bar_enabled()]
    for log in libraries:
        log.disable_progress_bar()
    try:
        yield
    finally:
        for log in libraries:
            log.enable_progress_bar()
