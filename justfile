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
    cargo build --release --features text
    bash experiments/reproduce.sh --ledger ledger
    ./target/release/metadsl verify --ledger ledger

# kill every command of the ledger at every call that changes a file, and let every such call fail (three minutes behind the build)
kill-points:
    METADSL_ALL_KILL_POINTS=1 cargo test --release --features remote --test kills -- --nocapture
    METADSL_ALL_KILL_POINTS=1 cargo test --release --test live a_killed_run -- --nocapture

# all experiments with fewer seeds where they are long, into a ledger of their own: ten minutes at most on two cores
reproduce-quick:
    cargo build --release --features text
    bash experiments/reproduce.sh --quick --ledger target/quick-ledger

# steps per second against JAX and PyTorch (installs both into .venv)
bench:
    cargo build --release
    bash bench/setup.sh
    .venv/bin/python bench/run.py

# single kernels against the gemm crate and PyTorch
bench-kernels:
    bash bench/setup.sh
    cargo build --release --manifest-path bench/kernels/Cargo.toml
    .venv/bin/python bench/kernels.py

# plants an error of one ulp in five kernels, and fails unless the tests notice each
plant:
    bash tests/plant/run.sh

# the unsafe kernels' tests under the address sanitizer (needs a nightly toolchain)
sanitized:
    RUSTFLAGS=-Zsanitizer=address cargo +nightly test --release --target x86_64-unknown-linux-gnu --no-default-features --lib -- exec::exact simd rng

# the exact executor's tests on emulated processors: x86-64 without AVX, and aarch64 (needs qemu-user and gcc-aarch64-linux-gnu)
emulated:
    qemu-x86_64 -cpu Nehalem "$(cargo test --release --lib --no-run 2>&1 | grep -o 'target/release/deps/metadsl-[0-9a-f]*')" exec::exact
    rustup target add aarch64-unknown-linux-gnu
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc; \
      qemu-aarch64 -L /usr/aarch64-linux-gnu "$(cargo test --release --target aarch64-unknown-linux-gnu --no-default-features --lib --no-run 2>&1 | grep -o 'target/aarch64-unknown-linux-gnu/release/deps/metadsl-[0-9a-f]*')" exec::exact

# cargo-fuzz on parser, checker and formatter, a minute each (needs a nightly toolchain; installs cargo-fuzz). A crash is kept in fuzz/artifacts
fuzz seconds="60":
    command -v cargo-fuzz || cargo install cargo-fuzz --locked
    for target in parser checker formatter; do \
      mkdir -p fuzz/corpus/$target && cp experiments/*/*.meta tests/fixtures/*/*.meta fuzz/corpus/$target/ && \
      cargo +nightly fuzz run --sanitizer none $target -- -max_total_time={{seconds}} -max_len=8192 -timeout=10 || exit 1; \
    done

# how long parsing, formatting and checking take; fails where a promise is broken
bench-language:
    cargo run --release --manifest-path bench/language/Cargo.toml

# twenty thousand damaged experiments through parser, checker and lowering (some two minutes)
mutants:
    METADSL_ALL_MUTANTS=1 cargo test --release --test mutants

# sentence embeddings of a pretrained transformer and gradients of its adapters against `transformers` and PEFT, with all times (fetches MiniLM and mails; installs PyTorch into .venv)
minilm:
    experiments/get-data.sh minilm spam
    bash bench/setup.sh
    .venv/bin/pip install --quiet transformers==5.24.0 peft==0.21.2
    .venv/bin/python bench/minilm.py
    cargo test --release --features text --test minilm -- --nocapture

# MAML on Omniglot here and in PyTorch: accuracies of three seeds each (needs the two archives in experiments/data/omniglot; installs PyTorch into .venv)
omniglot:
    bash bench/setup.sh
    .venv/bin/pip install --quiet pillow
    cargo build --release
    mkdir -p target/omniglot/common
    cp experiments/omniglot/common/characters.meta target/omniglot/common/
    grep -v '^expect\|^arm' experiments/omniglot/five_way.meta | sed 's|"../data|"../../experiments/data|g' > target/omniglot/five_way.meta
    echo 'sweep seed in 0..3' >> target/omniglot/five_way.meta
    ./target/release/metadsl run target/omniglot/five_way.meta --set evaluate.test.episodes=600 --ledger target/omniglot/ledger
    .venv/bin/python bench/omniglot.py

# an adapted transformer, exported whole and as an adapter, loaded back by `transformers` and PEFT (fetches MiniLM; installs PyTorch into .venv)
adapter:
    experiments/get-data.sh minilm
    bash bench/setup.sh
    .venv/bin/pip install --quiet transformers==5.24.0 peft==0.21.2
    cargo build --release
    mkdir -p target/adapter
    METADSL_LEDGER=target/adapter/ledger ./target/release/metadsl run bench/adapter.meta --json > target/adapter/run.json
    export METADSL_LEDGER=target/adapter/ledger; run=$(.venv/bin/python -c 'import json; print(json.load(open("target/adapter/run.json"))["run"])'); \
      ./target/release/metadsl export $run --model target/adapter/merged --adapter target/adapter/peft && \
      ./target/release/metadsl export $run --format jsonl --output target/adapter/rows.jsonl
    .venv/bin/python bench/adapter.py target/adapter
