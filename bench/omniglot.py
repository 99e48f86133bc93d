"""MAML on Omniglot in PyTorch, as `experiments/omniglot/five_way.meta` says it: the same drawings, split, network and rates.

    pip install torch numpy pillow
    python bench/omniglot.py --seeds 3

Prints the accuracy on characters that training did not see, by seed, with the half-width of its 95 % confidence interval over episodes.
"""

import argparse
import io
import math
import zipfile
from pathlib import Path

import numpy
import torch
import torch.nn.functional as F
from PIL import Image

DATA = Path(__file__).parent.parent / "experiments/data/omniglot"
SIDE, FILTERS, WAYS, QUERIES = 28, 32, 5, 5
KNOWN, NOVEL = range(0, 171), range(171, 242)
TASKS, INNER_RATE, OUTER_RATE, TEST_STEPS = 4, 0.4, 0.001, 3


def shares(length, size):
    """`[size, length]`: how much of each old place a new one covers, in units of `1 / size`."""
    new, old = numpy.arange(size)[:, None], numpy.arange(length)[None, :]
    covered = numpy.minimum((old + 1) * size, (new + 1) * length) - numpy.maximum(old * size, new * length)
    return numpy.maximum(covered, 0)


def drawings():
    """`[characters, drawings, 1, SIDE, SIDE]` with ink 1 and paper 0, in the order of alphabets, characters and file names."""
    found = {}
    for archive in sorted(DATA.glob("*.zip")):
        with zipfile.ZipFile(archive) as files:
            for name in files.namelist():
                if name.endswith(".png"):
                    _, alphabet, character, drawing = name.split("/")
                    pixels = numpy.array(Image.open(io.BytesIO(files.read(name))).convert("L"), dtype=numpy.int64)
                    rows, columns = shares(pixels.shape[0], SIDE), shares(pixels.shape[1], SIDE)
                    area = pixels.size
                    small = (rows @ pixels @ columns.T + area // 2) // area
                    found.setdefault((alphabet, character), {})[drawing] = 255 - small
    characters = [[of[name] for name in sorted(of)] for _, of in sorted(found.items())]
    return torch.tensor(numpy.array(characters), dtype=torch.float32).unsqueeze(2) / 255


def initial(generator):
    """Four blocks of convolution, gain and shift, and a head."""
    def normal(dims, fan_in, gain):
        return torch.randn(dims, generator=generator) * math.sqrt(gain / fan_in)

    params = []
    for channels in (1, FILTERS, FILTERS, FILTERS):
        kernel = normal((FILTERS, channels, 3, 3), channels * 9, 2)
        params += [kernel, torch.zeros(FILTERS), torch.ones(FILTERS), torch.zeros(FILTERS)]
    params += [normal((WAYS, FILTERS), FILTERS, 1), torch.zeros(WAYS)]
    return [p.requires_grad_() for p in params]


def predict(params, x):
    for i in range(0, 16, 4):
        kernel, bias, gain, shift = params[i : i + 4]
        x = F.batch_norm(F.conv2d(x, kernel, bias, padding=1), None, None, gain, shift, training=True)
        x = F.max_pool2d(F.relu(x), 2)
    return F.linear(x.flatten(1), params[16], params[17])


def episode(images, classes, shots, generator):
    """The support and query examples of `WAYS` characters, numbered in the order of the draw."""
    chosen = torch.randperm(len(classes), generator=generator)[:WAYS]
    taken = [images[classes[c], torch.randperm(images.shape[1], generator=generator)[: shots + QUERIES]] for c in chosen]
    support, query = torch.cat([t[:shots] for t in taken]), torch.cat([t[shots:] for t in taken])
    return support, torch.arange(WAYS).repeat_interleave(shots), query, torch.arange(WAYS).repeat_interleave(QUERIES)


def adapted(params, x, y, steps, exact):
    for _ in range(steps):
        grads = torch.autograd.grad(F.cross_entropy(predict(params, x), y), params, create_graph=exact)
        params = [p - INNER_RATE * g for p, g in zip(params, grads)]
    return params


def run(images, seed, shots, steps, episodes):
    generator = torch.Generator().manual_seed(seed)
    params = initial(generator)
    optimiser = torch.optim.Adam(params, lr=OUTER_RATE)
    for _ in range(steps):
        optimiser.zero_grad()
        for _ in range(TASKS):
            x, y, query, targets = episode(images, KNOWN, shots, generator)
            loss = F.cross_entropy(predict(adapted(params, x, y, 1, exact=True), query), targets)
            (loss / TASKS).backward()
        optimiser.step()
    accuracies = []
    for _ in range(episodes):
        x, y, query, targets = episode(images, NOVEL, shots, generator)
        found = predict(adapted(params, x, y, TEST_STEPS, exact=False), query).argmax(1)
        accuracies.append((found == targets).double().mean().item())
    return numpy.mean(accuracies), 1.96 * numpy.std(accuracies) / math.sqrt(episodes)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--shots", type=int, default=1)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--episodes", type=int, default=600)
    args = parser.parse_args()
    torch.set_num_threads(1)
    images = drawings()
    assert images.shape == (len(KNOWN) + len(NOVEL), 20, 1, SIDE, SIDE), images.shape
    print(f"PyTorch {torch.__version__}, {args.shots} shots, {args.steps} steps, {args.episodes} episodes; ink {images.mean():.6f}")
    means = []
    for seed in range(args.first, args.first + args.seeds):
        mean, half = run(images, seed, args.shots, args.steps, args.episodes)
        means.append(mean)
        print(f"seed {seed}: {mean:.4f} ± {half:.4f}", flush=True)
    print(f"mean {numpy.mean(means):.4f}, between seeds ± {1.96 * numpy.std(means, ddof=1) / math.sqrt(args.seeds):.4f}")


if __name__ == "__main__":
    main()
