"""Measures the ledger and MLflow on the same work: runs of 10 parameters and 100 points, and a question to many runs.

    cargo build --release --example ledger_bench
    python bench/ledger/run.py [--runs 100] [--many 10000] [--mlflow-runs 5] [--mlflow-many 20]

Prints a table and the ratios. Counts are differences of two sizes, so making the store is left out. fsync calls are counted with strace where it is there. MLflow is measured where it can be imported;
its question is asked of fewer runs (its sqlite store writes at 10,000 of them for hours) and the number is stated.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
METADSL = ROOT / "target/release/examples/ledger_bench"
SYNCS = "fsync,fdatasync,sync_file_range,msync,sync,syncfs"


def size(folder):
    return sum(p.stat().st_size for p in Path(folder).rglob("*") if p.is_file())


def syncs(command, runs):
    """fsync calls per run, counted from outside."""
    if shutil.which("strace") is None:
        return None
    with tempfile.NamedTemporaryFile("r") as log:
        subprocess.run(["strace", "-f", "-qq", "-e", f"trace={SYNCS}", "-o", log.name, *command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        calls = [line for line in log if re.search(r"\b(fsync|fdatasync|sync_file_range|msync|sync|syncfs)\(", line)]
    return len(calls) / runs


def metadsl(folder, runs, many):
    def write(to, n):
        return float(subprocess.run([METADSL, "write", to, str(n)], check=True, capture_output=True, text=True).stdout)

    first = folder / "metadsl"
    ms = write(first, runs)
    result = {"ms per run": ms, "bytes per run": size(first) / runs}
    few, more = (syncs([METADSL, "write", folder / f"counted{n}", str(n)], 1) for n in (20, 40))
    result["fsync per run"] = None if few is None else (more - few) / 20
    # The runs that are asked about are written where syncing costs nothing: only the question is measured.
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as quick:
        write(Path(quick) / "ledger", many)
        answer = subprocess.run([METADSL, "ask", Path(quick) / "ledger", str(many)], check=True, capture_output=True, text=True)
    result["ms per question"] = float(answer.stdout.split()[0])
    result["of runs"] = many
    return result


def mlflow_write(uri, runs):
    import mlflow

    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment("bench")
    start = time.perf_counter()
    for number in range(runs):
        rate = 1e-3 * (number % 997 + 1)
        with mlflow.start_run():
            mlflow.log_params({f"p{i}": i for i in range(9)} | {"rate": rate})
            for step in range(100):
                mlflow.log_metric("gap", 1 / (1 + rate * step), step=step)
    return (time.perf_counter() - start) * 1e3 / runs


def mlflow_ask(uri):
    import mlflow

    mlflow.set_tracking_uri(uri)
    times = []
    for _ in range(3):
        start = time.perf_counter()
        mlflow.search_runs(experiment_names=["bench"], filter_string="metrics.gap < 0.5", order_by=["metrics.gap"], max_results=20)
        times.append((time.perf_counter() - start) * 1e3)
    return sorted(times)[1]


def mlflow(folder, kind, runs, many):
    at = folder / f"mlflow-{kind}"
    at.mkdir()
    uri = f"sqlite:///{at}/db" if kind == "sqlite" else f"file://{at}"
    script = [sys.executable, __file__, "--mlflow-write", uri, "--runs"]
    mlflow_write(uri, 1)  # creates the store; not measured
    before = size(at)
    ms = mlflow_write(uri, runs)
    result = {"ms per run": ms, "bytes per run": (size(at) - before) / runs}
    # Counted as the difference of two sizes, so that making the store is left out.
    few, more = (syncs([*script, str(n)], 1) for n in (1, 3))
    result["fsync per run"] = None if few is None else (more - few) / 2
    if many > runs:
        mlflow_write(uri, many - runs)
    result["ms per question"] = mlflow_ask(uri)
    result["of runs"] = many
    return result


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--many", type=int, default=10_000)
    parser.add_argument("--mlflow-runs", type=int, default=5)
    parser.add_argument("--mlflow-many", type=int, default=20)
    parser.add_argument("--mlflow-write")
    args = parser.parse_args()
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    if args.mlflow_write:
        mlflow_write(args.mlflow_write, args.runs)
        return
    with tempfile.TemporaryDirectory(dir=ROOT / "target") as folder:
        folder = Path(folder)
        rows = {"metadsl": metadsl(folder, args.runs, args.many)}
        try:
            import mlflow as library

            for kind in ("sqlite", "file"):
                rows[f"MLflow {library.__version__}, {kind}"] = mlflow(folder, kind, args.mlflow_runs, args.mlflow_many)
        except ImportError:
            print("MLflow is not installed: pip install mlflow", file=sys.stderr)
    names = ["fsync per run", "ms per run", "bytes per run", "ms per question", "of runs"]
    show = lambda x: "-" if x is None else f"{x:,.1f}" if x < 100 else f"{x:,.0f}"
    print("| store | " + " | ".join(names) + " |\n|---|" + "---:|" * len(names))
    for name, row in rows.items():
        print(f"| {name} | " + " | ".join(show(row[n]) for n in names) + " |")
    ours = rows["metadsl"]
    for name, row in list(rows.items())[1:]:
        ratios = [f"{n} x {row[n] / ours[n]:,.1f}" for n in names[:3] if row[n] and ours[n]]
        print(f"{name} against metadsl: {', '.join(ratios)}")


if __name__ == "__main__":
    main()
