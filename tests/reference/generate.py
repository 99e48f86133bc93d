"""Writes the reference values in this folder: small problems whose answers are derived by hand.

Every answer comes from a formula written out in numpy float64, none of which shares code with the Rust side, and a second
derivation must agree to 1e-12 before anything is written: `jax.grad` in float64 for gradients and local steps, bisection for the
simplex, `torch.optim` for the optimisers. Inputs are drawn once from a fixed seed, rounded to three decimals (so a reader can
follow an example by hand) and stored with the answers.

    bench/setup.sh && .venv/bin/python tests/reference/generate.py           # writes the files
    .venv/bin/python tests/reference/generate.py --check                     # fails if a file would change
"""

import argparse
import json
import sys
from pathlib import Path

import jax
import numpy as np
from jax import numpy as jnp

jax.config.update("jax_enable_x64", True)
HERE = Path(__file__).parent
TOLERANCE = 1e-12


def draw(rng, *shape, scale=1.0):
    """Normal values rounded to three decimals."""
    return np.round(scale * rng.standard_normal(shape), 3)


def agree(what, ours, other):
    """Stops unless the hand-derived value and the independent one agree."""
    worst = float(np.max(np.abs(np.asarray(ours) - np.asarray(other))))
    if not worst <= TOLERANCE:
        sys.exit(f"{what}: the two derivations differ by {worst:.3e}")


def half_squared(x, y, b, w):
    """mean over samples of (x.B.w - y)^2 / 2"""
    return 0.5 * jnp.mean((x @ b @ w - y) ** 2)


# Linear representation model f(x) = x.B.w ---------------------------------------------------------------------------------


def linear_gradients(x, y, b, w):
    """Loss and gradients of `half_squared`; with C = x'x/n, v = x'y/n, r = C.B.w - v: g_B = r w', g_w = B'r."""
    n = len(y)
    residual = x @ b @ w - y
    r = x.T @ residual / n
    return 0.5 * np.mean(residual**2), np.outer(r, w), b.T @ r


def maml_task(task, b, w, alpha, on_body):
    """Adapted parameters, query loss, exact and first-order meta-gradients of one task, by hand.

    Adaptation: w1 = w - alpha B'r and, where the body adapts too, B1 = B - alpha r w', with r = C B w - v on the support set.
    With (gB, gw) the query gradient at (B1, w1), the chain rule through r (dr = C dB w + C B dw) gives
      ANIL: s = -alpha B gw;                G_B = gB - alpha r gw' + C s w';                  G_w = gw + B' C s
      MAML: s = -alpha (B gw + gB w);       G_B = gB - alpha r gw' + C s w';                  G_w = gw + B' C s - alpha gB' r
    """
    x, y = task["support_x"], task["support_y"]
    c = x.T @ x / len(y)
    r = c @ b @ w - x.T @ y / len(y)
    w1 = w - alpha * b.T @ r
    b1 = b - alpha * np.outer(r, w) if on_body else b
    loss, g_b, g_w = linear_gradients(task["query_x"], task["query_y"], b1, w1)
    s = -alpha * b @ g_w
    if on_body:
        s = s - alpha * g_b @ w
    exact_b = g_b - alpha * np.outer(r, g_w) + np.outer(c @ s, w)
    exact_w = g_w + b.T @ c @ s
    if on_body:
        exact_w = exact_w - alpha * g_b.T @ r
    return {"B": b1, "w": w1, "loss": loss, "exact": (exact_b, exact_w), "first_order": (g_b, g_w)}


def maml_loss(tasks, b, w, alpha, on_body, stop):
    """The same objective for jax: mean query loss after one step on the support set."""
    total = 0.0
    for t in tasks:
        g_b, g_w = jax.grad(half_squared, argnums=(2, 3))(t["support_x"], t["support_y"], b, w)
        if stop:
            g_b, g_w = jax.lax.stop_gradient((g_b, g_w))
        b1 = b - alpha * g_b if on_body else b
        total += half_squared(t["query_x"], t["query_y"], b1, w - alpha * g_w)
    return total / len(tasks)


