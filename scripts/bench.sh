#!/usr/bin/env bash
# Runs the comparisons with Open vSwitch and testpmd: bench.sh TARGET_DIR [SCENARIO [OPTION...]].
# Without a scenario all run, and docs/ gets the figures of forwarding.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
target=$(cd "${1:?usage: bench.sh TARGET_DIR [SCENARIO [OPTION...]]}" && pwd)/release
scenario=${2:-all}
shift $(($# < 2 ? $# : 2))
if [ "$(id -u)" != 0 ]; then
    echo "bench: needs root (network namespaces, hugepages)" >&2
    exit 1
fi

# All that the programs make is in here or in namespaces named after them, and goes also on Ctrl-C.
TMPDIR=$(mktemp -d /tmp/bench.XXXXXX)
export TMPDIR
clean() {
    rm -rf "$TMPDIR"
    for namespace in /run/netns/vst-*; do
        name=${namespace##*/}
        owner=${name#vst-}
        [ -e "$namespace" ] && [ ! -e "/proc/${owner%%-*}" ] && ip netns del "$name"
    done
    return 0
}
trap clean EXIT
trap 'exit 130' INT TERM

results=$(dirname "$target")/bench
case $scenario in
all)
    "$target/judge" --json "$results/forwarding.json" --documents docs "$@"
    "$target/judge" growth --json "$results/growth.json" --documents docs "$@"
    "$target/forward"
    "$target/path"
    "$target/openflow"
    ;;
forward) "$target/forward" "$@" ;;
growth) "$target/judge" growth --json "$results/growth.json" --documents docs "$@" ;;
path) "$target/path" "$@" ;;
openflow) "$target/openflow" "$@" ;;
list)
    "$target/judge" --list
    echo "besides: forward path openflow"
    ;;
*) "$target/judge" "$scenario" --json "$results/$scenario.json" "$@" ;;
esac
