#!/bin/sh
# Real ROS 2 without a ROS installation: an environment with rclpy's wheels, this package, and a rosbridge server.
#   sh tools/ros_env.sh [DIR]      (default .venv-ros; `make ros-env` does the same)
# Where .venv stands beside it, its packages (torch and the models) are shared, so that nothing is installed twice.
set -eu
venv="${1:-.venv-ros}"
root="$(cd "$(dirname "$0")/.." && pwd)"
python="${ROS_PYTHON:-python3.11}" # the wheels are built for CPython 3.11
shared="$root/.venv/bin/python"

started="$(date +%s)"
say() { printf '%s\n' "$*" >&2; }

command -v "$python" >/dev/null 2>&1 || python="${PYTHON:-python3}"
"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || {
    say "The rclpy wheels need Python 3.11; '$python' is not. Try: make ROS_PYTHON=/path/to/python3.11 ros-env"
    exit 3
}
[ -x "$venv/bin/python" ] || { say "Making $venv"; "$python" -m venv "$venv"; }
say "Installing rclpy, the rosbridge server and this package"
cd "$root"
"$venv/bin/python" -m pip --disable-pip-version-check --timeout 30 --retries 10 install --quiet -e '.[ros2,rosbridge,nodes,record]' \
    'rosbridge-server-rs==0.1.6' 'pytest>=8' 'pytest-timeout>=2.3'
site="$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
chmod +x "$site"/rosbridge_server_rs/rosbridge_server_rs_*
if [ -x "$shared" ] && "$shared" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then
    # After this environment's own packages, which win.
    "$shared" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' >"$site/zz_shared_with_venv.pth"
fi
"$venv/bin/python" -c 'import rclpy, sensor_msgs.msg, diagnostic_msgs.msg, lifecycle_msgs.srv, std_srvs.srv'
say "Ready after $(($(date +%s) - started)) s: $venv/bin/visual_subgoal_node --help; a rosbridge: sh tools/rosbridge.sh"
