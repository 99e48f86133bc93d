#!/usr/bin/env bash
# Runs every shipped experiment and says which claims hold and how long it took. What it passes on to `metadsl run`: --ledger DIR.
# --quick takes one seed where a run is long, and leaves out files of which others claim the like in less time. A file whose data is not
# here is skipped; get-data.sh fetches it.
set -uo pipefail
cd "$(dirname "$0")/.."

quick=
if [ "${1:-}" = --quick ]; then
  quick=yes
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
  case $quick$file in
    yes*/five_shots.meta | yes*/fashion_rivals.meta | yes*/mails.meta)
      echo "== $file: left out by --quick"
      continue
      ;;
    yes*/fashion.meta | yes*/window.meta | yes*/softmax.meta | yes*/exponent.meta | yes*/shallow.meta) ;&
    yes*/alphabets.meta | yes*/maml_vs_erm/omniglot.meta | yes*/tr_maml/sine.meta | yes*/ten_shots.meta) options=(--set seeds=1) ;;
  esac
  # What a hundred clients end with, or a transformer has, is too large for a ledger that is committed; its hashes are in the record all the same.
  case $file in
    experiments/fedrep/fashion*.meta | experiments/fedrep/cifar*.meta | experiments/fedrep/femnist.meta) options+=(--keep-weights none) ;;
    */federated_prompts/mails.meta | */spam/*.meta) options+=(--keep-weights 1MB) ;;
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
