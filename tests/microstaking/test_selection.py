"""Selection by stake times score, and that splitting one operator into many gains nothing."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads
from scipy import stats

from jaxstake.economy.apr import apr
from jaxstake.economy.scenario import Scenario
from jaxstake.microstaking import selection

STAKES, SCORES = np.array([3.0, 1.0, 40.0, 0.0]), np.array([0.5, 2.0, -1.0, 9.0])


def shares(**settings_):
    return selection.selection_shares(jnp.asarray(STAKES, float), jnp.asarray(SCORES, float), **settings_)


@pytest.mark.parametrize("eta", [0.0, 0.7, -2.0])
@pytest.mark.parametrize("a", [1.0, 0.5])
def test_shares_are_stake_times_score(eta, a, tolerance):
    want = STAKES**a * np.exp(eta * SCORES)
    want[3] = 0.0
    np.testing.assert_allclose(shares(score_power=eta, stake_power=a), want / want.sum(), rtol=50 * tolerance)


def test_only_differences_of_scores_count(tolerance):
    moved = selection.selection_shares(jnp.asarray(STAKES, float), jnp.asarray(SCORES + 3.0, float))
    np.testing.assert_allclose(moved, shares(), rtol=100 * tolerance)


def test_concentration_is_that_of_the_shares(x64):
    found = selection.select(jnp.asarray(STAKES, float), jnp.asarray(SCORES, float))
    p = np.asarray(found.shares, float)
    assert float(found.entropy_nats) == pytest.approx(stats.entropy(p), rel=1e-10 if x64 else 1e-5)
    assert float(found.herfindahl) == pytest.approx((p**2).sum(), rel=1e-10 if x64 else 1e-5)
    assert float(found.effective_number) == pytest.approx(1.0 / (p**2).sum(), rel=1e-10 if x64 else 1e-5)


def test_proposals_add_up(x64):
    found = selection.expected_proposals(jnp.asarray(STAKES, float), jnp.asarray(SCORES, float), slots=7200.0)
    assert float(found.sum()) == pytest.approx(7200.0, rel=1e-12 if x64 else 1e-5)


def test_modes_and_gradients(only_x64):
    f = lambda s: shares_of(s)[2]  # noqa: E731
    shares_of = lambda s: selection.selection_shares(jnp.asarray(STAKES), s, score_power=0.3)  # noqa: E731
    s = jnp.asarray(SCORES)
    check_grads(f, (s,), order=2, modes=["fwd", "rev"], rtol=1e-6)
    np.testing.assert_allclose(jax.jit(shares_of)(s), shares_of(s), rtol=1e-13)
    np.testing.assert_allclose(jax.vmap(shares_of)(jnp.stack([s, s + 1.0]))[1], shares_of(s), rtol=1e-12)
    slopes = jax.grad(lambda w: selection.selection_shares(w, s)[3])(jnp.asarray(STAKES))
    assert bool(jnp.all(jnp.isfinite(slopes)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: selection.selection_shares(jnp.zeros(2), jnp.zeros(2)), "positive sum, got 0"),
        (lambda: selection.selection_shares(jnp.ones(2), jnp.zeros(3)), "vectors of one length"),
        (lambda: selection.selection_shares(-jnp.ones(2), jnp.zeros(2)), "stakes must be at least 0"),
        (lambda: selection.splitting_gain(jnp.ones(2), jnp.zeros(2), operator=2, parts=2), r"in \[0, 1\], got 2"),
        (lambda: selection.splitting_gain(jnp.ones(2), jnp.zeros(2), operator=0, parts=0), "at least 1, got 0"),
        (lambda: selection.expected_proposals(jnp.ones(2), jnp.zeros(2), slots=-1.0), "slots must be at least 0"),
    ],
)
def test_bad_values_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
    assert message


# --- Splitting ------------------------------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(0.5, 1e4, width=32), min_size=2, max_size=5), st.integers(1, 6), st.floats(-1.5, 1.5))
def test_splitting_gains_nothing_under_stake_times_score(stakes, parts, eta):
    scores = np.linspace(-1.0, 1.0, len(stakes))
    gain = selection.splitting_gain(jnp.asarray(stakes, float), jnp.asarray(scores, float), operator=0, parts=parts,
                                    score_power=eta)  # fmt: skip
    assert abs(float(gain)) < 2e-4


@pytest.mark.parametrize("parts", [2, 10])
@pytest.mark.parametrize(("a", "sign"), [(0.5, 1), (0.9, 1), (1.5, -1)])
def test_splitting_pays_under_a_concave_rule(parts, a, sign, x64):
    stakes = np.array([64.0, 320.0, 3200.0])
    gain = float(selection.splitting_gain(jnp.asarray(stakes, float), jnp.zeros(3), operator=0, parts=parts,
                                          stake_power=a))  # fmt: skip
    p = 64.0**a / (stakes**a).sum()
    more = parts ** (1 - a)
    assert np.sign(gain) == sign
    assert gain == pytest.approx(more / (1 - p + p * more) - 1, rel=1e-9 if x64 else 1e-3)


@pytest.mark.parametrize("parts", [2, 5, 64])
def test_splitting_leaves_the_score_of_an_operator(parts, tolerance):
    """Each of its validators becomes `parts` of equal stake and the same score; the order is shuffled."""
    stakes, scores = np.array([32.0, 64.0, 2048.0]), np.array([0.4, -1.0, 0.9])
    before = selection.operator_score(jnp.asarray(scores, float), jnp.asarray(stakes, float), jnp.zeros(3, int),
                                      operators=1)  # fmt: skip
    after = selection.operator_score(jnp.asarray(np.tile(scores, parts), float),
                                     jnp.asarray(np.tile(stakes, parts) / parts, float),
                                     jnp.zeros(3 * parts, int), operators=1)  # fmt: skip
    assert float(before[0]) == pytest.approx((stakes * scores).sum() / stakes.sum(), rel=10 * tolerance)
    assert float(after[0]) == pytest.approx(float(before[0]), rel=100 * tolerance)


def test_splitting_leaves_the_yield(x64):
    """Income per ETH is the same for one validator of 2,048 ETH and for 64 of 32; only slashing, a hazard that is
    shared with others, depends on the own size, by less than a millionth of the yield."""

    def rate(balance):
        base = Scenario()
        return apr(dataclasses.replace(
            base, validator=dataclasses.replace(base.validator, effective_balance_eth=balance)))  # fmt: skip

    whole, part = rate(2048.0), rate(32.0)
    assert float(whole.gross) == pytest.approx(float(part.gross), rel=1e-12 if x64 else 1e-5)
    assert float(whole.net) == pytest.approx(float(part.net), rel=1e-6 if x64 else 1e-4)
