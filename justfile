# Recipes; `just` lists them. None is needed for the two commands of the README.

# everything that CI runs
ci:
    bash .ci/run

# accept changed snapshots after reading them
snapshots:
    INSTA_UPDATE=always cargo test --release
    git diff --stat -- '*.snap'

# the full experiments, into the committed ledger (about ten minutes on two cores)
reproduce:
    cargo build --release
    for file in experiments/*/*.meta; do ./target/release/metadsl run $file --ledger ledger || exit 1; done
    ./target/release/metadsl verify --ledger ledger

# steps per second against JAX and PyTorch (installs both into .venv)
bench:
    cargo build --release
    bash bench/setup.sh
    .venv/bin/python bench/run.py
