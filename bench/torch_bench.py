"""The workloads in PyTorch: `torch.func` grad and vmap, eager, or with `TORCH_COMPILE=1` the meta-gradient under `torch.compile`."""

import os
import time

import works  # sets the thread counts, so it comes before torch

import torch
from torch.func import grad, grad_and_value, vmap

COMPILE = os.environ.get("TORCH_COMPILE") == "1"
WARM_UP = 5


def mlp(params, x):
    """MLP 1-h-h-1 with ReLU on a batch of scalars."""
    w1, b1, w2, b2, w3, b3 = params
    z1 = torch.relu(x[:, None] * w1 + b1)
    return torch.relu(z1 @ w2 + b2) @ w3 + b3


def squared(params, x, y):
    return ((mlp(params, x) - y) ** 2).mean()


def draw_sines():
    """Support and query sets of TASKS sinusoids: x and y of shape [TASKS, 2 SHOTS]."""
    amplitude = 0.1 + 4.9 * torch.rand(works.TASKS, 1)
    phase = torch.pi * torch.rand(works.TASKS, 1)
    x = 10 * torch.rand(works.TASKS, 2 * works.SHOTS) - 5
    return x, amplitude * torch.sin(x + phase)


def sine(hidden, exact):
    """The parameters, the optimiser and the function (params, tasks) -> (meta-gradient, loss)."""
    shapes = [((hidden,), 1), ((hidden,), 1), ((hidden, hidden), hidden), ((hidden,), hidden), ((hidden,), hidden), ((), hidden)]
    params = tuple((2 * torch.rand(s) - 1) / fan_in**0.5 for s, fan_in in shapes)

    def task_loss(params, x, y):
        grads = grad(squared)(params, x[: works.SHOTS], y[: works.SHOTS])
        if not exact:
            grads = [g.detach() for g in grads]
        adapted = tuple(p - works.INNER_RATE * g for p, g in zip(params, grads))
        return squared(adapted, x[works.SHOTS :], y[works.SHOTS :])

    def outer(params, x, y):
        return vmap(task_loss, (None, 0, 0))(params, x, y).mean()

    # The fused Adam is PyTorch's fastest on a CPU.
    return params, torch.optim.Adam(params, lr=works.OUTER_RATE, fused=True), grad_and_value(outer), draw_sines


def linear(adapt_body):
    truth = torch.linalg.qr(torch.randn(works.DIM, works.RANK))[0]
    body = torch.linalg.qr(torch.randn(works.DIM, works.RANK))[0] / works.ALPHA**0.5
    params = (body, torch.zeros(works.RANK))

    def risk(params, target):
        return 0.5 * ((params[0] @ params[1] - target) ** 2).sum()

    def task_loss(params, target):
        if adapt_body:
            grads = grad(risk)(params, target)
            return risk(tuple(p - works.ALPHA * g for p, g in zip(params, grads)), target)
        body, head = params
        return risk((body, head - works.ALPHA * grad(lambda w: risk((body, w), target))(head)), target)

    def outer(params, targets):
        return vmap(task_loss, (None, 0))(params, targets).mean()

    def draw():
        return (torch.randn(works.LINEAR_TASKS, works.RANK) @ truth.T,)

    return params, torch.optim.SGD(params, lr=works.BETA, foreach=True), grad_and_value(outer), draw


def measure(work, steps):
    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    torch.manual_seed(0)
    if work["family"] == "sine":
        params, optimiser, meta_gradient, draw = sine(work["hidden"], work["exact"])
    else:
        params, optimiser, meta_gradient, draw = linear(work["adapt_body"])
    if COMPILE:
        meta_gradient = torch.compile(meta_gradient, fullgraph=True)

    def run(count):
        for _ in range(count):
            grads, loss = meta_gradient(params, *draw())
            for p, g in zip(params, grads):
                p.grad = g
            optimiser.step()
        return float(loss)

    start = time.perf_counter()
    run(WARM_UP)
    compile_seconds = time.perf_counter() - start
    start = time.process_time()
    loss = run(steps)
    return compile_seconds, time.process_time() - start, loss


if __name__ == "__main__":
    works.main("torch.compile" if COMPILE else "torch", measure)
