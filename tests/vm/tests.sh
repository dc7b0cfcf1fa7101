#!/bin/bash
# Runs the tests of the runtime, and those of the whole program that the arguments choose, in the
# virtual machine.
set -euo pipefail
cd "$(dirname "$0")/../.."

executable() { # ARGUMENTS OF cargo test
    cargo test --locked --no-run "$@" 2>&1 | sed -n 's/^ *Executable .*(\(.*\))$/\1/p' | tail -n 1
}
runtime=$(executable -p orc-runtime --test containers)
whole=$(executable -p orc --test orc)
# The optimised program takes the place of the other one: the machine is slow.
tests/vm/run.sh bash -c "
    mount --bind target/release/orc target/debug/orc
    (cd src/runtime && ../../$runtime) && $whole --test-threads 2 $*"
