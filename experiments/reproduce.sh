#!/usr/bin/env bash
# Runs every shipped experiment and says which claims hold and how long it took. What it passes on to `metadsl run`: --ledger DIR.
# --quick takes fewer seeds where a run is long. A file whose data is not here is skipped; get-data.sh fetches it.
set -uo pipefail
cd "$(dirname "$0")/.."

quick=()
if [ "${1:-}" = --quick ]; then
  quick=(--set seeds=1)
  shift
fi

failed=()
for file in experiments/*/*.meta; do
  missing=
  for data in $(grep -o '"\.\./data/[^"/]*' "$file" | sort -u); do
    [ -e "experiments/${data#\"../}" ] || missing=${data#\"../data/}
  done
  if [ -n "$missing" ]; then
    echo "== $file: skipped: experiments/data/$missing is not here; experiments/get-data.sh lists where data is from"
    continue
  fi
  options=()
  case $file in
    */fashion*.meta | */window.meta | */softmax.meta | */exponent.meta | */shallow.meta | */alphabets.meta | */maml_vs_erm/omniglot.meta | */ten_shots.meta) options=("${quick[@]}") ;;
  esac
  # What a hundred clients end with is too large for a ledger that is committed; its hashes are in the record all the same.
  case $file in
    experiments/fedrep/fashion*.meta | experiments/fedrep/cifar*.meta | experiments/fedrep/femnist.meta) options+=(--keep-weights none) ;;
  esac
  echo "== $file ${options[*]}"
  start=$SECONDS
  ./target/release/metadsl run "$file" "${options[@]}" "$@" || failed+=("$file")
  echo "== $file: $((SECONDS - start)) s"
done

if [ ${#failed[@]} -gt 0 ]; then
  echo "not as claimed: ${failed[*]}"
  exit 1
fi
echo "every claim holds"
