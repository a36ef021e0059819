"""Update rules written here, step by step against NumPy."""

from functools import partial

import numpy as np
import pytest
import torch
from methods import module
from torch import nn

STEPS = 20
SHAPE = (3, 4)


def follow(optimizer, weight, rng, update):
    """Feed the same random gradients to an optimizer and to a function of NumPy arrays."""
    expected = weight.detach().numpy().copy()
    for step in range(1, STEPS + 1):
        gradient = rng.normal(size=weight.shape)
        weight.grad = torch.tensor(gradient)
        optimizer.step()
        expected = update(expected, gradient, step)
        np.testing.assert_allclose(weight.detach().numpy(), expected, rtol=1e-9, atol=1e-12)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def weight(rng):
    return nn.Parameter(torch.tensor(rng.normal(size=SHAPE)))


def test_innaprop(rng, weight):
    lr, alpha, beta, sigma, decay, eps = 0.05, 0.3, 0.8, 0.9, 0.2, 1e-8
    optimizer = module("innaprop").InnaProp([weight], lr, alpha, beta, sigma, decay, eps)
    kept = {"p": weight.detach().numpy() * (1 - alpha * beta), "v": np.zeros(SHAPE)}

    def update(w, g, step):
        w = (1 - lr * decay) * w
        kept["v"] = sigma * kept["v"] + (1 - sigma) * g**2
        kept["p"] = kept["p"] + lr * ((1 / beta - alpha) * w - kept["p"] / beta)
        pull = ((1 - alpha * beta) * w - kept["p"]) / (beta - lr)
        scale = np.sqrt(kept["v"] / (1 - sigma**step)) + eps
        return w + lr * pull - lr * beta * g / scale

    follow(optimizer, weight, rng, update)


def test_opt_amsgrad(rng, weight):
    lr, beta1, beta2, decay, eps = 0.05, 0.9, 0.95, 0.1, 1e-8
    optimizer = module("opt_amsgrad").OptimisticAmsgrad([weight], lr, (beta1, beta2), decay, eps)
    zero = np.zeros(SHAPE)
    kept = {"h": weight.detach().numpy().copy(), "m": zero, "v": zero, "V": zero, "q": zero}

    def update(w, g, step):
        kept["v"] = beta2 * kept["v"] + (1 - beta2) * (g - kept["q"]) ** 2
        kept["V"] = np.maximum(kept["V"], kept["v"])
        before, kept["m"] = kept["m"], beta1 * kept["m"] + (1 - beta1) * g
        scale = np.sqrt(kept["V"]) + eps
        kept["h"] = (1 - lr * decay) * kept["h"] - lr * kept["m"] / scale
        kept["q"] = g
        return kept["h"] - lr * (beta1 * before + (1 - beta1) * g) / scale

    follow(optimizer, weight, rng, update)


def test_adam_hypergradient(rng, weight):
    first, beta1, beta2, hyper, decay, eps = 0.01, 0.9, 0.95, 1e-4, 0.1, 1e-8
    optimizer = module("adam_hypergradient").HypergradientAdam(
        [weight], first, (beta1, beta2), hyper, decay, eps
    )
    zero = np.zeros(SHAPE)
    kept = {"lr": first, "m": zero, "v": zero, "u": zero}

    def update(w, g, step):
        kept["lr"] += hyper * float((g * kept["u"]).sum())
        kept["m"] = beta1 * kept["m"] + (1 - beta1) * g
        kept["v"] = beta2 * kept["v"] + (1 - beta2) * g**2
        scale = np.sqrt(kept["v"] / (1 - beta2**step)) + eps
        kept["u"] = kept["m"] / (1 - beta1**step) / scale
        return (1 - kept["lr"] * decay) * w - kept["lr"] * kept["u"]

    follow(optimizer, weight, rng, update)
    assert kept["lr"] != first


