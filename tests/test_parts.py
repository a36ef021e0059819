import contextlib
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import make_task
from torch import nn

from bench.errors import BenchError
from bench.parts.batch_norm import estimate_statistics, find_batch_norms, kept_statistics
from bench.parts.clipping import clip_by_global_norm
from bench.parts.schedules import NAMES, make_schedule

horizons = st.integers(1, 500)
fractions = st.floats(0, 0.9)
ends = st.floats(0, 1)


@given(st.integers(0, 1000), horizons)
def test_a_constant_schedule_is_constant(step, horizon):
    assert make_schedule("constant", horizon)(step) == 1.0


@given(st.integers(0, 1000), horizons, ends)
def test_a_linear_schedule_is_a_line(step, horizon, end):
    expected = np.interp(step, [0, horizon], [1, end])
    assert make_schedule("linear", horizon, end_factor=end)(step) == pytest.approx(expected)


@given(st.integers(0, 1000), horizons, ends)
def test_a_cosine_schedule_is_half_a_cosine(step, horizon, end):
    if step < horizon:
        expected = end + (1 - end) * math.cos(math.pi * step / horizon / 2) ** 2
    else:
        expected = end
    found = make_schedule("cosine", horizon, end_factor=end)(step)
    assert found == pytest.approx(expected, abs=1e-12)


@given(st.sampled_from(["linear", "cosine"]), st.integers(2, 500), fractions, ends)
def test_a_warm_up_rises_to_one_and_the_rest_of_the_horizon_falls(name, horizon, warmup, end):
    schedule = make_schedule(f"warmup_{name}", horizon, warmup, end)
    factors = [schedule(step) for step in range(horizon + 5)]
    warm = round(warmup * horizon)
    assert factors[:warm] == pytest.approx([(step + 1) / warm for step in range(warm)])
    plain = make_schedule(name, horizon - warm, 0.0, end)
    assert factors[warm:] == [plain(step) for step in range(horizon + 5 - warm)]
    assert factors[horizon:] == pytest.approx([end] * 5, abs=1e-12)


@given(st.sampled_from(NAMES), horizons, ends, st.integers(0, 2000))
def test_every_factor_lies_between_the_end_and_one(name, horizon, end, step):
    assert min(end, 1.0) - 1e-12 <= make_schedule(name, horizon, 0.0, end)(step) <= 1.0


def test_unknown_schedules_and_lost_warm_ups_are_refused():
    with pytest.raises(BenchError, match="unknown schedule 'cosin'") as caught:
        make_schedule("cosin", 10)
    assert caught.value.hint == "did you mean 'cosine'?"
    with pytest.raises(BenchError, match="'cosine' has no warm-up"):
        make_schedule("cosine", 10, warmup=0.1)


@pytest.mark.parametrize(("max_norm", "scaled"), [(1.0, True), (1000.0, False)])
def test_clipping_scales_all_gradients_by_one_factor(max_norm, scaled):
    tensors = [nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(2, 2)), nn.Parameter()]
    tensors[0].grad, tensors[1].grad = torch.tensor([3.0, 4.0, 0.0]), torch.full((2, 2), 6.0)
    before = np.concatenate([t.grad.numpy().ravel().copy() for t in tensors[:2]])
    norm = np.sqrt((before.astype(np.float64) ** 2).sum())
    assert clip_by_global_norm(tensors, max_norm).item() == pytest.approx(norm)
    after = np.concatenate([t.grad.numpy().ravel() for t in tensors[:2]])
    factor = max_norm / norm if scaled else 1.0
    assert after == pytest.approx(before * factor, rel=1e-5)


def test_re_estimated_statistics_are_plain_averages_over_batches():
    task = make_task()
    batches = [next(task.data.loader(8)) for _ in range(3)]
    task.model.train()
    task.loss(batches[0])  # leaves running statistics that must not count
    estimate_statistics(task.model, task.forward, batches)
    activations = [task.model.conv(batch.inputs[0]).detach().double() for batch in batches]
    mean = sum(a.mean(dim=(0, 2, 3)) for a in activations) / 3
    variance = sum(a.var(dim=(0, 2, 3)) for a in activations) / 3
    assert torch.allclose(task.model.norm.running_mean.double(), mean, atol=1e-6)
    assert torch.allclose(task.model.norm.running_var.double(), variance, rtol=1e-5)
    assert task.model.norm.momentum == 0.1
    assert task.model.training
    assert all(module.training for module in task.model.modules())


def test_dropout_is_off_while_statistics_are_estimated():
    model = nn.Sequential(nn.Dropout(0.9), nn.BatchNorm1d(2)).eval()
    x = torch.tensor([[1.0, 2.0], [3.0, 6.0]])
    estimate_statistics(model, lambda batch: model(x), [None])
    assert model[1].running_mean.tolist() == [2.0, 4.0]
    assert not any(module.training for module in model.modules())


def test_kept_statistics_come_back_even_after_an_error():
    task = make_task()
    (norm,) = find_batch_norms(task.model)
    before = {name: buffer.clone() for name, buffer in norm.named_buffers()}
    with contextlib.suppress(KeyError), kept_statistics(task.model):
        task.loss(next(task.data.loader(8)))
        assert not torch.equal(norm.running_mean, before["running_mean"])
        raise KeyError
    assert all(torch.equal(buffer, before[name]) for name, buffer in norm.named_buffers())
