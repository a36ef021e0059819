"""Methods that choose what they train on, and how much of it at a time."""

import numpy as np
import pytest
import torch
from methods import BowlWorkload, bowl_gradient, bowl_loss, module, start, weights
from tiny import make_workload

A = BowlWorkload.A.numpy()


def tiny(name, **hparams):
    return start(name, make_workload(), **hparams)


def test_the_hardest_batches_of_a_round_come_again_the_hardest_first():
    submission = tiny("hard_samples", delta=0.5)
    submission.batches_in_round = 4
    batches, losses = submission.batches(), {}
    for _ in range(4):
        batch = next(batches)
        losses[tuple(batch.ids.tolist())] = submission.step(batch).item()
    again = [tuple(next(batches).ids.tolist()) for _ in range(2)]
    values = np.array(list(losses.values()))
    above = values - np.polyval(np.polyfit(range(4), values, 1), range(4))
    assert again == [list(losses)[index] for index in np.argsort(-above)[:2]]
    assert tuple(next(batches).ids.tolist()) not in losses


def test_pruned_epochs_are_unbiased_and_end():
    submission = tiny("infobatch", pruned=0.5, full_from=0.9)
    submission.scores = torch.arange(50.0)
    draws = torch.zeros(50)
    for _ in range(2000):
        ids = submission._choose()
        draws[ids] += submission.weights[ids] / 2000
    easy = torch.arange(50) < 24.5
    assert torch.allclose(draws, torch.ones(50), atol=0.12)
    assert set(submission.weights[easy].tolist()) == {2.0}
    assert set(submission.weights[~easy].tolist()) == {1.0}
    submission.left = torch.zeros(20, dtype=torch.int64)
    submission.task.data._delivered = round(0.9 * submission.task.budget.examples)
    batches = submission.batches()
    seen = torch.cat([next(batches).ids for _ in range(6)])
    assert len(seen.unique()) == 48, "all from now on, in the middle of an epoch"
    assert set(submission.weights.tolist()) == {1.0}


def test_scores_are_the_losses_of_examples():
    submission = tiny("infobatch")
    batch = next(submission.batches())
    expected = submission.task.loss(batch, "none").detach()
    submission.step(batch)
    assert torch.allclose(submission.scores[batch.ids], expected, atol=1e-6)
    assert submission.scores.isfinite().sum() == 8


def test_what_stays_of_the_easy_weighs_for_what_was_left_out():
    submission = start("infobatch", pruned=0.75)
    submission.scores = torch.arange(50.0)
    batches, seen = submission.batches(), set()
    for _ in range(3):  # of the first epoch
        batch, w = next(batches), weights(submission)
        submission.step(batch)
        shares = np.where(batch.ids.numpy() < 24.5, 4.0, 1.0)
        seen |= set(shares)
        expected = A @ (shares[:, None] * (w - batch.targets.numpy())).mean(axis=0)
        np.testing.assert_allclose(submission.trainable[0].grad, expected, rtol=1e-4, atol=1e-6)
    assert seen == {1.0, 4.0}


def again(submission, size):
    """Return the batch that the submission's loader gave last."""
    submission.task.data.position -= size
    return next(submission.task.data.loader(size))


def test_jest_takes_what_the_reference_has_learnt():
    submission = start("jest", filtered=0.5)
    batches = submission.batches()
    for number in range(4):
        chosen = next(batches)
        if number == 0:
            assert submission.task.data.delivered == 4 * 8 + 16  # the reference's, the candidates
        candidates = again(submission, 16)
        learner, reference = weights(submission), submission.reference[0].numpy()
        learnable = [
            bowl_loss(learner, lone) - bowl_loss(reference, lone) for lone in candidates.split(16)
        ]
        best = candidates.ids[np.argsort(learnable)[8:]]
        assert set(chosen.ids.tolist()) == set(best.tolist())
        submission.step(chosen)