def linear_problem():
    """The inputs shared by the MAML and the worst-task files: d = 5, k = 2, three tasks of 4 + 4 examples."""
    rng = np.random.default_rng(20260101)
    truth = draw(rng, 5, 2)
    tasks = []
    for _ in range(3):
        head = draw(rng, 2)
        task = {}
        for part in ("support", "query"):
            x = draw(rng, 4, 5)
            task[f"{part}_x"] = x
            task[f"{part}_y"] = np.round(x @ truth @ head + 0.1 * rng.standard_normal(4), 3)
        tasks.append(task)
    return {"alpha": 0.1, "B": draw(rng, 5, 2, scale=0.7), "w": draw(rng, 2, scale=0.7), "tasks": tasks}


def maml_linear():
    problem = linear_problem()
    tasks, b, w, alpha = problem["tasks"], problem["B"], problem["w"], problem["alpha"]
    methods = {}
    for name, on_body, kind in [
        ("maml", True, "exact"),
        ("anil", False, "exact"),
        ("fo_maml", True, "first_order"),
        ("fo_anil", False, "first_order"),
    ]:
        rows = [maml_task(t, b, w, alpha, on_body) for t in tasks]
        grad_b = np.mean([row[kind][0] for row in rows], axis=0)
        grad_w = np.mean([row[kind][1] for row in rows], axis=0)
        wanted = jax.grad(maml_loss, argnums=(1, 2))(tasks, b, w, alpha, on_body, kind == "first_order")
        agree(f"{name} B", grad_b, wanted[0])
        agree(f"{name} w", grad_w, wanted[1])
        losses = np.array([row["loss"] for row in rows])
        agree(f"{name} loss", losses.mean(), maml_loss(tasks, b, w, alpha, on_body, False))
        methods[name] = {
            "adapted_B": [row["B"] for row in rows],
            "adapted_w": [row["w"] for row in rows],
            "query_losses": losses,
            "mean_query_loss": losses.mean(),
            "meta_gradient_B": grad_b,
            "meta_gradient_w": grad_w,
        }
    about = "f(x) = x.B.w; loss = mean over examples of (f(x) - y)^2 / 2; one inner gradient step on the support set, then the mean query loss over the tasks. MAML adapts B and w, ANIL adapts w only; fo_ drops the derivative of the inner gradient."
    return {"about": about, "inputs": problem, "outputs": methods}


def project_simplex(v):
    """Euclidean projection on {p >= 0, sum p = 1}: sort, find the threshold (Wang & Carreira-Perpinan 2013, algorithm 1)."""
    u = np.sort(v)[::-1]
    excess = np.cumsum(u) - 1.0
    rho = np.nonzero(u - excess / np.arange(1, len(v) + 1) > 0)[0][-1]
    return np.maximum(v - excess[rho] / (rho + 1), 0.0)


def bisected_simplex(v):
    """The same projection by bisection on the threshold, as a second derivation."""
    low, high = v.min() - 1.0, v.max()
    for _ in range(200):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if np.maximum(v - middle, 0).sum() > 1 else (low, middle)
    return np.maximum(v - 0.5 * (low + high), 0)


def simplex():
    rng = np.random.default_rng(20260102)
    vectors = [
        [0.2, 0.3, 0.5],  # on the simplex already
        [0.25, 0.25, 0.25, 0.25],
        [1.0],
        [-3.0],  # one coordinate: always 1
        [5.0, 0.0, 0.0],  # a corner
        [-1.0, -2.0, -3.0],  # all negative
        [0.6, 0.6, -0.1],
        [0.5, 0.5, 0.5],  # ties
        [1e6, 1e6 - 0.5, 0.0],  # far away
        [0.0, 0.0, 0.0, 0.0, 0.0],
    ]
    vectors = [np.array(v) for v in vectors] + [draw(rng, n, scale=s) for n, s in [(2, 1.0), (5, 0.3), (10, 0.1), (10, 3.0), (40, 0.05)]]
    cases = []
    for v in vectors:
        p = project_simplex(v)
        # The far vector loses digits in the subtraction itself.
        worst = np.max(np.abs(p - bisected_simplex(v)))
        if worst > 1e-15 * max(1.0, np.max(np.abs(v))) * 10 or abs(p.sum() - 1) > 1e-9:
            sys.exit(f"simplex: the two derivations differ by {worst:.3e}")
        cases.append({"vector": v, "projection": p})
    return {"about": "Euclidean projection on the probability simplex", "cases": cases}


