#!/bin/sh
# Builds tiny.wasm: C -> core module (clang, wasm-ld) -> component (jco). Needs clang-14 and lld-14, and `npm ci`.
set -eu
cd "$(dirname "$0")"
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
${CLANG:-clang-14} --target=wasm32 -O2 -Wall -Wextra -nostdlib -fno-builtin -mno-bulk-memory -fuse-ld=${LLD:-/usr/bin/wasm-ld-14} \
  -Wl,--no-entry -Wl,--strip-all -Wl,-z,stack-size=16384 -o "$out/core.wasm" tiny.c
node embed.ts "$out/core.wasm" ../../spec/wit http tiny.wasm
ls -l tiny.wasm
