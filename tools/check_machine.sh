#!/bin/sh
# check_machine.sh          says what this machine lacks to set up .venv, one line each; exit 2.
# check_machine.sh --venv   exit 0 if .venv is complete and still belongs here, else 1.
#
# Environment: PYTHON  the interpreter to check (python3)
#              GOAL    the make target that the advice names (demo)
set -u
python=${PYTHON:-python3}
goal=${GOAL:-demo}

if [ "${1:-}" = --venv ]; then
    # .created holds the folder, since a moved .venv has scripts that point to the old place.
    # .installing is there while pip works: if it stays, the set-up was interrupted.
    [ -x .venv/bin/python ] && [ ! -e .venv/.installing ] &&
        [ "$(cat .venv/.created 2>/dev/null)" = "$(pwd)" ] || exit 1
    # With PYTHON chosen by hand, .venv must be of that version.
    if [ -n "${PYTHON:-}" ]; then
        ask='import sys; print(sys.version_info[:2])'
        [ "$("$python" -c "$ask" 2>/dev/null)" = "$(.venv/bin/python -c "$ask" 2>/dev/null)" ]
    fi
    exit
fi

say() {
    echo "op3_fall: $*" >&2
}

suits='import sys, ensurepip, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'

# How to get a Python that will do: one that is here, else one that apt knows.
remedy() {
    for p in python3.12 python3.13 python3.11 python3; do
        if "$p" -c "$suits" 2>/dev/null; then
            echo "run: make $goal PYTHON=$p"
            return
        fi
    done
    for v in 3.12 3.13 3.11; do
        if apt-cache show "python$v-venv" >/dev/null 2>&1; then
            echo "run: sudo apt install python$v-venv && make $goal PYTHON=python$v"
            return
        fi
    done
    echo "install Python 3.12 and its venv module, then run: make $goal PYTHON=python3.12"
}

if ! command -v "$python" >/dev/null 2>&1; then
    say "'$python' not found; Python 3.11, 3.12 or 3.13 is needed. $(remedy)"
    exit 2
fi

version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
case $version in
3.11 | 3.12 | 3.13) ;;
*)
    found=${version:+Python $version}
    say "'$python' is ${found:-not a working Python}; 3.11, 3.12 or 3.13 is needed. $(remedy)"
    exit 2
    ;;
esac

# Debian and Ubuntu leave ensurepip out of the python3 package.
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    package=python$version-venv
    [ "$python" = python3 ] && package="python3-venv (python$version-venv)"
    say "'$python' (Python $version) has no venv module. run: sudo apt install $package"
    exit 2
fi
