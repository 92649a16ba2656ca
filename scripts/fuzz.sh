#!/usr/bin/env bash
# Fuzzes one target of `cargo fuzz list`, or all in turn: fuzz.sh [TARGET|all] [RUNS].
# SANITIZER=none is five times as fast; the default, address, sees what unsafe code would do.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
targets=${1:-all}
runs=${2:-10000000}
if ! cargo fuzz --version >/dev/null 2>&1; then
    echo "fuzz: installing cargo-fuzz"
    cargo install --quiet --locked cargo-fuzz
fi
[ "$targets" != all ] || targets=$(cargo fuzz list)
for target in $targets; do
    # What is found goes to the first folder; the second holds inputs to start from.
    folders=("fuzz/corpus/$target")
    [ ! -d "fuzz/seeds/$target" ] || folders+=("fuzz/seeds/$target")
    mkdir -p "${folders[0]}"
    # Sanitizers need unstable compiler flags; the stable toolchain takes them so.
    RUSTC_BOOTSTRAP=1 cargo fuzz run --release -s "${SANITIZER:-address}" "$target" "${folders[@]}" -- \
        -runs="$runs" -max_len="${MAX_LEN:-1024}" -timeout=60
done
