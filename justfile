# Recipes; `just` lists them. None is needed for the two commands of the README.

# everything that CI runs
ci:
    bash .ci/run

# accept changed snapshots after reading them
snapshots:
    INSTA_UPDATE=always cargo test --release
    git diff --stat -- '*.snap'

# all experiments in full, into the committed ledger
reproduce:
    cargo build --release
    bash experiments/reproduce.sh --ledger ledger
    ./target/release/metadsl verify --ledger ledger

# kill every command of the ledger at every call that changes a file, and let every such call fail (about twenty minutes)
kill-points:
    METADSL_ALL_KILL_POINTS=1 cargo test --release --features remote --test kills -- --nocapture
    METADSL_ALL_KILL_POINTS=1 cargo test --release --test live a_killed_run -- --nocapture

# all experiments with fewer seeds where they are long, into a ledger of their own: ten minutes at most on two cores
reproduce-quick:
    cargo build --release
    bash experiments/reproduce.sh --quick --ledger target/quick-ledger

# steps per second against JAX and PyTorch (installs both into .venv)
bench:
    cargo build --release
    bash bench/setup.sh
    .venv/bin/python bench/run.py
