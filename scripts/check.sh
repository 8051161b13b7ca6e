#!/bin/sh
# SPDX-License-Identifier: MIT
# `make check`: installs what is missing, then runs every test in every configuration
# (scripts/check.py says which). Arguments go to check.py: `scripts/check.sh gcc guest`.
set -eu
cd "$(dirname "$0")/.."
scripts/install-deps.sh test guest
exec python3 scripts/check.py "$@"
