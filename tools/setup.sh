#!/bin/sh
# Make the virtual environment and install everything into it. Called by make; `sh tools/setup.sh DIR` works alone too.
set -eu
venv="${1:-.venv}"
python="${PYTHON:-python3}"

started="$(date +%s)"
say() { printf '%s\n' "$*" >&2; }
took() { printf '%s' "$(($(date +%s) - started)) s"; }

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
    say "Python 3.11 or newer is needed; '$python' is not. Try: make PYTHON=python3.11 setup"
    exit 3
}
"$python" -c 'import ensurepip, venv' 2>/dev/null || {
    say "Python's venv module is missing. Run: sudo apt-get install -y python3-venv"
    exit 3
}

# Rendering without a screen needs Mesa's software driver; OpenCV needs libGL and GLib.
packages="libegl1 libegl-mesa0 libgl1-mesa-dri libgl1 libglib2.0-0"
if command -v dpkg-query >/dev/null 2>&1; then
    missing=""
    for package in $packages; do
        # Ubuntu 24.04 and Debian 13 renamed some packages for 64-bit time; either name will do.
        dpkg-query -W -f '${Status}\n' "$package" "${package}t64" 2>/dev/null | grep -q 'install ok installed' \
            || missing="$missing $package"
    done
    if [ -n "$missing" ]; then
        line="apt-get install -y --no-install-recommends$missing"
        if [ "$(id -u)" = 0 ]; then
            say "Installing Mesa's packages:$missing"
            { apt-get update -q && DEBIAN_FRONTEND=noninteractive $line -q; } >&2
        else
            say "Packages for rendering are missing. Run this line, then make again:"
            say "  sudo $line"
            exit 3
        fi
    fi
fi

[ -x "$venv/bin/python" ] || { say "Making $venv"; "$python" -m venv "$venv"; }
# A download that stands still is asked for again soon, whatever patience is set elsewhere.
pip="$venv/bin/python -m pip --disable-pip-version-check --timeout 30 --retries 10 install --quiet"

# torch first and pinned. A machine without an NVIDIA GPU gets the build without CUDA where the index offers one.
torch="torch==2.13.0"
if ! "$venv/bin/python" -c 'import torch, sys; sys.exit(not torch.__version__.startswith("2.13.0"))' 2>/dev/null; then
    say "Installing torch"
    $pip "$torch"
fi
say "Installing itk_embodied and what it needs (after $(took))"
$pip -e '.[all,dev]'
# Only its meshes are used; its own dependencies drive a real robot and would pull in much more.
$pip --no-deps 'dm-robotics-panda==0.4.8'
say "Ready after $(took): $venv/bin/itk-embodied --help"
