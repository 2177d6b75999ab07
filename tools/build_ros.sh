#!/bin/sh
# build_ros.sh          builds the ROS messages and installs the package's ROS side into .venv.
# build_ros.sh --check  says what this machine lacks to do so, in one line; exit 2.
#
# Run it in the checkout, with the extras sim (--check) and ros (the build) in .venv.
set -eu
venv=$(pwd)/.venv
python=$venv/bin/python
colcon=$venv/.colcon
standin=msg/interfaces/robotis_controller_msgs

say() {
    echo "op3_fall: $*" >&2
}

path_of() {
    "$python" -c "import sysconfig; print(sysconfig.get_path('$1'))"
}

if [ "${1:-}" = --check ]; then
    wheels='import sys, packaging.tags as t
sys.exit(all(tag.platform != "manylinux_2_28_x86_64" for tag in t.sys_tags()))'
    if ! "$python" -c "$wheels"; then
        say "no ROS 2 wheels for this machine (they are for x86-64 Linux with glibc 2.28 or newer);" \
            "the ROS nodes need a ROS 2 Jazzy workspace: clone op3_fall into it, run colcon build"
        exit 2
    fi
    for tool in "cc gcc ${CC:-}" "c++ g++ ${CXX:-}"; do
        # shellcheck disable=SC2086  # the three words are the name, the package, the choice
        set -- $tool
        if ! command -v "${3:-$1}" >/dev/null 2>&1; then
            say "no compiler '${3:-$1}' to build the ROS messages with. run: sudo apt install $2"
            exit 2
        fi
    done
    if [ ! -e "$(path_of include)/Python.h" ]; then
        version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        say "no Python.h to build the ROS messages with." \
            "run: sudo apt install python$version-dev"
        exit 2
    fi
    exit
fi

# What was being written when a build was interrupted may be half there: start again.
[ ! -e "$colcon/.building" ] || rm -rf "$colcon"
mkdir -p "$colcon"
trap 'exit 130' HUP INT TERM
touch "$colcon/.building"

# The wheels name the headers of the machine that they were built on.
include=$(path_of include)
packages=$(path_of purelib)
grep -rlZ --include='*.cmake' /opt/python/ "$venv/share" | xargs -0r sed -i -E \
    -e "s|/opt/python/[^;\"]*/include/python3\.[0-9]+|$include|g" \
    -e "s|/opt/python/[^;\"]*/site-packages/numpy|$packages/numpy|g"

# ROBOTIS' own robotis_controller_msgs, if somebody has built it into .venv, stays.
paths=.
if [ ! -e "$venv/share/robotis_controller_msgs" ] ||
    [ -e "$colcon/build/robotis_controller_msgs" ]; then
    paths=". $standin"
fi

# colcon must see .venv and nothing else: no defaults of the user's, no jobs of make's.
unset COLCON_DEFAULTS_FILE MAKEFLAGS MFLAGS MAKELEVEL
export COLCON_HOME="$colcon" VIRTUAL_ENV="$venv" PATH="$venv/bin:$PATH"
export CMAKE_PREFIX_PATH="$venv" AMENT_PREFIX_PATH="$venv"
# shellcheck disable=SC2086  # the paths are two words
if ! "$venv/bin/colcon" --log-base "$colcon/log" build --merge-install --symlink-install \
    --build-base "$colcon/build" --install-base "$venv" --paths $paths \
    --cmake-args -DBUILD_TESTING=OFF "-DPython3_EXECUTABLE=$python" \
    >"$colcon/output" 2>&1; then
    rm -f "$colcon/.building"
    cat "$colcon/output" >&2
    say "the build of the ROS messages failed, see above; then run make again"
    exit 1
fi

# pip would take this for an older op3_fall and delete the messages with it.
rm -rf "$packages"/op3_fall-*.egg-info "$colcon/.building"
