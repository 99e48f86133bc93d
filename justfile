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

# kill every command of the ledger at every call that changes a file, and let every such call fail (about twenty minutes)
kill-points:
    METADSL_ALL_KILL_POINTS=1 cargo test --release --features remote --test kills -- --nocapture
    METADSL_ALL_KILL_POINTS=1 cargo test --release --test live a_killed_run -- --nocapture

# steps per second against JAX and PyTorch (installs both into .venv)
bench:
    cargo build --release
    bash bench/setup.sh
    .venv/bin/python bench/run.py
