import contextlib

import numpy as np
import pytest
import torch
from tiny import make_task
from torch import nn

from bench.parts.batch_norm import estimate_statistics, find_batch_norms, kept_statistics
from bench.parts.clipping import clip_by_global_norm


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
