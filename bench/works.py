"""The workloads that every engine runs, and the shared command line of the engines' scripts."""

import argparse
import json
import os

# One thread: the comparison is of the work per core. Set before JAX or PyTorch is imported.
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

# `steps` is how many outer steps one timing takes, by engine: about two seconds on a core of 2023. An engine that is not listed has
# no script for the workload.
WORKS = {
    "maml_sine_h40": {"family": "sine", "hidden": 40, "exact": True, "steps": {"jax": 5000, "torch": 600, "torch.compile": 4000, "higher": 100, "torchopt": 100}},
    "maml_sine_h256": {"family": "sine", "hidden": 256, "exact": True, "steps": {"jax": 300, "torch": 100, "torch.compile": 200}},
    "maml_sine_fo_h40": {"family": "sine", "hidden": 40, "exact": False, "steps": {"jax": 10_000, "torch": 1000, "torch.compile": 6000}},
    "linear_maml": {"family": "linear", "adapt_body": True, "steps": {"jax": 200_000, "torch": 2000, "torch.compile": 20_000}},
    "linear_anil": {"family": "linear", "adapt_body": False, "steps": {"jax": 200_000, "torch": 2000, "torch.compile": 20_000}},
    "linear_maml_d100": {"family": "linear", "adapt_body": True, "dim": 100, "rank": 5, "steps": {"jax": 100_000}},
    "linear_maml_samples": {"family": "samples", "steps": {"jax": 20_000}},
    "fedrep_linear": {"family": "fedrep", "x64": True, "steps": {"jax": 50_000}},
    "fedavg_linear": {"family": "fedavg", "x64": True, "steps": {"jax": 50_000}},
    "conv4": {"family": "conv", "chunk": 10, "steps": {"jax": 20}},
}

# Sinusoid regression (Finn et al. 2017): 25 tasks a step, 10 support and 10 query examples, one inner step, Adam outside.
TASKS, SHOTS, INNER_RATE, OUTER_RATE = 25, 10, 0.01, 1e-3
# Linear representation (Collins et al. 2022), population losses: d, k, fresh tasks a step, inner and outer rate.
DIM, RANK, LINEAR_TASKS, ALPHA, BETA = 20, 3, 10, 0.1, 0.3
# The same from samples: support and query examples, their noise, outer rate.
SAMPLES, NOISE, SAMPLES_BETA = 20, 0.1, 0.1
# FedRep (Collins et al. 2021): clients, their examples, rank, noise. FedAvg (Collins et al. 2022): clients, local steps, their rate.
FEDREP_CLIENTS, FEDREP_EXAMPLES, FEDREP_RANK, FEDREP_NOISE = 100, 10, 2, 1e-3
FEDAVG_CLIENTS, LOCAL_STEPS, LOCAL_RATE = 40, 5, 0.1
# Four convolutions (Finn et al. 2017, section 5.2) on images of noise: ways, filters, classes and drawings of each, side of an image;
# tasks a step, support and query examples of a class, inner steps and rate.
WAYS, FILTERS, CLASSES, DRAWINGS, SIDE = 5, 32, 50, 20, 28
CONV_TASKS, CONV_SHOTS, CONV_QUERIES, CONV_STEPS, CONV_RATE = 4, 1, 5, 5, 0.4


def main(engine, measure):
    """Parses the command line and prints one line of JSON; `measure(work, steps)` returns (compile s, run s, last loss)."""
    parser = argparse.ArgumentParser(description=f"Time one workload in {engine}.")
    parser.add_argument("--work", choices=WORKS, required=True)
    parser.add_argument("--steps", type=int, help="outer steps to time")
    args = parser.parse_args()
    work = WORKS[args.work]
    steps = args.steps or work["steps"][engine]
    compile_seconds, seconds, loss = measure(work, steps)
    row = {"engine": engine, "work": args.work, "steps": steps, "seconds": seconds}
    row |= {"steps_per_second": steps / seconds, "compile_seconds": compile_seconds, "last_loss": loss}
    print(json.dumps(row))
