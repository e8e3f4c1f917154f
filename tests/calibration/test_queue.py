"""The smooth loss of the queue against the hard order, and the policy fitted with it."""

from __future__ import annotations

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxstake.calibration import queue
from jaxstake.microstaking import withdrawal_objective as objective
from jaxstake.microstaking import withdrawal_sample, withdrawals
from jaxstake.microstaking.withdrawals import Priority

COUNT, DAYS, CAP = 3000, 60, 10 * 225.0
EPOCHS = DAYS * 225


def drawn(number: int, *, count: int = COUNT):
    found = withdrawal_sample.sample(
        withdrawal_sample.Demand(), key=jax.random.fold_in(jax.random.key(7), number), count=count, epochs=EPOCHS
    )
    return found, float(withdrawal_sample.churn_for(found, epochs=EPOCHS, utilisation=0.9))


def binned(number: int):
    found, churn = drawn(number)
    return objective.workload(found, churn=churn, epochs=EPOCHS, period=225, lags=queue.lags_for(CAP))


@pytest.fixture(scope="module")
def load():
    return binned(0)


@pytest.fixture(scope="module")
def loss():
    return jax.jit(lambda weights, load, tail=0.5, score=0.0: objective.queue_loss(
        Priority(smallness=weights[0], score=weights[1]), load, tail_weight=tail, score_weight=score))  # fmt: skip


@pytest.fixture(scope="module")
def fitted(load):
    if not jax.config.jax_enable_x64:
        pytest.skip("needs double precision")
    return queue.fit_priority(load, largest_bonus=CAP, key=jax.random.key(0))


def test_workload_holds_every_request(load, tolerance):
    requests, churn = drawn(0)
    assert int(load.count.sum()) == COUNT
    assert float(load.work.sum()) == pytest.approx(float(requests.amount.sum()) / churn / 225, rel=100 * tolerance)
    assert load.work.shape == (DAYS, 32)
    shown = load.count.sum(0) > 0
    small = 32.0 / (32.0 + np.asarray(load.owner_total))[shown]
    assert (np.diff(small.reshape(-1)[::2]) > 0).all()


def test_zero_weights_are_the_reference(load, loss, tolerance):
    assert float(loss(jnp.zeros(2), load)) == pytest.approx(1.5, rel=100 * tolerance)
    assert float(loss(jnp.zeros(2), load, 0.2, 0.3)) == pytest.approx(1.5, rel=100 * tolerance)


@pytest.mark.usefixtures("only_x64")
@pytest.mark.parametrize("days", [1.0, 4.0, 10.0])
def test_smooth_loss_is_close_to_the_hard_order(load, loss, days):
    requests, churn = drawn(0)
    policy = Priority(smallness=days * 225)
    hard = queue.judge(policy, requests, churn=churn, epochs=EPOCHS, largest_bonus=CAP)
    assert float(hard.fifo_objective) == 1.5
    assert float(loss(jnp.asarray([days * 225, 0.0]), load)) == pytest.approx(float(hard.objective), abs=0.03)


@pytest.mark.usefixtures("only_x64")
def test_smooth_waits_tend_to_the_hard_ones(load):
    """First in, first out: within a period of the exact wait of the last request of each day."""
    requests, churn = drawn(0)
    hard = np.asarray(queue.fifo_waits(requests, churn=churn, epochs=EPOCHS)) / 225
    soft = np.asarray(jax.jit(objective.expected_waits)(Priority(), load, smear=0.05, softness=0.01))
    day = np.asarray(requests.arrival) // 225
    last = np.searchsorted(day, np.arange(DAYS), side="right") - 1
    assert (day[last] == np.arange(DAYS)).all()
    assert np.abs(hard[last] - soft.mean(1)).max() < 1.1
    assert soft.max() > 5.0


@pytest.mark.usefixtures("only_x64")
def test_loss_is_smooth_in_the_weights(load, loss):
    check_grads(
        lambda w: loss(225.0 * w, load, 0.5, 0.2), (jnp.asarray([3.0, 2.0]),), order=1, modes=("rev",), rtol=1e-5
    )
    slope = jax.jit(jax.grad(loss))
    for weights in ([0.0, 0.0], [CAP, 0.0]):
        assert np.isfinite(slope(jnp.asarray(weights), load, 0.5, 0.2)).all()


def test_modes_of_the_loss_agree(load, loss, x64):
    weights = jnp.asarray([[300.0, 10.0], [900.0, 500.0]])
    mapped = jax.vmap(lambda w: loss(w, load))(weights)
    eager = float(objective.queue_loss(Priority(smallness=weights[0, 0], score=weights[0, 1]), load))
    tolerance = 1e-10 if x64 else 1e-4
    np.testing.assert_allclose(mapped, [float(loss(w, load)) for w in weights], rtol=tolerance)
    assert float(mapped[0]) == pytest.approx(eager, rel=tolerance)
    assert mapped[0] != mapped[1]


