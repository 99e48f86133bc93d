"""Measures the ledger and other trackers on the same work: runs of 10 parameters and 100 points, and a question to many runs.

    cargo build --release --example ledger_bench --bin metadsl
    pip install mlflow                # and, where they are wanted, aim, sacred, wandb, dvclive
    python bench/ledger/run.py [--runs 100] [--many 10000] [--other-runs 5] [--seconds 10]

Prints a table, the ratios, the index of 10,000 runs cold and warm, and what the ledger costs a run of ten seconds. Counts are
differences of two sizes, so making the store is left out. fsync calls are counted with strace where it is there. Others are measured
where they can be imported.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
METADSL = ROOT / "target/release/examples/ledger_bench"
COMMAND = ROOT / "target/release/metadsl"
SYNCS = "fsync,fdatasync,sync_file_range,msync,sync,syncfs"


def size(folder):
    return sum(p.stat().st_size for p in Path(folder).rglob("*") if p.is_file())


def syncs(command, runs, cwd=None):
    """fsync calls per run, counted from outside."""
    if shutil.which("strace") is None:
        return None
    with tempfile.NamedTemporaryFile("r") as log:
        subprocess.run(["strace", "-f", "-qq", "-e", f"trace={SYNCS}", "-o", log.name, *command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=cwd)
        calls = [line for line in log if re.search(r"\b(fsync|fdatasync|sync_file_range|msync|sync|syncfs)\(", line)]
    return len(calls) / runs


def program(*args):
    """What the metadsl side prints, as numbers."""
    done = subprocess.run([METADSL, *map(str, args)], check=True, capture_output=True, text=True)
    return [float(word) for word in done.stdout.split()]


def metadsl(folder, runs):
    first = folder / "metadsl"
    (ms,) = program("write", first, runs)
    few, more = (syncs([METADSL, "write", folder / f"counted{n}", str(n)], 1) for n in (20, 40))
    return {"fsync per run": None if few is None else (more - few) / 20, "ms per run": ms, "bytes per run": size(first) / runs}


def metadsl_many(many):
    """Milliseconds of the first question to many runs, of later ones, and of a run that is among them."""
    # They are written where syncing costs nothing: only what follows is measured.
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as quick:
        ledger = Path(quick) / "ledger"
        program("write", ledger, many)
        first, later, _ = program("ask", ledger, many)
        return first, later, hit(ledger)


def hit(ledger):
    """Milliseconds of the whole process of a run that the ledger holds, the median of 21."""
    command = [COMMAND, "run", ROOT / "bench/ledger/small.meta", "--ledger", ledger, "--json"]
    times = []
    for _ in range(22):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append((time.perf_counter() - start) * 1e3)
    return sorted(times[1:])[10]


class MLflow:
    """One `log_metric` a point."""

    def __init__(self, at, kind):
        import mlflow

        self.library = mlflow
        mlflow.set_tracking_uri(f"sqlite:///{at}/db" if kind == "sqlite" else f"file://{at}")
        mlflow.set_experiment("bench")

    def write(self, parameters, points):
        with self.library.start_run():
            self.library.log_params(parameters)
            for step, value in enumerate(points):
                self.library.log_metric("gap", value, step=step)


class Aim:
    def __init__(self, at, _):
        import aim

        self.library, self.repo = aim, str(at)
        aim.Repo.from_path(self.repo, init=True)

    def write(self, parameters, points):
        run = self.library.Run(repo=self.repo, system_tracking_interval=None, capture_terminal_logs=False)
        run["parameters"] = parameters
        for step, value in enumerate(points):
            run.track(value, name="gap", step=step)
        run.close()


class Wandb:
    """Offline: nothing leaves the machine."""

    def __init__(self, at, _):
        import wandb

        self.library, self.dir = wandb, at

    def write(self, parameters, points):
        settings = self.library.Settings(silent=True, x_disable_stats=True, console="off")
        run = self.library.init(mode="offline", dir=self.dir, config=parameters, settings=settings)
        for value in points:
            run.log({"gap": value})
        run.finish()


class DvcLive:
    def __init__(self, at, _):
        import dvclive

        self.library, self.at = dvclive, at

    def write(self, parameters, points):
        with self.library.Live(tempfile.mkdtemp(dir=self.at), save_dvc_exp=False, dvcyaml=None, report=None) as live:
            live.log_params(parameters)
            for value in points:
                live.log_metric("gap", value)
                live.next_step()


class Sacred:
    """Its file store."""

    def __init__(self, at, _):
        import sacred
        from sacred.observers import FileStorageObserver

        sacred.SETTINGS.CAPTURE_MODE = "no"
        self.library, self.observer = sacred, FileStorageObserver(at)

    def write(self, parameters, points):
        experiment = self.library.Experiment("bench", save_git_info=False)
        experiment.observers.append(self.observer)
        experiment.add_config(parameters)

        @experiment.main
        def main(_run):
            for step, value in enumerate(points):
                _run.log_scalar("gap", value, step)

        experiment.run()


# Name, kind, package, what writes.
OTHERS = [
    ("MLflow, sqlite", "sqlite", "mlflow", MLflow),
    ("MLflow, file", "file", "mlflow", MLflow),
    ("Aim", "", "aim", Aim),
    ("W&B, offline", "", "wandb", Wandb),
    ("DVCLive", "", "dvclive", DvcLive),
    ("Sacred, file", "", "sacred", Sacred),
]


def write(store, runs):
    """Milliseconds of a run."""
    start = time.perf_counter()
    for number in range(runs):
        rate = 1e-3 * (number % 997 + 1)
        store.write({f"p{i}": i for i in range(9)} | {"rate": rate}, [1 / (1 + rate * step) for step in range(100)])
    return (time.perf_counter() - start) * 1e3 / runs


def other(folder, at_work, runs):
    """The figures of another tracker; each part in a process of its own, so that none warms another up."""
    name, kind, _, _ = at_work
    at = folder / name.replace(" ", "-").replace(",", "")
    at.mkdir()
    script = [sys.executable, str(Path(__file__).resolve()), "--write", name, str(at), "--other-runs"]
    # Some write where they are started.
    run = lambda n: subprocess.run([*script, str(n)], check=True, capture_output=True, text=True, cwd=at)
    measured = lambda n: float(run(n).stdout.split()[-1])
    measured(1)  # creates the store; not measured
    before = size(at)
    ms = measured(runs)
    result = {"ms per run": ms, "bytes per run": (size(at) - before) / runs}
    few, more = (syncs([*script, str(n)], 1, at) for n in (1, 3))
    result["fsync per run"] = None if few is None else (more - few) / 2
    return result


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--many", type=int, default=10_000)
    parser.add_argument("--other-runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--write", nargs=2, metavar=("NAME", "DIR"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    os.environ |= {"MLFLOW_ALLOW_FILE_STORE": "true", "WANDB_SILENT": "true", "DVC_NO_ANALYTICS": "1"}
    if args.write:
        name, at = args.write
        _, kind, _, store = next(row for row in OTHERS if row[0] == name)
        store = store(at, kind)
        print(write(store, args.other_runs))
        return
    # Outside of any repository, which DVCLive would take for its own.
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        rows = {"metadsl": metadsl(folder, args.runs)}
        for at_work in OTHERS:
            try:
                package = f"{at_work[2]} {version(at_work[2])}"
            except PackageNotFoundError:
                print(f"{at_work[0]} is not installed: pip install {at_work[2]}", file=sys.stderr)
                continue
            rows[f"{at_work[0]} ({package})"] = other(folder, at_work, args.other_runs)
        without, with_, calls, steps = program("train", folder / "trained", args.seconds)
        alone = hit(folder / "hit")
    names = ["fsync per run", "ms per run", "bytes per run"]
    show = lambda x: "-" if x is None else f"{x:,.1f}" if x < 100 else f"{x:,.0f}"
    print("| store | " + " | ".join(names) + " |\n|---|" + "---:|" * len(names))
    for name, row in rows.items():
        print(f"| {name} | " + " | ".join(show(row[n]) for n in names) + " |")
    ours = rows["metadsl"]
    for name, row in list(rows.items())[1:]:
        ratios = [f"{n} x {row[n] / ours[n]:,.1f}" for n in names if row[n] and ours[n]]
        print(f"{name} against metadsl: {', '.join(ratios)}")
    first, later, among = metadsl_many(args.many)
    print(f"a question to {args.many:,} runs: {later:.1f} ms; the first, which builds the index: {first:,.0f} ms")
    print(f"a run that the ledger holds, the whole process: {alone:.1f} ms alone, {among:.1f} ms among {args.many:,} runs")
    print(
        f"{steps:,.0f} steps of MAML, 100 steps a point: {without:,.0f} ms without a ledger, {with_:,.0f} ms with it, "
        f"of which {calls:.1f} ms in calls to it: {100 * calls / with_:.3f} %"
    )


if __name__ == "__main__":
    main()
