"""The workloads in JAX as one would write them for speed: the whole step under `jit`, `lax.scan` over chunks of steps."""

import time
from functools import partial

import works  # sets the thread counts, so it comes before jax

import jax_conv4
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


def linear_init(dim, rank, key):
    key_truth, key_body = random.split(key)
    truth = jnp.linalg.qr(random.normal(key_truth, (dim, rank)))[0]
    body = jnp.linalg.qr(random.normal(key_body, (dim, rank)))[0] / works.ALPHA**0.5
    return truth, body, jnp.zeros(rank), random.key(1)


def risk(body, head, target):
    """The population loss of a linear model."""
    return 0.5 * jnp.sum((body @ head - target) ** 2)


def linear_step(adapt_body, state, _):
    truth, body, head, key = state
    key, now = random.split(key)
    targets = random.normal(now, (works.LINEAR_TASKS, head.size)) @ truth.T

    def task_loss(body, head, target):
        if adapt_body:
            g_body, g_head = jax.grad(risk, (0, 1))(body, head, target)
            return risk(body - works.ALPHA * g_body, head - works.ALPHA * g_head, target)
        return risk(body, head - works.ALPHA * jax.grad(risk, 1)(body, head, target), target)

    def outer(body, head):
        return jnp.mean(jax.vmap(task_loss, (None, None, 0))(body, head, targets))

    loss, (g_body, g_head) = jax.value_and_grad(outer, (0, 1))(body, head)
    return (truth, body - works.BETA * g_body, head - works.BETA * g_head, key), loss


def samples_step(state, _):
    truth, body, head, key = state
    key, key_head, key_x, key_noise = random.split(key, 4)
    heads = random.normal(key_head, (works.LINEAR_TASKS, works.RANK))
    x = random.normal(key_x, (works.LINEAR_TASKS, 2 * works.SAMPLES, works.DIM))
    noise = works.NOISE * random.normal(key_noise, (works.LINEAR_TASKS, 2 * works.SAMPLES))
    y = jnp.einsum("tnd,dk,tk->tn", x, truth, heads) + noise

    def half_squared(params, x, y):
        body, head = params
        return 0.5 * jnp.mean((x @ body @ head - y) ** 2)

    def task_loss(params, x, y):
        grads = jax.grad(half_squared)(params, x[: works.SAMPLES], y[: works.SAMPLES])
        adapted = jax.tree.map(lambda p, g: p - works.ALPHA * g, params, grads)
        return half_squared(adapted, x[works.SAMPLES :], y[works.SAMPLES :])

    def outer(params):
        return jnp.mean(jax.vmap(task_loss, (None, 0, 0))(params, x, y))

    loss, (g_body, g_head) = jax.value_and_grad(outer)((body, head))
    return (truth, body - works.SAMPLES_BETA * g_body, head - works.SAMPLES_BETA * g_head, key), loss


def fedrep_init(key):
    keys = random.split(key, 5)
    shape = (works.FEDREP_CLIENTS, works.FEDREP_EXAMPLES)
    truth = jnp.linalg.qr(random.normal(keys[0], (works.DIM, works.FEDREP_RANK)))[0]
    heads = random.normal(keys[1], (works.FEDREP_CLIENTS, works.FEDREP_RANK))
    heads = heads / jnp.linalg.norm(heads, axis=1, keepdims=True)
    xs = random.normal(keys[2], (*shape, works.DIM)) / works.FEDREP_EXAMPLES**0.5
    noise = works.FEDREP_NOISE * random.normal(keys[3], shape) / works.FEDREP_EXAMPLES**0.5
    body = jnp.linalg.qr(random.normal(keys[4], (works.DIM, works.FEDREP_RANK)))[0]
    return xs, jnp.einsum("cmd,dk,ck->cm", xs, truth, heads) + noise, body


def fedrep_step(state, _):
    xs, ys, body = state

    def client(x, y):
        """The body after one step at the best head."""
        features = x @ body
        head = jax.scipy.linalg.solve(features.T @ features, features.T @ y, assume_a="pos")
        rest = features @ head - y
        return body - jnp.outer(x.T @ rest, head), 0.5 * jnp.sum(rest**2)

    bodies, losses = jax.vmap(client)(xs, ys)
    return (xs, ys, jnp.mean(bodies, 0)), jnp.mean(losses)


def fedavg_init(key):
    key_heads, key = random.split(key)
    truth, body, head, _ = linear_init(works.DIM, works.RANK, key)
    return random.normal(key_heads, (works.FEDAVG_CLIENTS, works.RANK)) @ truth.T, body, head


def fedavg_step(state, _):
    targets, body, head = state

    def client(target):
        def local(params, _):
            loss, grads = jax.value_and_grad(lambda p: risk(*p, target))(params)
            return jax.tree.map(lambda p, g: p - works.LOCAL_RATE * g, params, grads), loss

        return lax.scan(local, (body, head), length=works.LOCAL_STEPS, unroll=True)

    (bodies, heads), losses = jax.vmap(client)(targets)
    return (targets, jnp.mean(bodies, 0), jnp.mean(heads, 0)), jnp.mean(losses)


def program(work):
    """The state before the first step, and the step."""
    key = random.key(0)
    match work["family"]:
        case "sine":
            return sine_init(work["hidden"], key), partial(sine_step, work["exact"])
        case "linear":
            state = linear_init(work.get("dim", works.DIM), work.get("rank", works.RANK), key)
            return state, partial(linear_step, work["adapt_body"])
        case "samples":
            return linear_init(works.DIM, works.RANK, key), samples_step
        case "fedrep":
            return fedrep_init(key), fedrep_step
        case "fedavg":
            return fedavg_init(key), fedavg_step
        case "conv":
            return jax_conv4.init(key), jax_conv4.step


def measure(work, steps):
    jax.config.update("jax_enable_x64", work.get("x64", False))
    state, step = program(work)

    length = work.get("chunk", CHUNK)
    chunk = jax.jit(lambda state: lax.scan(step, state, length=length))
    start = time.perf_counter()
    compiled = chunk.lower(state).compile()
    compile_seconds = time.perf_counter() - start
    state, loss = jax.block_until_ready(compiled(state))  # touches every buffer once before the clock starts

    if steps % length:
        raise SystemExit(f"--steps must be a multiple of {length}")
    start = time.process_time()
    for _ in range(steps // length):
        state, loss = compiled(state)
    jax.block_until_ready((state, loss))
    return compile_seconds, time.process_time() - start, float(loss[-1])


if __name__ == "__main__":
    works.main("jax", measure)
