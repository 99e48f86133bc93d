"""The workloads in JAX as one would write them for speed: the whole step under `jit`, `lax.scan` over chunks of steps."""

import time
from functools import partial

import works  # sets the thread counts, so it comes before jax

import jax
from jax import lax
from jax import numpy as jnp
from jax import random

CHUNK = 100


def mlp(params, x):
    """MLP 1-h-h-1 with ReLU on a batch of scalars."""
    w1, b1, w2, b2, w3, b3 = params
    z1 = jax.nn.relu(x[:, None] * w1 + b1)
    return jax.nn.relu(z1 @ w2 + b2) @ w3 + b3


def squared(params, x, y):
    return jnp.mean((mlp(params, x) - y) ** 2)


def draw_sines(key):
    """Support and query sets of TASKS sinusoids: x and y of shape [TASKS, 2 SHOTS]."""
    key_a, key_p, key_x = random.split(key, 3)
    amplitude = random.uniform(key_a, (works.TASKS, 1), minval=0.1, maxval=5.0)
    phase = random.uniform(key_p, (works.TASKS, 1), maxval=jnp.pi)
    x = random.uniform(key_x, (works.TASKS, 2 * works.SHOTS), minval=-5.0, maxval=5.0)
    return x, amplitude * jnp.sin(x + phase)


def sine_init(hidden, key):
    keys = random.split(key, 6)
    shapes = [((hidden,), 1), ((hidden,), 1), ((hidden, hidden), hidden), ((hidden,), hidden), ((hidden,), hidden), ((), hidden)]
    params = [random.uniform(k, s, minval=-1, maxval=1) / fan_in**0.5 for k, (s, fan_in) in zip(keys, shapes)]
    zeros = jax.tree.map(jnp.zeros_like, params)
    return params, zeros, zeros, jnp.zeros(()), random.key(1)


def sine_step(exact, state, _):
    params, m, v, t, key = state
    key, now = random.split(key)
    x, y = draw_sines(now)

    def task_loss(params, x, y):
        grads = jax.grad(squared)(params, x[: works.SHOTS], y[: works.SHOTS])
        if not exact:
            grads = lax.stop_gradient(grads)
        adapted = jax.tree.map(lambda p, g: p - works.INNER_RATE * g, params, grads)
        return squared(adapted, x[works.SHOTS :], y[works.SHOTS :])

    def outer(params):
        return jnp.mean(jax.vmap(task_loss, (None, 0, 0))(params, x, y))

    loss, grads = jax.value_and_grad(outer)(params)
    t = t + 1
    m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, grads)
    v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, grads)
    c1, c2 = 1 - 0.9**t, 1 - 0.999**t
    params = jax.tree.map(lambda p, m, v: p - works.OUTER_RATE * (m / c1) / (jnp.sqrt(v / c2) + 1e-8), params, m, v)
    return (params, m, v, t, key), loss


def linear_init(key):
    key_truth, key_body = random.split(key)
    truth = jnp.linalg.qr(random.normal(key_truth, (works.DIM, works.RANK)))[0]
    body = jnp.linalg.qr(random.normal(key_body, (works.DIM, works.RANK)))[0] / works.ALPHA**0.5
    return truth, body, jnp.zeros(works.RANK), random.key(1)


def linear_step(adapt_body, state, _):
    truth, body, head, key = state
    key, now = random.split(key)
    targets = random.normal(now, (works.LINEAR_TASKS, works.RANK)) @ truth.T

    def risk(body, head, target):
        return 0.5 * jnp.sum((body @ head - target) ** 2)

    def task_loss(body, head, target):
        if adapt_body:
            g_body, g_head = jax.grad(risk, (0, 1))(body, head, target)
            return risk(body - works.ALPHA * g_body, head - works.ALPHA * g_head, target)
        return risk(body, head - works.ALPHA * jax.grad(risk, 1)(body, head, target), target)

    def outer(body, head):
        return jnp.mean(jax.vmap(task_loss, (None, None, 0))(body, head, targets))

    loss, (g_body, g_head) = jax.value_and_grad(outer, (0, 1))(body, head)
    return (truth, body - works.BETA * g_body, head - works.BETA * g_head, key), loss


def measure(work, steps):
    if work["family"] == "sine":
        state, step = sine_init(work["hidden"], random.key(0)), partial(sine_step, work["exact"])
    else:
        state, step = linear_init(random.key(0)), partial(linear_step, work["adapt_body"])

    chunk = jax.jit(lambda state: lax.scan(step, state, length=CHUNK))
    start = time.perf_counter()
    compiled = chunk.lower(state).compile()
    compile_seconds = time.perf_counter() - start
    state, loss = jax.block_until_ready(compiled(state))  # touches every buffer once before the clock starts

    if steps % CHUNK:
        raise SystemExit(f"--steps must be a multiple of {CHUNK}")
    start = time.perf_counter()
    for _ in range(steps // CHUNK):
        state, loss = compiled(state)
    jax.block_until_ready((state, loss))
    return compile_seconds, time.perf_counter() - start, float(loss[-1])


if __name__ == "__main__":
    works.main("jax", measure)
