"""MAML on sinusoids in the meta-learning libraries of PyTorch, written as their own examples are: tasks in a loop, one inner step, Adam.
`LIBRARY` names the one: `higher` or `torchopt`."""

import os
import time

import works  # sets the thread counts, so it comes before torch

import torch
from torch import nn
from torch.nn.functional import mse_loss

from torch_bench import draw_sines

LIBRARY = os.environ["LIBRARY"]
WARM_UP = 5


def adapted_higher(model):
    import higher

    inner = torch.optim.SGD(model.parameters(), lr=works.INNER_RATE)

    def loss(x, y):
        with higher.innerloop_ctx(model, inner, copy_initial_weights=False) as (task_model, task_inner):
            task_inner.step(mse_loss(task_model(x[: works.SHOTS]), y[: works.SHOTS]))
            return mse_loss(task_model(x[works.SHOTS :]), y[works.SHOTS :])

    return loss


def adapted_torchopt(model):
    import torchopt

    inner = torchopt.MetaSGD(model, lr=works.INNER_RATE)

    def loss(x, y):
        before = torchopt.extract_state_dict(model, by="reference")
        inner_before = torchopt.extract_state_dict(inner, by="reference")
        inner.step(mse_loss(model(x[: works.SHOTS]), y[: works.SHOTS]))
        after = mse_loss(model(x[works.SHOTS :]), y[works.SHOTS :])
        torchopt.recover_state_dict(model, before)
        torchopt.recover_state_dict(inner, inner_before)
        return after

    return loss


def measure(work, steps):
    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    torch.manual_seed(0)
    hidden = work["hidden"]
    model = nn.Sequential(nn.Linear(1, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1))
    task_loss = {"higher": adapted_higher, "torchopt": adapted_torchopt}[LIBRARY](model)
    optimiser = torch.optim.Adam(model.parameters(), lr=works.OUTER_RATE, fused=True)

    def run(count):
        for _ in range(count):
            x, y = draw_sines()
            optimiser.zero_grad()
            loss = sum(task_loss(x, y) for x, y in zip(x[..., None], y[..., None])) / works.TASKS
            loss.backward()
            optimiser.step()
        return float(loss.detach())

    start = time.perf_counter()
    run(WARM_UP)
    compile_seconds = time.perf_counter() - start
    start = time.process_time()
    loss = run(steps)
    return compile_seconds, time.process_time() - start, loss


if __name__ == "__main__":
    works.main(LIBRARY, measure)
