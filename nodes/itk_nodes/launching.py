"""What the launch files share: how to start one of our executables, whichever way the package was installed."""

from __future__ import annotations

import shutil
from pathlib import Path

PACKAGE = "itk_embodied"


def executable(name: str) -> dict[str, str]:
    """Arguments for ``launch_ros.actions.Node``: by package in a colcon workspace, by path in a virtual environment.

    Raises:
        FileNotFoundError: it is nowhere.
    """
    prefix = _prefix()
    if prefix is not None and (prefix / "lib" / PACKAGE / name).is_file():
        return {"package": PACKAGE, "executable": name}
    path = shutil.which(name)
    if path is None:
        raise FileNotFoundError(
            f"{name} is neither in lib/{PACKAGE} of a sourced workspace nor on the PATH; source install/setup.bash, or "
            "activate the virtual environment that has itk_embodied."
        )
    return {"executable": path}


def _prefix() -> Path | None:
    try:
        from ament_index_python.packages import PackageNotFoundError, get_package_prefix
    except ImportError:
        return None
    try:
        return Path(get_package_prefix(PACKAGE))
    except PackageNotFoundError:
        return None
