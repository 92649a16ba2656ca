#!/usr/bin/env bash
# Fuzzes one target, or all in turn: fuzz.sh [parse|openflow_decode|flow_syntax|config|all] [RUNS].
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
    RUSTC_BOOTSTRAP=1 cargo fuzz run --release "$target" "${folders[@]}" -- \
        -runs="$runs" -max_len=4096 -timeout=10
done