def worst_step():
    problem = linear_problem()
    tasks, b, w, alpha = problem["tasks"], problem["B"], problem["w"], problem["alpha"]
    p, ascent, rate = np.array([0.5, 0.2, 0.3]), 0.3, 0.1  # an ascent so large that the projection cuts one weight to 0
    rows = [maml_task(t, b, w, alpha, True) for t in tasks]
    losses = np.array([row["loss"] for row in rows])
    scale = len(tasks) * p
    grad_b = np.mean([s * row["exact"][0] for s, row in zip(scale, rows)], axis=0)
    grad_w = np.mean([s * row["exact"][1] for s, row in zip(scale, rows)], axis=0)

    def objective(b, w):
        return sum(s * maml_loss([t], b, w, alpha, True, False) for s, t in zip(scale, tasks)) / len(tasks)

    wanted = jax.grad(objective, argnums=(0, 1))(b, w)
    agree("worst B", grad_b, wanted[0])
    agree("worst w", grad_w, wanted[1])
    about = "One TR-MAML step on the tasks of maml_linear.json (exact MAML on B and w), every task visited once: theta' = theta - rate * grad of mean_i(N p_i F_i), p' = projection of p + ascent * F with the raw losses F at theta."
    return {
        "about": about,
        "inputs": problem | {"p": p, "ascent": ascent, "rate": rate},
        "outputs": {
            "raw_losses": losses,
            "objective": float(np.mean(scale * losses)),
            "gradient_B": grad_b,
            "gradient_w": grad_w,
            "B": b - rate * grad_b,
            "w": w - rate * grad_w,
            "p": project_simplex(p + ascent * losses),
        },
    }


def reptile():
    problem = linear_problem()
    tasks, b, w = problem["tasks"], problem["B"], problem["w"]
    rate, epsilon, steps = 0.05, 0.5, 3
    ends = []
    for t in tasks:
        b1, w1 = b, w
        b2, w2 = jnp.array(b), jnp.array(w)
        for _ in range(steps):
            _, g_b, g_w = linear_gradients(t["support_x"], t["support_y"], b1, w1)
            b1, w1 = b1 - rate * g_b, w1 - rate * g_w
            j_b, j_w = jax.grad(half_squared, argnums=(2, 3))(t["support_x"], t["support_y"], b2, w2)
            b2, w2 = b2 - rate * j_b, w2 - rate * j_w
        agree("reptile B", b1, b2)
        agree("reptile w", w1, w2)
        ends.append((b1, w1))
    new_b = b + epsilon * np.mean([e[0] - b for e in ends], axis=0)
    new_w = w + epsilon * np.mean([e[1] - w for e in ends], axis=0)
    about = "One Reptile step on the support sets of maml_linear.json: three full-batch SGD steps on B and w per task, then theta + epsilon * mean over tasks of (theta_t - theta)."
    return {
        "about": about,
        "inputs": {k: problem[k] for k in ("B", "w")}
        | {"tasks": [{k: t[k] for k in ("support_x", "support_y")} for t in tasks], "rate": rate, "steps": steps, "epsilon": epsilon},
        "outputs": {"adapted_B": [e[0] for e in ends], "adapted_w": [e[1] for e in ends], "B": new_b, "w": new_w},
    }


def ridge():
    """w = (S + lambda I)^-1 z with X = x.B, S = X'X/n, z = X'y/n; then the query loss is differentiated by the implicit rule.

    With g = gradient of the query loss in w and u = (S + lambda I)^-1 g, the total derivative along X is
      u' (dz - dS w) = u' (dX'(y - X w) - X' dX w) / n,   so   dL/dX = ((y - X w) u' - X u w') / n.
    X = x.B carries that to B as x' dL/dX, beside the gradient that B has in the query loss with w held.
    """
    rng = np.random.default_rng(20260103)
    n, d, k, penalty = 6, 5, 2, 0.1
    x, y, xq, yq = draw(rng, n, d), draw(rng, n), draw(rng, 4, d), draw(rng, 4)
    b = draw(rng, d, k)
    features = x @ b
    system = features.T @ features / n + penalty * np.eye(k)
    w = np.linalg.solve(system, features.T @ y / n)
    loss, direct, g_w = linear_gradients(xq, yq, b, w)
    u = np.linalg.solve(system, g_w)
    d_features = (np.outer(y - features @ w, u) - np.outer(features @ u, w)) / n
    grad_b = direct + x.T @ d_features

    def objective(b):
        f = x @ b
        return half_squared(xq, yq, b, jnp.linalg.solve(f.T @ f / n + penalty * jnp.eye(k), f.T @ y / n))

    agree("ridge loss", loss, objective(b))
    agree("ridge", grad_b, jax.grad(objective)(b))
    inner_objective = lambda w: 0.5 * jnp.mean((features @ w - y) ** 2) + 0.5 * penalty * w @ w
    agree("ridge optimum", jax.grad(inner_objective)(w), np.zeros(k))
    about = "w minimises |X w - y|^2 / (2 n) + penalty |w|^2 / 2 with X = support_x.B; the query loss mean((query_x.B.w - query_y)^2) / 2 is differentiated with respect to B through the solve."
    return {
        "about": about,
        "inputs": {"penalty": penalty, "B": b, "support_x": x, "support_y": y, "query_x": xq, "query_y": yq},
        "outputs": {"w": w, "query_loss": loss, "gradient_B_through_the_solve": grad_b, "gradient_B_with_w_held": direct},
    }


