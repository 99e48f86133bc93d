#!/bin/sh
# Makes .venv at the root of the repository with the engines that bench/run.py compares against. CPU only: the benchmarks
# never touch a GPU, but PyTorch's wheel on PyPI for x86-64 Linux brings its CUDA libraries along (some 6 GB).
set -eu
cd "$(dirname "$0")/.."
python3 -m venv .venv
.venv/bin/pip install --quiet numpy==2.4.6 jax==0.10.2 jaxlib==0.10.2 torch==2.15.0 higher==0.2.1 torchopt==0.7.3
.venv/bin/python -c 'import jax, numpy, torch; print("jax", jax.__version__, "torch", torch.__version__, "numpy", numpy.__version__)'
