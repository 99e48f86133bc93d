#!/usr/bin/env bash
# Plants an error of at most one unit in the last place of the result into five kernels, one at a time, in a copy of the tree, and fails unless the
# tests of the exact executor notice each of them. --check only looks whether what is replaced still stands there.
set -euo pipefail
cd "$(dirname "$0")/../.."
kernels=src/exec/exact
# file, what stands there, what is planted
plants=(
  "math32.rs|let p = p.mul_add(r, 0.5);|let p = p.mul_add(r, 0.500_000_06);"
  "reduce.rs|join(lane[i], lane[half + i])|join(lane[2 * i], lane[2 * i + 1])"
  "reduce.rs|joined(eight[l], &eight[l + half], join)|joined(eight[2 * l], &eight[2 * l + 1], join)"
  "simd/overlap.rs|for entry in 0..size.0 {|for entry in (0..size.0).rev() {"
  "simd/vector.rs|*sum = a.fma(b, *sum)|*sum = a.mul(b).add(*sum)"
)
for plant in "${plants[@]}"; do
  IFS='|' read -r file old new <<<"$plant"
  grep -qF "$old" "$kernels/$file" || { echo "$kernels/$file no longer says: $old"; exit 1; }
done
[ "${1:-}" != --check ] || exit 0

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
# Bits do not depend on the profile, and this one builds fast; its frames are large.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target/plant}" RUST_MIN_STACK=268435456
git archive HEAD | tar -x -C "$copy"
for plant in "${plants[@]}"; do
  IFS='|' read -r file old new <<<"$plant"
  python3 - "$copy/$kernels/$file" "$old" "$new" <<'PY'
import sys
path, old, new = sys.argv[1:]
text = open(path).read()
open(path, "w").write(text.replace(old, new, 1))
PY
  if (cd "$copy" && cargo test --quiet --no-default-features --lib exec::exact) >"$copy/log" 2>&1; then
    echo "NOT NOTICED: $file: $new"
    exit 1
  fi
  grep -q "test result: FAILED" "$copy/log" || { tail -20 "$copy/log"; exit 1; }
  echo "noticed in $file: $(grep -oE "^test [^ ]+ \.\.\. FAILED|^    exec::[^ ]+" "$copy/log" | sort -u | tr '\n' ' ')"
  cp "$kernels/$file" "$copy/$kernels/$file"
done
