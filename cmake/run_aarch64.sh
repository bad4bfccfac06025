#!/bin/sh
# Runs a program for AArch64: run_aarch64.sh PROGRAM [ARGUMENT…]
# This script is also the program's own argv[0], which tests that start themselves anew (GoogleTest's death tests) execute: the
# kernel knows no programs for AArch64. It is then called with the arguments alone.
set -eu
if [ -z "${SAMPAN_EMULATED:-}" ]; then
  SAMPAN_EMULATED=$1
  export SAMPAN_EMULATED
  shift
fi
exec qemu-aarch64-static -cpu max -L /usr/aarch64-linux-gnu -0 "$0" "$SAMPAN_EMULATED" "$@"