def test_scores_that_weigh_nothing_leave_order_alone(load, loss, x64):
    """If all owners score alike, the weight of the score changes nothing."""
    alike = jax.tree.map(lambda x: x, load)
    alike = objective.Workload(**{**vars(alike), "score": jnp.zeros(32)})
    found = [float(loss(jnp.asarray([400.0, score]), alike)) for score in (0.0, 800.0)]
    assert found[0] == pytest.approx(found[1], rel=1e-12 if x64 else 1e-5)


def test_bad_settings_are_refused(load):
    requests, _ = drawn(0, count=5)
    with pytest.raises(ValueError, match="weights must add up to at most 2475.0 epochs, lags less one, got 2500"):  # noqa: RUF043
        objective.expected_waits(Priority(smallness=2500.0), load)
    traced = jax.jit(lambda a: objective.queue_loss(Priority(smallness=a), load))(2500.0)
    assert jnp.isnan(traced)
    for name in ("largest_bonus", "tail_weight", "score_weight", "half_size"):
        with pytest.raises(ValueError, match=f"{name} must be .* got -1"):
            queue.fit_priority(load, **{"largest_bonus": CAP, name: -1.0}, key=jax.random.key(0))
    with pytest.raises(ValueError, match="largest_bonus must be less than the lags of the load, 12, got 9000"):
        queue.fit_priority(load, largest_bonus=9000, key=jax.random.key(0))
    empty = objective.Workload(**{**vars(load), "count": jnp.zeros_like(load.count)})
    with pytest.raises(ValueError, match="load must hold at least one request"):
        queue.fit_priority(empty, largest_bonus=CAP, key=jax.random.key(0))
    with pytest.raises(ValueError, match="max_wait must exceed the largest wait first in, first out, 900 epochs, got"):
        queue.allowed_bonus(max_wait=450, fifo_largest=900)
    with pytest.raises(ValueError, match="churn must be greater than 0 and finite"):
        objective.workload(requests, churn=0.0, epochs=EPOCHS, period=225, lags=12)
    with pytest.raises(ValueError, match="count must be at least 1, got 0"):
        drawn(0, count=0)


def test_sample_is_what_it_says(x64):
    found, churn = drawn(3, count=20_000)
    assert bool((jnp.diff(found.arrival) >= 0).all())
    assert int(found.arrival.max()) < EPOCHS
    assert float(jnp.median(found.amount)) == pytest.approx(np.exp(1.5), rel=0.05)
    assert float(jnp.std(jnp.log(found.amount))) == pytest.approx(1.2, rel=0.03)
    assert float(jnp.sum(found.owner_total)) == pytest.approx(2 * float(jnp.sum(found.amount)), rel=0.1)
    assert churn * EPOCHS * 0.9 == pytest.approx(float(jnp.sum(found.amount)), rel=1e-4)
    bad = withdrawal_sample.Demand(log_sd=-1.0)
    with pytest.raises(ValueError, match="demand.log_sd must be greater than 0 and finite, got -1.0"):  # noqa: RUF043
        withdrawal_sample.sample(bad, key=jax.random.key(0), count=3, epochs=9)


def test_single_precision_is_refused(x64):
    if x64:
        pytest.skip("precision is double")
    requests, churn = drawn(0, count=5)
    with pytest.raises(ValueError, match="need jax_enable_x64") as error:
        queue.fifo_waits(requests, churn=churn, epochs=EPOCHS)
    assert "Gwei" in str(error.value)


# --- The fit --------------------------------------------------------------------------------------------------------


def test_fit_converges_within_the_bound(fitted, load, loss):
    assert bool(fitted.fit.converged)
    assert int(fitted.fit.agreeing) >= 2
    total = float(withdrawals.largest_bonus(fitted.priority))
    assert 0 < total <= CAP
    found = float(loss(jnp.asarray([fitted.priority.smallness, fitted.priority.score]), load))
    assert found == pytest.approx(float(fitted.fit.loss), rel=1e-9)
    grid = [float(loss(jnp.asarray([a * CAP, b * (1 - a) * CAP]), load)) for a in (0, 0.5, 1) for b in (0, 0.5, 1)]
    assert found <= min(grid) + 1e-4


def test_fit_beats_fifo_on_requests_not_fitted_to(fitted):
    for number in (1, 2, 3):
        requests, churn = drawn(number)
        found = queue.judge(fitted.priority, requests, churn=churn, epochs=EPOCHS, largest_bonus=CAP)
        assert float(found.objective) < 1.4 < float(found.fifo_objective)
        assert float(found.waits.largest) <= float(found.bound) <= float(found.fifo.largest) + CAP + 20.0
        assert float(found.waits.by_amount) == pytest.approx(float(found.fifo.by_amount), rel=0.01)


@pytest.mark.usefixtures("only_x64")
def test_what_cannot_be_fitted_is_not_called_converged(fitted, load):
    """A workload with a NaN: no parameters, no convergence."""
    broken = objective.Workload(**{**vars(load), "work": load.work.at[3, 3].set(jnp.nan)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = queue.fit_priority(broken, largest_bonus=CAP, key=jax.random.key(0))
    assert not bool(found.fit.converged)
    assert not np.isfinite(float(found.fit.loss))