@pytest.mark.parametrize("above", [0.05, 1e6])
def test_sania(rng, weight, above):
    lr, beta2, eps = 0.5, 0.9, 1e-3
    optimizer = module("sania").Sania([weight], lr, beta2, eps)
    v, expected = np.zeros(SHAPE), weight.detach().numpy().copy()
    for step in range(1, STEPS + 1):
        g = rng.normal(size=SHAPE)
        weight.grad = torch.tensor(g)
        optimizer.step(torch.tensor(above))
        v = beta2 * v + (1 - beta2) * g**2
        scaled = g / (v / (1 - beta2**step) + eps)
        ratio = 2 * above / (g * scaled).sum()
        length = 1 - np.sqrt(1 - ratio) if ratio <= 1 else 1.0
        expected -= lr * length * scaled
        np.testing.assert_allclose(weight.detach().numpy(), expected, rtol=1e-6)


def test_sania_does_not_mind_how_weights_are_scaled(rng):
    sania, scale = module("sania").Sania, np.array([1e-2, 1.0, 1e3])
    plain = nn.Parameter(torch.tensor(rng.normal(size=3)))
    scaled = nn.Parameter(plain.detach() / torch.tensor(scale))
    optimizers = [sania([weight], 1.0, 0.9, eps=1e-30) for weight in (plain, scaled)]
    for _ in range(STEPS):
        g = rng.normal(size=3)
        plain.grad, scaled.grad = torch.tensor(g), torch.tensor(g * scale)
        for optimizer in optimizers:
            optimizer.step(torch.tensor(0.05))
    np.testing.assert_allclose(plain.detach().numpy(), scaled.detach().numpy() * scale, rtol=1e-9)


def test_dion(rng, weight):
    lr, mu, decay = 0.05, 0.9, 0.1
    dion = module("dion")
    draws = torch.Generator().manual_seed(0)
    optimizer = dion.Dion([weight], lr, mu, 0.7, decay, draws)
    kept = {"M": np.zeros(SHAPE), "Q": optimizer.state[weight]["factor"].numpy().copy()}
    assert kept["Q"].shape == (4, 2)

    def update(w, g, step):
        b = kept["M"] + g
        p, r = np.linalg.qr(b @ kept["Q"])
        p = p * np.sign(np.diag(r)) * np.sign(np.diag(r))  # signs cancel in P Q^T
        right = b.T @ p
        kept["M"] = b - (1 - mu) * p @ right.T
        kept["Q"] = right / np.linalg.norm(right, axis=0)
        return (1 - lr * decay) * w - lr * np.sqrt(3 / 4) * p @ kept["Q"].T

    follow(optimizer, weight, rng, update)


def test_a_kernel_is_to_dion_the_matrix_of_its_outputs(rng):
    kernel = nn.Parameter(torch.tensor(rng.normal(size=(4, 2, 3, 3))))
    matrix = nn.Parameter(kernel.detach().flatten(1).clone())
    optimizers = [
        module("dion").Dion([weight], 0.05, 0.9, 0.5, 0.1, torch.Generator().manual_seed(0))
        for weight in (kernel, matrix)
    ]
    for _ in range(5):
        kernel.grad = torch.tensor(rng.normal(size=kernel.shape))
        matrix.grad = kernel.grad.flatten(1)
        for optimizer in optimizers:
            optimizer.step()
        np.testing.assert_allclose(kernel.detach().flatten(1), matrix.detach(), rtol=1e-12)


def test_a_full_rank_dion_update_is_orthonormal(rng):
    gradient, factor = torch.tensor(rng.normal(size=(5, 3))), torch.eye(3, dtype=torch.float64)
    momentum = torch.zeros(5, 3, dtype=torch.float64)
    for _ in range(200):
        momentum.zero_()
        update = module("dion").orthonormal_update(gradient, momentum, factor, 0.9)
    u, _, v = np.linalg.svd(gradient.numpy(), full_matrices=False)
    np.testing.assert_allclose(update.numpy(), u @ v, atol=1e-6)


