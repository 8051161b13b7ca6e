#!/bin/sh
# SPDX-License-Identifier: MIT
# `make bench`: builds vio and the benchmarks and runs them beside the programs they are compared
# with. Arguments go to bench/run.py.
set -eu
cd "$(dirname "$0")/.."
scripts/install-deps.sh build bench
make
ninja -C "${BUILD:-build}"
exec python3 bench/run.py "$@"