# Federated rounds ---------------------------------------------------------------------------------------------------------


def clients():
    rng = np.random.default_rng(20260104)
    return [{"x": draw(rng, n, 3), "y": draw(rng, n)} for n in (4, 6, 5)], rng


def fedavg_round():
    parts, rng = clients()
    w, b, rate, steps = draw(rng, 3), 0.25, 0.1, 2
    sizes = np.array([len(p["y"]) for p in parts], float)
    ends = []
    for p in parts:
        lw, lb = w, b
        jw, jb = jnp.array(w), jnp.array(b)
        for _ in range(steps):
            residual = p["x"] @ lw + lb - p["y"]
            lw, lb = lw - rate * p["x"].T @ residual / len(residual), lb - rate * residual.mean()
            g = jax.grad(lambda w, b: 0.5 * jnp.mean((p["x"] @ w + b - p["y"]) ** 2), argnums=(0, 1))(jw, jb)
            jw, jb = jw - rate * g[0], jb - rate * g[1]
        agree("fedavg w", lw, jw)
        agree("fedavg b", lb, jb)
        ends.append((lw, lb))
    share = sizes / sizes.sum()
    about = "One FedAvg round, all three clients: f(x) = x.w + b, loss = mean (f(x) - y)^2 / 2 over a client's examples, two full-batch SGD steps, parameters averaged with weights proportional to the numbers of examples."
    return {
        "about": about,
        "inputs": {"w": w, "b": b, "rate": rate, "steps": steps, "clients": parts},
        "outputs": {
            "client_w": [e[0] for e in ends],
            "client_b": [e[1] for e in ends],
            "w": sum(s * e[0] for s, e in zip(share, ends)),
            "b": float(sum(s * e[1] for s, e in zip(share, ends))),
            "w_uniform": np.mean([e[0] for e in ends], axis=0),
            "b_uniform": float(np.mean([e[1] for e in ends])),
        },
    }


def fedrep_round():
    parts, rng = clients()
    body, heads, rate, head_steps = draw(rng, 3, 2), [draw(rng, 2) for _ in parts], 0.1, 3
    sizes = np.array([len(p["y"]) for p in parts], float)
    new_heads, bodies = [], []
    for p, head in zip(parts, heads):
        w, jw = head, jnp.array(head)
        for _ in range(head_steps):
            w = w - rate * linear_gradients(p["x"], p["y"], body, w)[2]
            jw = jw - rate * jax.grad(half_squared, argnums=3)(p["x"], p["y"], body, jw)
        b = body - rate * linear_gradients(p["x"], p["y"], body, w)[1]
        jb = body - rate * jax.grad(half_squared, argnums=2)(p["x"], p["y"], body, jw)
        agree("fedrep head", w, jw)
        agree("fedrep body", b, jb)
        new_heads.append(w)
        bodies.append(b)
    share = sizes / sizes.sum()
    about = "One FedRep round, all three clients: f(x) = x.B.w with a head w kept by each client; three full-batch head steps at the received B, then one body step at the new head; bodies averaged with weights proportional to the numbers of examples."
    return {
        "about": about,
        "inputs": {"B": body, "heads": heads, "rate": rate, "head_steps": head_steps, "body_steps": 1, "clients": parts},
        "outputs": {"heads": new_heads, "client_B": bodies, "B": sum(s * b for s, b in zip(share, bodies))},
    }


