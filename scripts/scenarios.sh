#!/usr/bin/env bash
# Runs the scenarios and makes docs/scenarios.md of what they leave: scenarios.sh TARGET_DIR.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
target=${1:-target}
rm -rf "$target/scenarios"
cargo build --workspace
cargo test -p tests --test scenarios
{
    cat <<'HEAD'
# Scenarios

What a cloud does with its switches. Each scenario is a test of `tests/tests/scenarios`, named `s01_…` after its number
here; its controller is an application of os-ken in `tests/controller/scenarios` and speaks OpenFlow 1.3. This page is made by
`make scenarios`: topologies are the heads of the tests, flows and traces are what was in force when they passed.
HEAD
    for part in "$target"/scenarios/*.md; do
        echo
        cat "$part"
    done
} >docs/scenarios.md
