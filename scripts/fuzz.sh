#!/bin/sh
# SPDX-License-Identifier: MIT
# `make fuzz`: runs each libFuzzer target for FUZZ_SECONDS (60), starting from its corpus below
# fuzz/corpus. What it finds new stays under build/fuzz/corpus; a crash leaves its input in
# build/fuzz and fails. `scripts/fuzz.sh NAME...` runs only those.
set -eu
cd "$(dirname "$0")/.."
scripts/install-deps.sh test
build=${BUILD:-build}/fuzz
seconds=${FUZZ_SECONDS:-60}
if [ ! -f "$build/build.ninja" ]; then
    CC=clang meson setup "$build" -Dfuzz=true -Db_sanitize=address,undefined -Db_lundef=false \
        '-Dc_args=-fno-sanitize-recover=all'
fi
ninja -C "$build"
failed=0
count=0
for program in "$build"/fuzz/fuzz-*; do
    [ -f "$program" ] && [ -x "$program" ] || continue
    name=${program##*/fuzz-}
    if [ $# -gt 0 ]; then
        case " $* " in *" $name "*) ;; *) continue ;; esac
    fi
    count=$((count + 1))
    mkdir -p "$build/corpus/$name"
    seeds=fuzz/corpus/$name
    [ -d "$seeds" ] || seeds=''
    echo "== $name, $seconds s"
    if ! setarch -R "$program" -max_total_time="$seconds" -print_final_stats=1 -timeout=20 -rss_limit_mb=4096 \
        -artifact_prefix="$build/$name-" "$build/corpus/$name" $seeds >"$build/$name.log" 2>&1 </dev/null; then
        failed=$((failed + 1))
        echo "FAILED; the input is in $build/$name-*, the log in $build/$name.log:"
        tail -n 25 "$build/$name.log"
    else
        grep -E 'number_of_executed_units|new_units_added|average_exec_per_sec' "$build/$name.log" | sed 's/^stat::/  /'
    fi
done
if [ $count = 0 ]; then
    echo "fuzz: no target named $*" >&2
    exit 2
fi
echo "$count targets, $failed failed"
[ $failed = 0 ]
