"""Writes layers.json: operations of neural networks, their gradients and second derivatives, by PyTorch in float64.

For every case: the inputs, the output y, the gradient g of s = sum(y * w) by every input, and the gradient of sum(g_i * g_i) over
all inputs, which needs the second derivative. Inputs are drawn once from a fixed seed and rounded to three decimals.

    bench/setup.sh && .venv/bin/python tests/reference/layers.py             # writes the file
"""

import json
from pathlib import Path

import torch
from torch.nn import functional as F

torch.manual_seed(1)
torch.set_default_dtype(torch.float64)


def draw(*shape):
    return torch.round(torch.randn(*shape) * 1000) / 1000


def attention(heads, mask=None):
    def apply(q, k, v):
        split = lambda x: x.reshape(x.shape[0], heads, -1).transpose(0, 1)
        seen = None if mask is None else torch.tensor(mask, dtype=torch.bool).expand(heads, q.shape[0], -1)
        mixed = F.scaled_dot_product_attention(split(q), split(k), split(v), attn_mask=seen)
        return mixed.transpose(0, 1).reshape(q.shape[0], -1)

    return apply


def gru(x, state, weight_ih, weight_hh, bias_ih, bias_hh):
    """The last state of a sequence."""
    cell = torch.nn.GRUCell(x.shape[1], state.shape[0])
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    parameters = dict(zip(names, (weight_ih, weight_hh, bias_ih, bias_hh)))
    for row in x:
        state = torch.func.functional_call(cell, parameters, (row, state))
    return state


CASES = {
    "conv": (lambda x, k: F.conv2d(x[None], k)[0], [(3, 6, 5), (4, 3, 3, 2)]),
    "conv strided": (lambda x, k: F.conv2d(x[None], k, stride=2, padding=1)[0], [(3, 7, 6), (2, 3, 3, 3)]),
    "conv dilated": (lambda x, k: F.conv2d(x[None], k, padding=2, dilation=2)[0], [(2, 6, 6), (3, 2, 3, 3)]),
    "conv groups": (lambda x, k: F.conv2d(x[None], k, groups=2)[0], [(4, 5, 5), (6, 2, 3, 3)]),
    "conv line": (lambda x, k: F.conv1d(x[None], k, stride=2, padding=1)[0], [(2, 9), (3, 2, 3)]),
    "max_pool": (lambda x: F.max_pool2d(x[None], 3, stride=2, padding=1)[0], [(2, 7, 6)]),
    "avg_pool": (lambda x: F.avg_pool2d(x[None], 2)[0], [(2, 6, 5)]),
    "layer_norm": (lambda x: F.layer_norm(x, x.shape[-1:]), [(3, 6)]),
    "group_norm": (lambda x: F.group_norm(x[None], 2)[0], [(4, 3, 2)]),
    "batch_norm": (lambda x: F.batch_norm(x, None, None, training=True), [(5, 3, 2, 2)]),
    "gru": (gru, [(5, 3), (4,), (12, 3), (12, 4), (12,), (12,)]),
    "embed": (lambda t: F.embedding(torch.tensor([2, 0, 2, 3]), t), [(4, 3)]),
    "attention": (attention(2), [(3, 4), (5, 4), (5, 6)]),
    "attention masked": (attention(1, [1, 0, 1, 1, 0]), [(3, 4), (5, 4), (5, 2)]),
}


def nested(x):
    return x.detach().tolist()


def case(apply, shapes):
    inputs = [draw(*shape).requires_grad_() for shape in shapes]
    y = apply(*inputs)
    weights = draw(*y.shape)
    first = torch.autograd.grad((y * weights).sum(), inputs, create_graph=True)
    squares = sum((g * g).sum() for g in first)
    # What is linear in every input has a constant gradient, on which nothing depends.
    if squares.requires_grad:
        second = torch.autograd.grad(squares, inputs, allow_unused=True)
    else:
        second = [None] * len(inputs)
    second = [torch.zeros_like(x) if g is None else g for g, x in zip(second, inputs)]
    return {
        "inputs": [nested(x) for x in inputs],
        "weights": nested(weights),
        "y": nested(y),
        "first": [nested(g) for g in first],
        "second": [nested(g) for g in second],
    }


if __name__ == "__main__":
    values = {name: case(*of) for name, of in CASES.items()}
    path = Path(__file__).parent / "layers.json"
    path.write_text(json.dumps(values, separators=(",", ":")).replace('},"', '},\n"') + "\n")
