#!/bin/sh
# Real ROS 1 from Debian's own packages: roscore, rospy, standard messages, and what tests/ros1_bridge.py needs. 17 MB.
#   sh tools/ros1_env.sh      (`make ros1-env` does the same)
# It installs where it may (as root); otherwise it prints the line to run. Debian 12 and its relatives have the packages.
set -eu
packages="python3-roslaunch python3-rosmaster python3-rospy python3-std-msgs python3-sensor-msgs python3-diagnostic-msgs
python3-std-srvs python3-websockets"
python=/usr/bin/python3
line="apt-get install --yes --no-install-recommends $(echo $packages)"

say() { printf '%s\n' "$*" >&2; }
have() {
    command -v roscore >/dev/null 2>&1 &&
        "$python" -c 'import rospy, websockets, sensor_msgs.msg, diagnostic_msgs.msg, std_srvs.srv' 2>/dev/null
}
install() { DEBIAN_FRONTEND=noninteractive $line -qq >&2; }

if ! have; then
    command -v apt-get >/dev/null 2>&1 || {
        say "There is no apt-get here. ROS 1 is tested with Debian's packages: $(echo $packages)"
        exit 3
    }
    [ "$(id -u)" = 0 ] || { say "Only root may install packages. Run: sudo $line"; exit 3; }
    say "Installing ROS 1 from Debian's packages"
    install || { apt-get update -qq >&2 && install; } || { say "That failed. Run: $line"; exit 3; }
    have || { say "The packages are there, but roscore or rospy for $python is not."; exit 3; }
fi
say "Ready: roscore; $python with rospy"
