"""Methods that find their rates on the way, by tries and rehearsals."""

import numpy as np
import pytest
import torch
from methods import bowl_gradient, bowl_loss, module, start, weights


def test_refined_schedules_fall_where_gradients_are_large():
    refine = module("refined_linear_decay").refine
    flat = refine([2.0] * 40, 10)
    np.testing.assert_allclose(flat, np.linspace(1, 0, 10))
    peaked = refine([1.0] * 20 + [10.0] * 20, 10)
    assert max(peaked[5:]) < 0.2 * min(peaked[:4])
    assert max(peaked) == 1


@pytest.mark.parametrize("name", ["refined_linear_decay", "jest"])
def test_what_comes_before_is_a_whole_run_in_short(name):
    submission = start(name)
    rates = []
    step = submission.step
    submission.step = lambda batch: (rates.append(submission.factor()), step(batch))[1]
    next(submission.batches())
    assert max(rates) == 1 > 0.6 > rates[-1]


@pytest.mark.parametrize("name", ["refined_linear_decay", "cyclical_range_test", "jest"])
def test_a_rehearsal_leaves_weights_as_they_were(name):
    submission = start(name)
    before = weights(submission)
    next(submission.batches())
    np.testing.assert_array_equal(weights(submission), before)
    assert submission.steps == 0
    assert submission.task.data.delivered > 8
    assert not any(optimizer.state for optimizer in submission.recipe.optimizers)


def test_cycles_are_triangles_below_where_the_smoothed_loss_was_lowest():
    triangle = module("cyclical_range_test").triangle
    found = [triangle(step, 10, 2.0) for step in range(0, 21, 5)]
    assert found == pytest.approx([0.5, 2.0, 0.5, 2.0, 0.5])
    submission = start("cyclical_range_test", momentum=0.9)
    submission.budget = 400  # for a test of twenty steps
    w, velocity, losses, rates = weights(submission), 0.0, [], np.geomspace(1e-3, 10, 20)
    next(submission.batches())
    submission.task.data.position = 0
    for rate, batch in zip(rates, submission.task.data.loader(8), strict=False):
        losses.append(bowl_loss(w, batch))
        gradient = bowl_gradient(w, batch)
        velocity = 0.9 * velocity + gradient / max(1, np.linalg.norm(gradient))
        w = w - rate * velocity
    late = 0.9 ** -np.arange(20)
    smoothed = [np.average(losses[:count], weights=late[:count]) for count in range(1, 21)]
    assert 0 < np.argmin(smoothed) < 19
    assert submission.highest == pytest.approx(rates[np.argmin(smoothed)] / 4)
    assert submission.factor() == pytest.approx(submission.highest / 4)


def test_the_best_member_of_a_population_is_judged():
    submission = start("population")
    submission.round = 2
    batches = submission.batches()
    for _ in range(6):
        submission.step(next(batches))
    best, own = int(np.argmin(submission.losses)), weights(submission)
    with submission.eval_weights():
        np.testing.assert_array_equal(
            weights(submission), submission.members[best]["model"]["head"]
        )
    np.testing.assert_array_equal(weights(submission), own)


def test_the_worst_member_goes_on_as_the_best_does_at_another_rate():
    submission = start("population", lr=0.05, beta1=0.5, beta2=0.9)
    submission.round = 2
    last = submission.task.data.batch(torch.tensor([49]))
    batches, rates = submission.batches(), [0.5, 1.0, 2.0]
    members = [(weights(submission), 0.0, 0.0, 0)] * 3
    for _ in range(3):
        for number, rate in enumerate(rates):
            w, m, v, step = members[number]
            for _ in range(2):
                batch = next(batches)
                assert 49 not in batch.ids
                submission.step(batch)
                g, step = bowl_gradient(w, batch), step + 1
                m, v = 0.5 * m + 0.5 * g, 0.9 * v + 0.1 * g**2
                scale = np.sqrt(v / (1 - 0.9**step)) + 1e-8
                w = w - 0.05 * rate * m / (1 - 0.5**step) / scale
            members[number] = w, m, v, step
        losses = [bowl_loss(w, last) for w, *_ in members]
        assert submission.losses == pytest.approx(losses, rel=1e-4)
        best, worst = int(np.argmin(losses)), int(np.argmax(losses))
        members[worst], rates[worst] = members[best], submission.rates[worst]
        assert submission.rates == rates
        assert rates[worst] / rates[best] in (pytest.approx(0.8), pytest.approx(1.25))
        for member, (w, *_) in zip(submission.members, members, strict=True):
            np.testing.assert_allclose(member["model"]["head"], w, rtol=1e-4, atol=1e-6)


def test_a_search_forecasts_and_looks_where_it_is_promising():
    autolrs = module("autolrs")
    falling = [np.exp(-0.1 * step) for step in range(5)]
    assert autolrs.forecast(falling, 1000) == pytest.approx(np.exp(-0.1 * 20), rel=1e-6)
    assert autolrs.forecast([1.0, float("nan")], 10) == 1e9
    low_at = 0.7
    places = [0.1, 0.5, 0.9]
    for _ in range(6):
        values = [1 + (place - low_at) ** 2 for place in places]
        places.append(autolrs.choose_next(places, values))
    assert min(abs(place - low_at) for place in places[3:]) < 0.1


def test_a_stage_takes_the_rate_of_the_best_forecast():
    """Adam's first step is the sign of the gradient; two losses go on for four by their ratio."""
    submission = start("autolrs", highest=5.0)
    w, tried, inner = weights(submission), [], submission._try
    submission._try = lambda rate, batches: (tried.append(rate), inner(rate, batches))[1]
    next(submission.batches())
    submission.task.data.position = 0
    loader = submission.task.data.loader(8)
    one, two = next(loader), next(loader)
    first = bowl_loss(w, one)
    ends = [bowl_loss(w - rate * np.sign(bowl_gradient(w, one)), two) for rate in tried]
    forecasts = [first * (end / first) ** 4 for end in ends]
    assert tried[:3] == pytest.approx([0.5, 5 * 100**-0.1, 5 * 100**-0.9])
    assert len(tried) == 5
    assert submission.rate == tried[int(np.argmin(forecasts))]
    assert min(tried) < submission.rate < max(tried)


def test_stages_take_the_rate_that_was_found():
    submission = start("autolrs", highest=0.05)
    submission.stage_steps = 4
    batches = submission.batches()
    before = weights(submission)
    batch = next(batches)
    np.testing.assert_array_equal(weights(submission), before)
    assert submission.factor() == submission.rate > 0
    for _ in range(4):
        submission.step(batch)
        batch = next(batches)
    assert submission.until == 8
