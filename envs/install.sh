#!/usr/bin/env bash
# Usage: envs/install.sh FOLDER
# Make a virtual environment in FOLDER with the versions of requirements.lock, and nino itself, editable.
set -euo pipefail

folder=$1
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# The first Python that is new enough, $PYTHON before all others.
for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
if [ -z "${python:-}" ]; then
    echo "install: no Python >= 3.11 found; install one, or name it: make install PYTHON=/path/to/python3" >&2
    exit 1
fi

start=$SECONDS
total=$(grep -c == "$here/requirements.lock")
echo "install: $total pinned packages for $("$python" --version) into $folder (minutes)"
if ! "$python" -m venv --clear "$folder"; then
    echo "install: this Python cannot make virtual environments; on Debian: apt install python3-venv" >&2
    exit 1
fi
# Modules are compiled when they are first imported: compiling all of them here takes longer than everything else.
"$folder/bin/python" -m pip install --no-compile --disable-pip-version-check --requirement "$here/requirements.lock" 2>&1 |
    awk -v total="$total" '
        # Packages that are not in the lock are those that a CUDA build of torch brings along.
        /^Collecting [^ ]+ \(from -r / { if (++n % 20 == 0) print "install: " n " of " total " packages found"; fflush() }
        /^Collecting (nvidia|cuda)/ && !cuda++ { print "install: torch comes with CUDA here: some gigabytes more"; fflush() }
        /^Installing collected/ { print "install: unpacking"; fflush() }
        /^ERROR|^WARNING: Retrying|rror:/ { print; fflush() }'
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
    --editable "$here/.."
echo "install: done after $((SECONDS - start)) s"
