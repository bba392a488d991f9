"""Which device and number type a model runs in."""

from __future__ import annotations

import torch

from itk_embodied.agents.settings import CheckpointSettings
from itk_embodied.errors import ConfigError

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(settings: CheckpointSettings) -> tuple[torch.device, torch.dtype]:
    """``auto``: bfloat16 on a GPU where there is one, else float32 on the CPU.

    Raises:
        ConfigError: the device does not exist here.
    """
    given = settings.device
    try:
        device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if given == "auto" else given)
    except RuntimeError as error:
        raise ConfigError(f"device {given!r} is unknown; use auto, cpu, cuda or cuda:N.") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"device {given!r} is not here: this machine has {torch.cuda.device_count()} CUDA GPUs that torch can use. "
            'Use device = "auto" or "cpu", or install torch\'s CUDA build.'
        )
    if settings.dtype != "auto":
        return device, _DTYPES[settings.dtype]
    return device, torch.float32 if device.type == "cpu" else torch.bfloat16
