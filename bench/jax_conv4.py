"""MAML of a network of four convolutions in JAX. `lax.conv` is slow on a CPU, above all its gradients and where each task has kernels of
its own (0.65 steps/s where this takes 8), so windows are laid side by side and multiplied, and tasks follow one another (`lax.map`)."""

import works  # sets the thread counts, so it comes before jax

import jax
from jax import lax
from jax import numpy as jnp
from jax import random


def block(params, x):
    """Convolution, batch normalisation, ReLU and max-pooling of images [n, h, w, c]."""
    kernel, bias, gain, shift = params
    n, h, w, c = x.shape
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = jnp.concatenate([padded[:, i : i + h, j : j + w] for i in range(3) for j in range(3)], -1)
    y = windows @ kernel + bias
    centred = y - y.mean((0, 1, 2))
    y = centred / jnp.sqrt((centred**2).mean((0, 1, 2)) + 1e-5) * gain + shift
    y = jax.nn.relu(y)[:, : h // 2 * 2, : w // 2 * 2]
    return y.reshape(n, h // 2, 2, w // 2, 2, -1).max((2, 4))


def cross_entropy(params, x, y):
    blocks, (weight, bias) = params
    for one in blocks:
        x = block(one, x)
    logits = x.reshape(len(x), -1) @ weight + bias
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1))


def init(key):
    keys = random.split(key, 6)
    filters, blocks, channels = works.FILTERS, [], 1
    for one in keys[:4]:
        kernel = random.normal(one, (9 * channels, filters)) * (2 / (9 * channels)) ** 0.5
        blocks.append((kernel, jnp.zeros(filters), jnp.ones(filters), jnp.zeros(filters)))
        channels = filters
    params = (blocks, (random.normal(keys[4], (filters, works.WAYS)) / filters**0.5, jnp.zeros(works.WAYS)))
    zeros = jax.tree.map(jnp.zeros_like, params)
    images = random.uniform(keys[5], (works.CLASSES, works.DRAWINGS, works.SIDE, works.SIDE))
    return params, zeros, zeros, jnp.zeros(()), random.key(1), images


def draw(key, images):
    """Support and query of one task: images [n, h, w, 1] and labels [n] each."""
    of_classes, of_drawings = random.split(key)
    shots, all_drawings = works.CONV_SHOTS, works.CONV_SHOTS + works.CONV_QUERIES
    classes = random.choice(of_classes, works.CLASSES, (works.WAYS,), replace=False)
    some = lambda key: random.choice(key, works.DRAWINGS, (all_drawings,), replace=False)
    drawings = jax.vmap(some)(random.split(of_drawings, works.WAYS))
    x = images[classes[:, None], drawings]
    y = jnp.broadcast_to(jnp.arange(works.WAYS)[:, None], drawings.shape)
    part = lambda part: (x[:, part].reshape(-1, works.SIDE, works.SIDE, 1), y[:, part].reshape(-1))
    return part(slice(shots)), part(slice(shots, None))


def step(state, _):
    params, m, v, t, key, images = state
    key, now = random.split(key)
    tasks = jax.vmap(draw, (0, None))(random.split(now, works.CONV_TASKS), images)

    def task_loss(params, task):
        support, query = task
        for _ in range(works.CONV_STEPS):
            grads = jax.grad(cross_entropy)(params, *support)
            params = jax.tree.map(lambda p, g: p - works.CONV_RATE * g, params, grads)
        return cross_entropy(params, *query)

    losses, grads = lax.map(lambda task: jax.value_and_grad(task_loss)(params, task), tasks)
    grads = jax.tree.map(lambda g: g.mean(0), grads)
    t = t + 1
    m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, grads)
    v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, grads)
    c1, c2 = 1 - 0.9**t, 1 - 0.999**t
    params = jax.tree.map(lambda p, m, v: p - works.OUTER_RATE * (m / c1) / (jnp.sqrt(v / c2) + 1e-8), params, m, v)
    return (params, m, v, t, key, images), losses.mean()
