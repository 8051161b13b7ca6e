#!/bin/sh
# SPDX-License-Identifier: MIT
# `make demo`: builds vio, boots a real Linux guest on a disk that it serves, and says what happened.
# Installs what is missing (scripts/install-deps.sh), and needs no answer to anything.
set -eu
cd "$(dirname "$0")/.."
if [ "$(uname -sm)" != 'Linux x86_64' ]; then
    echo "demo: this boots an x86-64 Debian kernel and needs Linux on x86-64; here is $(uname -sm)." >&2
    exit 1
fi
if ! command -v apt-get >/dev/null; then
    echo "demo: the guest's kernel is a Debian package, and there is no apt-get here to fetch it." >&2
    exit 1
fi
scripts/install-deps.sh build guest
echo "Building vio"
if ! make >build-demo.log 2>&1; then
    tail -n 20 build-demo.log >&2
    rm -f build-demo.log
    echo "demo: vio does not build here; the last lines above say why." >&2
    exit 1
fi
rm -f build-demo.log
exec python3 scripts/demo.py
