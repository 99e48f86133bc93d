"""Times the workloads in every engine, turn by turn, and writes the medians into bench/README.md.

    cargo build --release && bench/setup.sh
    .venv/bin/python bench/run.py                     # all workloads, five rounds
    .venv/bin/python bench/run.py --work linear_anil --rounds 3 --print-only

The engines take turns (A B C A B C ...), so that a slow minute of the machine falls on all of them, each alone on one core.
Compilation and start-up are left out on every side: JAX and PyTorch are timed inside their process after a warm-up, metadsl
by the difference between two runs of the same file that differ only in `train.steps`. What is counted is the processor time of
the one process and core, which on a quiet machine is the time that passes, and on a busy one leaves out what others did.
"""

import argparse
import datetime
import json
import os
import platform
import random
import resource
import statistics
import struct
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from works import CLASSES, DRAWINGS, SIDE, WORKS

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BINARY = ROOT / "target" / "release" / "metadsl"
README = HERE / "README.md"
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
ENGINES = {  # name -> (script, extra environment)
    "jax": ("jax_bench.py", {}),
    "torch.compile": ("torch_bench.py", {"TORCH_COMPILE": "1"}),
    "torch": ("torch_bench.py", {}),
    "higher": ("library_bench.py", {"LIBRARY": "higher"}),
    "torchopt": ("library_bench.py", {"LIBRARY": "torchopt"}),
}
ENOUGH_SECONDS = 2.0


def pinned(core, command, **extra):
    """Runs a command on one core with one thread; returns its standard output, or stops with its error."""
    env = os.environ | {"RAYON_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"} | extra
    done = subprocess.run(["taskset", "-c", str(core), *map(str, command)], env=env, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\nended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout


def children_seconds():
    """The processor time of all processes that this one has started and waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def metadsl_seconds(work, steps, core):
    """Processor time of one run in an empty ledger, so that nothing is taken from the cache."""
    with tempfile.TemporaryDirectory() as ledger:
        command = [BINARY, "run", HERE / f"{work}.meta", "--ledger", ledger, "--json", "--set", f"train.steps={steps}"]
        start = children_seconds()
        pinned(core, command)
        return children_seconds() - start


def metadsl_step_counts(work, core):
    """Two step counts far enough apart for the clock: the longer run takes ENOUGH_SECONDS more than a run of 1 step."""
    base, steps = metadsl_seconds(work, 1, core), 20
    while metadsl_seconds(work, steps, core) - base < ENOUGH_SECONDS:
        steps *= 4
    return max(1, steps // 10), steps


def metadsl_steps_per_second(work, counts, core):
    few, many = counts
    seconds = metadsl_seconds(work, many, core) - metadsl_seconds(work, few, core)
    return (many - few) / seconds


def make_images():
    """Images of noise for `conv4`, in the format of MNIST: the same bytes each time."""
    folder, some = HERE / "data", random.Random(0)
    folder.mkdir(exist_ok=True)
    count = CLASSES * DRAWINGS
    header = struct.pack(">BBBBIII", 0, 0, 8, 3, count, SIDE, SIDE)
    (folder / "noise-images.idx").write_bytes(header + some.randbytes(count * SIDE * SIDE))
    labels = bytes(i // DRAWINGS for i in range(count))
    (folder / "noise-labels.idx").write_bytes(struct.pack(">BBBBI", 0, 0, 8, 1, count) + labels)


def engine_steps_per_second(engine, work, core):
    script, extra = ENGINES[engine]
    row = json.loads(pinned(core, [sys.executable, HERE / script, "--work", work], **extra).splitlines()[-1])
    return row["steps_per_second"]


def measure(works, engines, rounds, core):
    """{work: {engine: [steps per second of each round]}}"""
    if "metadsl" in engines and "conv4" in works:
        make_images()
    counts = {work: metadsl_step_counts(work, core) for work in works if "metadsl" in engines}
    rates = {work: {engine: [] for engine in engines} for work in works}
    for turn in range(rounds):
        for work in works:
            for engine in engines:
                if engine not in ("metadsl", *WORKS[work]["steps"]):
                    continue
                if engine == "metadsl":
                    rate = metadsl_steps_per_second(work, counts[work], core)
                else:
                    rate = engine_steps_per_second(engine, work, core)
                rates[work][engine].append(rate)
                print(f"round {turn + 1}  {work:18} {engine:14} {number(rate):>12} steps/s", file=sys.stderr)
    return rates


def cell(rates, engine):
    """Median, and in brackets how far the rounds lie apart; a dash where the engine has no script for the workload."""
    if not rates[engine]:
        return "–"
    middle = statistics.median(rates[engine])
    spread = 100 * (max(rates[engine]) - min(rates[engine])) / middle
    return f"{number(middle)} (±{spread / 2:.0f} %)"


def number(rate):
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}"


def table(rates, engines):
    """Markdown: steps per second of every engine, and in bold how many times as many metadsl makes."""
    lines = ["| workload | " + " | ".join(engines) + " |", "|---|" + "---:|" * len(engines)]
    for work, row in rates.items():
        middle = {e: statistics.median(row[e]) for e in engines if row[e]}

        def full(engine):
            compared = engine != "metadsl" and {engine, "metadsl"} <= middle.keys()
            return cell(row, engine) + (f" **{middle['metadsl'] / middle[engine]:.2f}**" if compared else "")

        lines.append("| " + " | ".join([work, *map(full, engines)]) + " |")
    return "\n".join(lines)


def cpu_model():
    """The name that Linux gives the processor, with the widest vector extension that it lists."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = dict(part for line in lines if len(part := [p.strip() for p in line.split(":", 1)]) == 2)
    flags = facts.get("flags", "").split()
    widest = next((f for f in ("amx_tile", "avx512f", "avx2") if f in flags), "")
    # Virtual machines often hide the marketing name; family and model still tell the generation.
    family = f"family {facts.get('cpu family', '?')}, model {facts.get('model', '?')}"
    return f"{facts.get('model name', platform.machine())} ({family}{', ' + widest if widest else ''})"


def machine(rounds):
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    packages = ", ".join(f"{name} {version(name)}" for name in ("jax", "torch", "numpy"))
    return (
        f"{cpu_model()}, {os.cpu_count()} cores of which one is used; {platform.system()} {platform.machine()}; "
        f"Python {platform.python_version()}, {packages}; metadsl at {commit}; "
        f"{datetime.date.today()}; median of {rounds} rounds, ± half the range."
    )


def write(text):
    """Replaces what stands between the markers of bench/README.md."""
    before, rest = README.read_text().split(BEGIN)
    _, after = rest.split(END)
    README.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


def main():
    parser = argparse.ArgumentParser(description="Compare metadsl with JAX and PyTorch, one core each.")
    parser.add_argument("--work", action="append", choices=WORKS, help="only these workloads (may be repeated)")
    parser.add_argument("--engine", action="append", choices=["metadsl", *ENGINES], help="only these engines")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)), help="the core to run on")
    parser.add_argument("--print-only", action="store_true", help="leave bench/README.md as it is")
    args = parser.parse_args()
    engines = args.engine or ["metadsl", *ENGINES]
    if "metadsl" in engines and not BINARY.exists():
        sys.exit("target/release/metadsl is missing: run `cargo build --release`, or name other engines with --engine")
    rates = measure(args.work or list(WORKS), engines, args.rounds, args.core)
    text = f"{machine(args.rounds)}\n\n{table(rates, engines)}"
    print(text)
    if not args.print_only:
        write(text)


if __name__ == "__main__":
    main()
