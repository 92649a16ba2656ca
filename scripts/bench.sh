#!/usr/bin/env bash
# Runs the comparisons with Open vSwitch and testpmd: bench.sh TARGET_DIR [SCENARIO].
set -euo pipefail
target=${1:?usage: bench.sh TARGET_DIR [forward|guest-tcp|internal-tcp|path|openflow]}
scenario=${2:-all}
if [ "$(id -u)" != 0 ]; then
    echo "bench: needs root (network namespaces, hugepages)" >&2
    exit 1
fi
case $scenario in
all) for one in forward guest-tcp internal-tcp path openflow; do "$0" "$target" $one; done ;;
forward) "$target/release/forward" ;;
guest-tcp) "$target/release/tcp" guest ;;
internal-tcp) "$target/release/tcp" internal ;;
path) "$target/release/path" ;;
openflow) "$target/release/openflow" ;;
*)
    echo "bench: no scenario '$scenario'; there are forward, guest-tcp, internal-tcp, path and openflow" >&2
    exit 2
    ;;
esac