def test_medoids_stand_for_their_clusters():
    rng = torch.Generator().manual_seed(0)
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    owners = torch.tensor([0] * 6 + [1] * 3 + [2])
    points = centres[owners] + 0.1 * torch.randn(10, 2, generator=rng)
    rows, weights = module("coreset_batches").choose_medoids(points, 3)
    assert sorted(owners[rows].tolist()) == [0, 1, 2]
    shares = {int(owners[row]): float(weight) for row, weight in zip(rows, weights, strict=True)}
    assert shares == pytest.approx({0: 1.8, 1: 0.9, 2: 0.3})


def test_embeddings_are_gradients_by_the_logits():
    submission = tiny("coreset_batches")
    batch = next(submission.task.data.loader(8))
    found = submission._embed(batch)
    probabilities = submission.task.forward(batch).softmax(dim=1)
    expected = probabilities - torch.nn.functional.one_hot(batch.targets, 3)
    assert torch.allclose(found, expected, atol=1e-5)


def test_medoids_weigh_in_the_gradient_as_their_clusters():
    submission = start("coreset_batches", candidates=3.0)
    chosen, w = next(submission.batches()), weights(submission)
    candidates = again(submission, 24)
    every, few = ((w - batch.targets.numpy()) @ A for batch in (candidates, chosen))
    owners = np.linalg.norm(every[:, None] - few, axis=2).argmin(axis=1)
    shares = np.bincount(owners, minlength=8) / 24
    assert len(set(shares)) > 1
    submission.step(chosen)
    np.testing.assert_allclose(submission.trainable[0].grad, shares @ few, rtol=1e-4, atol=1e-6)


def size_of(submission):
    return submission.recipe.batch_rule.size


def test_the_norm_test_makes_batches_grow():
    submission = tiny("adadagrad", tolerance=0.05)
    batches = submission.batches()
    submission.step(next(batches))
    assert size_of(submission) == len(next(batches)) == 48  # of 50, in four equal pieces
    easy = tiny("adadagrad", tolerance=1e3)
    easy.step(next(easy.batches()))
    assert size_of(easy) == 8


def test_the_norm_test_is_one_of_four_pieces_and_costs_no_gradient():
    submission = start("adadagrad", tolerance=0.05)
    batches, size = submission.batches(), 8
    for step in range(12):
        batch, w = next(batches), weights(submission)
        assert len(batch) == size
        loss, mean = submission.step(batch), bowl_gradient(w, batch)
        assert loss.item() == pytest.approx(bowl_loss(w, batch), rel=1e-4)
        np.testing.assert_allclose(submission.trainable[0].grad, mean, rtol=1e-4, atol=1e-5)
        if step % 10 == 0:
            pieces = np.stack([bowl_gradient(w, piece) for piece in batch.split(4)])
            variance = pieces.var(axis=0, ddof=1).sum() * size / 4  # of an example
            wanted = variance / (0.05 * np.linalg.norm(mean)) ** 2
            size = max(size, 4 * int(np.ceil(wanted / 4)))
    assert 8 < size < 48


