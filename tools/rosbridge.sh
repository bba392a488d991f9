#!/bin/sh
# A real rosbridge for ROS 2 Jazzy from the environment that tools/ros_env.sh makes; for machines with no ROS installed.
#   sh tools/rosbridge.sh [--bind HOST:PORT] [other options; --help lists them]
# It listens on 127.0.0.1:9090 unless told otherwise. ROS_DOMAIN_ID and ROS_AUTOMATIC_DISCOVERY_RANGE apply as always.
set -eu
root="$(cd "$(dirname "$0")/.." && pwd)"
venv="${ROS_ENV:-$root/.venv-ros}"
python="$venv/bin/python"
[ -x "$python" ] || { echo "There is no $venv; make it: make ros-env" >&2; exit 3; }
site="$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
server="$site/rosbridge_server_rs/rosbridge_server_rs_jazzy"
[ -x "$server" ] || { echo "There is no rosbridge server in $venv; run: make ros-env" >&2; exit 3; }
interpreter="$("$python" -c 'import sysconfig as s; print(s.get_config_var("LIBDIR") + "/" + s.get_config_var("INSTSONAME"))')"

# The server loads the middleware by this name; the wheels have only the one implementation.
links="$venv/lib/rosbridge-links"
mkdir -p "$links"
ln -sf ../librmw_fastrtps_cpp.so "$links/librmw_implementation.so"
libraries="$venv/lib:$links"
for folder in "$site"/*.libs; do libraries="$libraries:$folder"; done

case " $* " in *" --bind"*) ;; *) set -- --bind 127.0.0.1:9090 "$@" ;; esac
[ -e "$interpreter" ] && export LD_PRELOAD="$interpreter"
# These are for the server only: nothing that is started from here inherits them.
LD_LIBRARY_PATH="$libraries" AMENT_PREFIX_PATH="$venv" ROS_DISTRO=jazzy exec "$server" --no-rosapi "$@"
