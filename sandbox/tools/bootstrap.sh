#!/bin/sh
# Finds a Python and lets it prepare the project's environment (`bootstrap.py`), or run another module of this package:
#
#   bootstrap.sh            make .venv what uv.lock says
#   bootstrap.sh clean      remove what was built (`make distclean`)
#
# Only what cannot be done in Python is done here.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd -P)
cd -- "$root"
PYTHONPATH=$root/sandbox/src
export PYTHONPATH

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

python=
for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
    if new_enough "$candidate"; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    found=$("${PYTHON:-python3}" --version 2>&1) || found="no ${PYTHON:-python3}"
    echo "error: Python 3.11 or newer is needed, found: $found; install one (Debian and Ubuntu: apt-get install python3" \
        "python3-venv), or name it: make PYTHON=/path/to/python3.12 up" >&2
    exit 1
fi

# -B: no __pycache__ of this Python beside those of the environment's own.
if [ "$#" -eq 0 ]; then
    exec "$python" -B -m runner_platform_sandbox.tools.bootstrap
fi
exec "$python" -B -m runner_platform_sandbox.tools "$@"