def test_tvlars_falls_along_a_sigmoid():
    decay = module("tvlars").sigmoid_decay
    assert decay(0.3, 0.3, 20.0) == pytest.approx(0.501)
    factors = [decay(x / 10, 0.3, 20.0) for x in range(11)]
    assert factors == sorted(factors, reverse=True)
    assert factors[0] == pytest.approx(1.001, abs=3e-3)
    assert decay(1e9, 0.3, 20.0) == pytest.approx(1e-3)


def test_signal_to_noise_ratios_scale_components():
    gradients = torch.tensor([[1.0, 1.0, -1.0], [1.2, -0.8, 3.0]], dtype=torch.float64)
    found = module("vrgd").rescale(gradients, floor=0.1).numpy()
    g = gradients.numpy()
    ratio = g.mean(0) ** 2 / g.var(0)
    expected = g.mean(0) * np.clip(ratio / ratio.mean(), 0.1, 1)
    np.testing.assert_allclose(found, expected)
    assert found[0] == pytest.approx(1.1)
    assert found[1] == pytest.approx(0.1 * 0.1)


def test_a_model_building_step_minimises_its_model(rng):
    """The step solves the model's optimality condition, (2 sigma I + y s^T + s y^T) x = -s.s g."""
    g, y, eta = rng.normal(size=6), rng.normal(size=6), 0.9
    s = -0.1 * g
    step = module("stochastic_model_building").build_step(*map(torch.tensor, (g, y, s)), eta)
    norm = np.linalg.norm
    sigma = 0.5 * (norm(s) * (norm(y) + norm(g) / eta) - y @ s)
    matrix = 2 * sigma * np.eye(6) + np.outer(y, s) + np.outer(s, y)
    np.testing.assert_allclose(matrix @ step.numpy(), -(s @ s) * g, rtol=1e-9)


def power(gram, exponent):
    values, vectors = np.linalg.eigh(gram)
    values = np.maximum(values, 0) + 1e-6 * values.max()
    return vectors @ np.diag(values**exponent) @ vectors.T


def turn_shampoo(mean, left, right):
    return power(left, -1 / 4) @ mean @ power(right, -1 / 4)


def turn_caspr(mean, left, right):
    added = power(left, -1 / 2) @ mean + mean @ power(right, -1 / 2)
    return (added + 2 * turn_shampoo(mean, left, right)) / 4


def turn_left(mean, left, right):
    return power(left, -1 / 2) @ mean


def turn_right(mean, left, right):
    return mean @ power(right, -1 / 2)


@pytest.mark.parametrize(
    ("name", "shape", "largest", "turn"),
    [
        ("Shampoo", (3, 4), 4, turn_shampoo),
        ("Shampoo", (3, 4), 3, turn_left),
        ("Shampoo", (4, 3), 3, turn_right),
        ("Caspr", (3, 4), 4, turn_caspr),
        ("Caspr", (3, 4), 3, turn_left),
        ("Caspr", (4, 3), 3, turn_right),
    ],
)
def test_the_mean_is_turned_by_roots_now_and_then_taken_anew(
    name, shape, largest, turn, rng, monkeypatch
):
    lr, beta1, beta2, decay, eps = 0.01, 0.9, 0.95, 0.1, 1e-8
    made = module(name.lower())
    monkeypatch.setattr(made, "EVERY", 5)
    monkeypatch.setattr(made, "LARGEST", largest)
    weight = nn.Parameter(torch.tensor(rng.normal(size=shape)))
    optimizer = getattr(made, name)([weight], lr, (beta1, beta2), decay, eps)
    kept = {"m": 0.0, "v": 0.0, "L": 0.0, "R": 0.0, "turn": None}

    def update(w, g, step):
        kept["m"] = beta1 * kept["m"] + (1 - beta1) * g
        kept["v"] = beta2 * kept["v"] + (1 - beta2) * g**2
        kept["L"] = beta2 * kept["L"] + (1 - beta2) * g @ g.T
        kept["R"] = beta2 * kept["R"] + (1 - beta2) * g.T @ g
        correction = 1 - beta2**step
        if step in (1, 6, 11, 16):
            left, right = kept["L"] / correction, kept["R"] / correction
            kept["turn"] = partial(turn, left=left, right=right)
        mean = kept["m"] / (1 - beta1**step)
        adam = mean / (np.sqrt(kept["v"] / correction) + eps)
        turned = kept["turn"](mean)
        length = np.linalg.norm(adam) / np.linalg.norm(turned)
        return (1 - lr * decay) * w - lr * length * turned

    follow(optimizer, weight, rng, update)