# Optimisers ---------------------------------------------------------------------------------------------------------------


def gradients():
    rng = np.random.default_rng(20260105)
    return draw(rng, 4), [draw(rng, 4) for _ in range(3)]


def torch_check(name, make, theta, grads, ours):
    """Runs torch.optim on the same gradients, where torch is installed."""
    try:
        import torch
    except ImportError:
        print(f"{name}: torch is not installed, so only numpy made these values", file=sys.stderr)
        return
    p = torch.nn.Parameter(torch.tensor(theta))
    optimiser = make(torch.optim, [p])
    for g, wanted in zip(grads, ours):
        p.grad = torch.tensor(g)
        optimiser.step()
        agree(name, wanted, p.detach().numpy())


def adam():
    theta, grads = gradients()
    rate, b1, b2, eps = 1e-3, 0.9, 0.999, 1e-8
    m, v, now, path = np.zeros(4), np.zeros(4), theta, []
    for t, g in enumerate(grads, start=1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        now = now - rate * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)
        path.append(now)
    torch_check("adam", lambda o, p: o.Adam(p, lr=rate), theta, grads, path)
    about = "Adam with PyTorch's defaults: m, v exponential means, both bias-corrected, eps added outside the square root. `path` holds the parameters after each step."
    inputs = {"rate": rate, "beta1": b1, "beta2": b2, "eps": eps, "theta": theta, "gradients": grads}
    return {"about": about, "inputs": inputs, "outputs": {"path": path, "m": m, "v": v}}


def momentum():
    theta, grads = gradients()
    rate, mu, decay = 0.1, 0.9, 0.01
    buffer, now, path = np.zeros(4), theta, []
    for t, g in enumerate(grads):
        g = g + decay * now
        buffer = g if t == 0 else mu * buffer + g
        now = now - rate * buffer
        path.append(now)
    make = lambda o, p: o.SGD(p, lr=rate, momentum=mu, weight_decay=decay)
    torch_check("momentum", make, theta, grads, path)
    about = "SGD with momentum and weight decay, PyTorch's semantics: g += decay * theta; buffer = momentum * buffer + g (the first buffer is g); theta -= rate * buffer. No dampening, no Nesterov."
    inputs = {"rate": rate, "momentum": mu, "weight_decay": decay, "theta": theta, "gradients": grads}
    return {"about": about, "inputs": inputs, "outputs": {"path": path, "buffer": buffer}}


def plain(value):
    """Nested lists of Python floats: json then prints the shortest text that reads back to the same float64."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value.item() if isinstance(value, np.generic) else value


def layout(value, depth=0):
    """JSON with one row of numbers a line, so that a change shows as a small diff."""
    pad = "  " * (depth + 1)
    if isinstance(value, dict):
        rows = [f"{pad}{json.dumps(k)}: {layout(v, depth + 1)}" for k, v in value.items()]
        return "{\n" + ",\n".join(rows) + "\n" + "  " * depth + "}"
    if isinstance(value, list) and value and isinstance(value[0], list | dict):
        return "[\n" + ",\n".join(pad + layout(v, depth + 1) for v in value) + "\n" + "  " * depth + "]"
    return json.dumps(value)


def same(ours, kept):
    """Equal up to the last digits, which depend on the BLAS that numpy found."""
    if isinstance(ours, dict):
        return isinstance(kept, dict) and ours.keys() == kept.keys() and all(same(ours[k], kept[k]) for k in ours)
    if isinstance(ours, list):
        return isinstance(kept, list) and len(ours) == len(kept) and all(map(same, ours, kept))
    if isinstance(ours, float):
        return isinstance(kept, float) and abs(ours - kept) <= TOLERANCE * max(1.0, abs(ours))
    return ours == kept


def main():
    parser = argparse.ArgumentParser(description="Write or check the reference values.")
    parser.add_argument("--check", action="store_true", help="compare with the files instead of writing them")
    check = parser.parse_args().check
    for make in (maml_linear, fedavg_round, fedrep_round, simplex, worst_step, ridge, adam, momentum, reptile):
        path = HERE / f"{make.__name__}.json"
        value = plain(make())
        if not check:
            path.write_text(layout(value) + "\n")
        elif not same(value, json.loads(path.read_text())):
            sys.exit(f"{path.name} differs from what this script makes")


if __name__ == "__main__":
    main()
