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
    for file in maml_anil fedrep_digits maml_sine tr_maml softmax_icl/window softmax_icl/softmax fedavg/local_updates maml_vs_erm/landscape; do ./target/release/metadsl run experiments/$file.meta --ledger ledger || exit 1; done
    ./target/release/metadsl verify --ledger ledger

# steps per second against JAX and PyTorch (installs both into .venv)
bench:
    cargo build --release
    bash bench/setup.sh
    .venv/bin/python bench/run.py