def test_shampoo_takes_the_root_of_the_one_side_it_keeps(rng, weight, monkeypatch):
    shampoo = module("shampoo")
    monkeypatch.setattr(shampoo, "LARGEST", 3)
    gradient = rng.normal(size=SHAPE)
    before = weight.detach().numpy().copy()
    weight.grad = torch.tensor(gradient)
    shampoo.Shampoo([weight], 0.01, (0.9, 0.95), 0.0).step()
    whitened = np.linalg.svd(gradient, full_matrices=False)
    turned = whitened[0] @ whitened[2]  # (G G^T)^(-1/2) G
    found = before - weight.detach().numpy()
    np.testing.assert_allclose(found / np.linalg.norm(found), turned / 3**0.5, atol=1e-4)


def test_nadamp(rng, weight):
    lr, beta1, beta2, power, decay, eps = 0.02, 0.9, 0.95, 0.4, 0.1, 1e-8
    optimizer = module("nadamp").NAdamP([weight], lr, (beta1, beta2), power, decay, eps)
    kept = {"m": 0.0, "v": 0.0}

    def update(w, g, step):
        kept["m"] = beta1 * kept["m"] + (1 - beta1) * g
        kept["v"] = beta2 * kept["v"] + (1 - beta2) * g**2
        ahead = (beta1 * kept["m"] + (1 - beta1) * g) / (1 - beta1**step)
        scale = (kept["v"] / (1 - beta2**step)) ** power + eps
        return (1 - lr * decay) * w - lr * ahead / scale

    follow(optimizer, weight, rng, update)


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("precondition", [True, False])
def test_generalized_adam(rng, weight, nesterov, precondition):
    lr, beta1, beta2, decay, eps = 0.02, 0.9, 0.95, 0.1, 1e-8
    optimizer = module("generalized_adam").GeneralizedAdam(
        [weight], lr, (beta1, beta2), decay, nesterov=nesterov, precondition=precondition, eps=eps
    )
    kept = {"m": 0.0, "v": 0.0}

    def update(w, g, step):
        kept["m"] = beta1 * kept["m"] + (1 - beta1) * g
        kept["v"] = beta2 * kept["v"] + (1 - beta2) * g**2
        taken = beta1 * kept["m"] + (1 - beta1) * g if nesterov else kept["m"]
        scale = np.sqrt(kept["v"] / (1 - beta2**step)) + eps if precondition else 1.0
        return (1 - lr * decay) * w - lr * taken / (1 - beta1**step) / scale

    follow(optimizer, weight, rng, update)


def test_plain_generalized_adam_is_sgd_with_momentum_after_its_bias_has_gone(weight):
    theirs = nn.Parameter(weight.detach().clone())
    beta1, lr = 0.5, 0.2
    ours = module("generalized_adam").GeneralizedAdam(
        [weight], lr, (beta1, 0.9), precondition=False
    )
    sgd = torch.optim.SGD([theirs], lr * (1 - beta1), momentum=beta1, nesterov=True)
    gradient = torch.ones_like(weight)
    for step in range(80):
        before = weight.detach().clone(), theirs.detach().clone()
        weight.grad, theirs.grad = gradient.clone(), gradient.clone()
        ours.step()
        sgd.step()
        if step > 60:
            moved = weight.detach() - before[0], theirs.detach() - before[1]
            assert torch.allclose(*moved, rtol=1e-9)
