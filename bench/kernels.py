"""Times single kernels of the exact executor beside the gemm crate and PyTorch, and prints a table for bench/README.md.

    bench/setup.sh && cargo build --release --manifest-path bench/kernels/Cargo.toml
    .venv/bin/python bench/kernels.py

One thread; PyTorch and metadsl take turns. Matrix products are compared with the gemm crate inside one process.
"""

import json
import os
import statistics
import subprocess
import time
from pathlib import Path

import torch

BINARY = Path(__file__).resolve().parent / "kernels" / "target" / "release" / "metadsl-kernels"
CORE = str(max(os.sched_getaffinity(0)))
MANY = 1 << 20
ROUNDS = 5


def exact(what, **extra):
    done = subprocess.run(["taskset", "-c", CORE, BINARY, what], env=os.environ | extra, capture_output=True, text=True, check=True)
    return {row["work"]: row for row in map(json.loads, done.stdout.splitlines())}


def torch_times():
    torch.set_num_threads(1)
    x, y = torch.rand(MANY) * 2 - 1, torch.rand(MANY)
    rows, out, total = x.reshape(-1, 64), torch.empty(MANY), torch.empty(())
    wide = torch.empty_like(rows)
    works = {
        "exp": lambda: torch.exp(x, out=out),
        "tanh": lambda: torch.tanh(x, out=out),
        "softmax": lambda: torch.softmax(rows, 1, out=wide),
        "add": lambda: torch.add(x, y, out=out),
        "relu": lambda: torch.clamp_min(x, 0.0, out=out),
        "sum": lambda: torch.sum(x, 0, out=total),
    }
    images, seen = torch.rand(32, 64, 14, 14, requires_grad=True), torch.rand(32, 64, 14, 14)
    conv = torch.nn.Conv2d(64, 64, 3, padding=1)
    parameters = [images, conv.weight, conv.bias]

    def forward():
        with torch.no_grad():
            conv(images)

    works = {f"{name} of 1 M": work for name, work in works.items()}
    works |= {"conv": forward, "conv with gradients": lambda: torch.autograd.grad(conv(images), parameters, seen)}
    times = {}
    for name, work in works.items():
        for _ in range(10):
            work()
        spans = []
        for _ in range(15):
            start = time.perf_counter()
            for _ in range(10):
                work()
            spans.append((time.perf_counter() - start) / 10)
        times[name] = 1e6 * statistics.median(spans)
    return times


def main():
    os.sched_setaffinity(0, {int(CORE)})
    print("| product | exact, GFLOP/s | gemm 0.19, GFLOP/s | ratio | exact on AVX2 | gemm / AVX2 ratio |\n|---|---:|---:|---:|---:|---:|")
    wide, narrow = exact("products"), exact("products", METADSL_CPU="avx2")
    for work, row in wide.items():
        other = narrow[work]
        print(f"| {work} | {row['exact']} | {row['gemm']} | {row['exact'] / row['gemm']:.2f} | {other['exact']} | {other['exact'] / other['gemm']:.2f} |")
    rounds = [(exact("elementwise") | exact("convolutions"), torch_times()) for _ in range(ROUNDS)]
    print("\n| work | exact, us | PyTorch, us | how many times faster |\n|---|---:|---:|---:|")
    for work in rounds[0][0]:
        ours = statistics.median(r[0][work]["exact"] for r in rounds)
        theirs = statistics.median(r[1][work] for r in rounds)
        print(f"| {work} | {ours:.0f} | {theirs:.0f} | {theirs / ours:.2f} |")


if __name__ == "__main__":
    main()