@pytest.mark.parametrize("share", [1e-9, 150.0, 1e9])
def test_the_noise_is_what_the_halves_of_a_batch_differ_by(share):
    """Halves of gradients g and h: g.h is the signal, n / 4 |g - h|^2 the noise of an example."""
    submission = start("noise_scale_batch", share=share)
    batches, size, signal, noise = submission.batches(), 8, 0.0, 0.0
    for step in range(12):
        batch, w = next(batches), weights(submission)
        assert len(batch) == size
        loss, mean = submission.step(batch), bowl_gradient(w, batch)
        assert loss.item() == pytest.approx(bowl_loss(w, batch), rel=1e-4)
        np.testing.assert_allclose(submission.trainable[0].grad, mean, rtol=1e-4, atol=1e-5)
        if step % 10 == 0:
            g, h = (bowl_gradient(w, half) for half in batch.split(2))
            signal = 0.8 * signal + 0.2 * g @ h
            noise = 0.8 * noise + 0.2 * size / 4 * ((g - h) ** 2).sum()
            assert submission.recipe.batch_rule.signal == pytest.approx(signal, rel=1e-4)
            assert submission.recipe.batch_rule.noise == pytest.approx(noise, rel=1e-3)
            wanted = np.clip(share * noise / signal, 4, 32)
            size = 2 * int(wanted // 2)
    assert size == {1e-9: 4, 1e9: 32}.get(share, size)


def test_rates_are_those_of_the_batch_and_schedules_count_reference_steps():
    submission = tiny("noise_scale_batch", share=1.0)
    submission.recipe.batch_rule.load_state_dict({"size": 20, "signal": 2.0, "noise": 40.0})
    batches = submission.batches()
    submission.task.data._delivered = 160
    submission.step(next(batches))
    expected = submission.recipe.schedule(20) * np.sqrt(20 / 8)
    assert submission.factor() == pytest.approx(expected)
    lr = submission.recipe.optimizers[0].param_groups[0]["lr"]
    assert lr == pytest.approx(submission.hparams["lr"] * expected)


def test_pieces_of_ghost_batches_see_their_own_statistics():
    submission = tiny("ghost_batch_norm", batch_ratio=2, micro_batches=4)
    seen = []
    submission.task.model.norm.register_forward_hook(lambda m, i, o: seen.append(len(i[0])))
    submission.step(next(submission.batches()))
    assert seen == [4] * 4


def test_examples_are_learnt_put_off_or_left_out_by_their_rank_in_the_bank():
    submission = tiny("modify", drop_below=0.2, postpone_above=0.8)
    ids = torch.arange(8)
    assert submission._choose(ids, torch.linspace(0, 9, 8)).all(), "the bank knows nothing yet"
    submission.bank, submission.recent = torch.arange(50.0), torch.arange(50)
    values = torch.tensor([-1.0, 8.5, 10.5, 25.0, 39.5, 40.5, 49.5, 60.0])
    learnt = [False, False, True, True, True, False, False, False]
    assert submission._choose(ids, values).tolist() == learnt
    assert submission.postponed.tolist() == [5, 6, 7]


def test_gradients_are_of_what_is_learnt_and_the_bank_follows():
    submission = tiny("modify", drop_below=0.3, postpone_above=0.7, bank_momentum=0.75)
    batches = submission.batches()
    batch = next(batches)
    losses = submission.task.loss(batch, "none")
    values = losses.detach()
    before = values.quantile(torch.linspace(0, 1, 50))
    submission.bank, submission.recent = before.clone(), torch.arange(50)
    ranks = torch.tensor([(before < value).float().mean().item() for value in values])
    learnt = (ranks >= 0.3) & (ranks <= 0.7)
    assert 0 < learnt.sum() < len(learnt)
    expected = torch.autograd.grad(losses[learnt].mean(), submission.trainable)
    submission.gradients(batch)
    for tensor, gradient in zip(submission.trainable, expected, strict=True):
        assert torch.allclose(tensor.grad, gradient, atol=1e-6)
    mixed = 0.75 * before[batch.ids] + 0.25 * values
    assert torch.allclose(submission.bank[batch.ids], mixed)


def test_what_is_put_off_comes_once_it_fills_a_batch_and_is_learnt_whole():
    submission = tiny("modify", drop_below=0.0, postpone_above=0.0)
    submission.bank, submission.recent = torch.full((50,), -1.0), torch.arange(50)
    batches = submission.batches()
    hard = next(batches)
    submission.step(hard)
    assert all((tensor.grad == 0).all() for tensor in submission.trainable)
    again = next(batches)
    assert again.ids.tolist() == hard.ids.tolist()
    submission.step(again)
    assert any((tensor.grad != 0).any() for tensor in submission.trainable)
    assert next(batches).ids.tolist() != hard.ids.tolist()


def test_the_bank_asks_whom_it_met_last():
    submission = tiny("modify", bank_momentum=0.0)
    submission._remember(torch.arange(40), torch.full((40,), 9.0))
    submission._remember(torch.arange(40, 50), torch.full((10,), 1.0))
    submission._remember(torch.arange(20), torch.full((20,), 2.0))
    assert submission.recent.tolist() == [*range(45, 50), *range(20)]
    assert submission._choose(torch.arange(3), torch.full((3,), 1.5)).all(), "harder than a fifth"
