"""Scores, the beta-binomial law, factors without a leak, rankings against counts, exit hazards by hand."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads
from scipy import stats
from scipy.special import gammaln

from jaxstake.microstaking import ranking, scoring, scoring_factors, scoring_tenure
from jaxstake.microstaking.scoring import Observations, Scoring

FEW = settings(max_examples=25, deadline=None)
DUTIES = [(0.0, 0.0), (0.0, 10.0), (3.0, 10.0), (10.0, 10.0), (447.0, 450.0), (5.0, 450.0), (3150.0, 3150.0)]


def observations(rng: np.random.Generator, rows: int = 30) -> Observations:
    assigned = rng.integers(1, 50, rows).astype(float)
    return Observations(
        factors=jnp.asarray(rng.normal(size=(rows, 3)), float),
        interval=jnp.asarray(np.arange(rows) % 3),
        attested=jnp.asarray(np.floor(assigned * rng.uniform(size=rows)), float),
        assigned=jnp.asarray(assigned, float),
    )


def model(**changes) -> Scoring:
    at = {"logits": jnp.array([0.3, -0.5]), "strength": jnp.asarray(0.7), "overdispersion": jnp.asarray(0.2),
          "intercepts": jnp.array([0.5, 1.0, -0.2])}  # fmt: skip
    return Scoring(**(at | changes))


# --- Weights and scores ---------------------------------------------------------------------------------------------


def test_weights_are_a_softmax(tolerance):
    got = scoring.weights(jnp.array([0.3, -0.5]))
    want = np.exp([0.0, 0.3, -0.5]) / np.exp([0.0, 0.3, -0.5]).sum()
    np.testing.assert_allclose(got, want, rtol=10 * tolerance)
    np.testing.assert_allclose(scoring.normalised(7.0 * got), got, rtol=10 * tolerance)


def test_score_is_a_weighted_sum(rng, tolerance):
    factors, weights = rng.normal(size=(4, 5, 3)), np.array([0.2, 0.3, 0.5])
    got = scoring.score(jnp.asarray(factors, float), weights=jnp.asarray(weights, float))
    np.testing.assert_allclose(got, factors @ weights, rtol=100 * tolerance, atol=100 * tolerance)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: scoring.normalised(jnp.zeros(3)), "positive sum, got 0"),
        (lambda: scoring.normalised(jnp.array([1.0, -1.0, 1.0])), "at least 0 and finite, got -1"),
        (lambda: scoring.normalised(jnp.ones(2)), "vector of 3"),
        (lambda: scoring.weights(jnp.ones(3)), "vector of 2"),
        (lambda: scoring.weights(jnp.array([0.0, jnp.inf])), "finite, got inf"),
        (lambda: scoring.score(jnp.ones(2), weights=jnp.ones(3)), r"\(2,\) and \(3,\)"),
        (lambda: log_probability(11.0, 10.0, 0.0, 0.1), "at most assigned, got 11"),
        (lambda: log_probability(1.0, 10.0, 0.0, 1.0), r"in \[0, 1\), got 1"),
        (lambda: log_probability(-1.0, 10.0, 0.0, 0.1), "attested must be at least 0"),
    ],
)
def test_bad_values_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
    assert message


def test_a_bad_traced_value_is_nan():
    assert np.isnan(jax.jit(lambda rho: log_probability(1.0, 2.0, 0.0, rho))(1.5))
    assert np.all(np.isnan(jax.jit(scoring.normalised)(jnp.zeros(3))))


# --- Beta-binomial --------------------------------------------------------------------------------------------------


def log_probability(m, n, eta, rho):
    return scoring.log_probability(attested=m, assigned=n, log_odds=eta, overdispersion=rho)


@pytest.mark.parametrize("rho", [1e-3, 0.02, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("eta", [-4.0, 0.0, 1.5, 6.0])
def test_beta_binomial_is_scipys(rho, eta, x64):
    p = 1.0 / (1.0 + np.exp(-eta))
    a, b = p * (1 - rho) / rho, (1 - p) * (1 - rho) / rho
    for m, n in DUTIES:
        want = stats.betabinom.logpmf(m, n, a, b)
        error = 1e-10 if x64 else 4e-6
        assert float(log_probability(m, n, eta, rho)) == pytest.approx(want, abs=error * max(n, 10.0), rel=error)


@pytest.mark.parametrize("rho", [0.0, 1e-30, 1e-13])
def test_without_overdispersion_it_is_binomial(rho, x64):
    for m, n in DUTIES:
        want = stats.binom.logpmf(m, n, 1.0 / (1.0 + np.exp(-1.5)))
        got = float(log_probability(m, n, 1.5, rho))
        assert got == pytest.approx(want, abs=(1e-12 if x64 else 4e-6) * max(n, 10.0) + rho * n * n * 10)


def test_it_adds_up_to_one_with_the_stated_variance(x64):
    n, rho, m = 40.0, 0.15, jnp.arange(41).astype(float)
    p = np.exp(np.asarray(jax.vmap(lambda k: log_probability(k, n, 0.4, rho))(m), float))
    mean = 1.0 / (1.0 + np.exp(-0.4))
    assert p.sum() == pytest.approx(1.0, rel=1e-12 if x64 else 1e-4)
    assert (p * m).sum() == pytest.approx(n * mean, rel=1e-10 if x64 else 1e-4)
    variance = (p * (np.asarray(m) - n * mean) ** 2).sum()
    assert variance == pytest.approx(n * mean * (1 - mean) * (1 + (n - 1) * rho), rel=1e-10 if x64 else 1e-3)


def test_misses_and_hits_are_symmetric(tolerance):
    one, other = log_probability(3.0, 20.0, 0.7, 0.1), log_probability(17.0, 20.0, -0.7, 0.1)
    assert float(one) == pytest.approx(float(other), rel=100 * tolerance)


@pytest.mark.parametrize("rho", [0.0, 1e-12, 1e-3, 0.3, 0.99])
@pytest.mark.parametrize("eta", [-800.0, -30.0, 2.0, 30.0, 800.0])
def test_gradients_are_finite_everywhere(rho, eta):
    for m, n in DUTIES:
        slopes = jax.grad(lambda e, r, m=m, n=n: log_probability(m, n, e, r), argnums=(0, 1))(eta, rho)
        assert all(bool(jnp.isfinite(s)) for s in slopes), (m, n, slopes)


def test_the_gradient_at_no_overdispersion_is_its_limit(x64):
    """By hand: `d log f/d rho` at 0 is `m(m-1)/2 (1-p)/p + (n-m)(n-m-1)/2 p/(1-p) - m(n-m)`, from the sums of j."""
    m, n, p = 3.0, 10.0, 1.0 / (1.0 + np.exp(-1.0))
    want = m * (m - 1) / (2 * p) + (n - m) * (n - m - 1) / (2 * (1 - p)) - n * (n - 1) / 2
    got = jax.grad(lambda r: log_probability(m, n, 1.0, r))(0.0)
    assert float(got) == pytest.approx(want, rel=1e-12 if x64 else 1e-5)


def test_check_grads(only_x64, rng):
    data = observations(rng)
    check_grads(lambda e, r: log_probability(7.0, 9.0, e, r), (0.3, 0.2), order=2, modes=["rev"], rtol=1e-5)
    check_grads(lambda at: scoring.negative_log_likelihood(at, data), (model(),), order=1, modes=["rev"], rtol=1e-5)
    assert data.attested.shape == (30,)


# --- Likelihood -----------------------------------------------------------------------------------------------------


def test_the_loss_is_scipys_up_to_a_constant(rng, x64):
    data, at = observations(rng), model()
    w = np.asarray(scoring.weights(at.logits), float)
    eta = np.asarray(at.intercepts)[np.asarray(data.interval)] + 0.7 * np.asarray(data.factors) @ w
    p, m, n = 1 / (1 + np.exp(-eta)), np.asarray(data.attested, float), np.asarray(data.assigned, float)
    choose = gammaln(n + 1) - gammaln(m + 1) - gammaln(n - m + 1)
    want = -(stats.betabinom.logpmf(m, n, 4 * p, 4 * (1 - p)) - choose).mean()
    assert float(scoring.negative_log_likelihood(at, data)) == pytest.approx(want, rel=1e-11 if x64 else 1e-4)


def test_weights_of_rows_count_rows(rng, x64):
    data, at = observations(rng), model()
    twice = jax.tree.map(lambda x: jnp.concatenate([x, x[:5]]), data)
    weighted = scoring.negative_log_likelihood(at, data, jnp.ones(30).at[:5].set(2.0))
    whole = scoring.negative_log_likelihood(at, twice)
    assert float(weighted) == pytest.approx(float(whole), rel=1e-12 if x64 else 1e-5)


def test_a_shift_of_all_factors_is_an_intercept(rng, x64):
    data, at = observations(rng), model()
    moved = Observations(**(vars(data) | {"factors": data.factors + 0.4}))
    same = scoring.negative_log_likelihood(model(intercepts=at.intercepts - 0.7 * 0.4), moved)
    loss = scoring.negative_log_likelihood(at, data)
    assert float(same) == pytest.approx(float(loss), rel=1e-12 if x64 else 1e-5)


def test_modes_agree_and_traced_lanes_are_poisoned(rng, x64):
    data = observations(rng)
    eager = scoring.negative_log_likelihood(model(), data)
    lanes = jax.vmap(lambda k: scoring.negative_log_likelihood(model(strength=k), data))(jnp.array([0.7, -1.0]))
    jitted = jax.jit(scoring.negative_log_likelihood)(model(), data)
    assert float(lanes[0]) == pytest.approx(float(eager), rel=1e-12 if x64 else 1e-5)
    assert float(jitted) == pytest.approx(float(eager), rel=1e-12 if x64 else 1e-5)
    assert np.isnan(lanes[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attested": jnp.full(30, 60.0)}, r"in \[0, assigned\], got 60"),
        ({"assigned": jnp.ones(3)}, "assigned must have the shape"),
        ({"factors": jnp.ones((30, 2))}, r"factors must have shape \(30, 3\)"),
        ({"factors": jnp.full((30, 3), jnp.nan)}, "factors must be finite, got nan"),
        ({"interval": jnp.full(30, 3)}, "below the number of intercepts, got 3"),
        ({"attested": jnp.ones(0)}, "at least one row"),
    ],
)
def test_bad_rows_are_named(rng, change, message):
    data = Observations(**(vars(observations(rng)) | change))
    with pytest.raises(ValueError, match=message):
        scoring.negative_log_likelihood(model(), data)
    assert data.factors.ndim == 2


# --- Factors --------------------------------------------------------------------------------------------------------


def panel(rng, validators=12, intervals=8):
    assigned = np.where(rng.uniform(size=(validators, intervals)) < 0.85, 100.0, 0.0)
    return np.floor(assigned * rng.uniform(0.9, 1.0, assigned.shape)), assigned


def test_factors_are_those_by_hand(rng, x64):
    """NumPy, one validator and interval at a time; interval 3 is made an incident."""
    done, duties = panel(rng)
    done[:, 3] = np.floor(0.5 * duties[:, 3])
    found = scoring_factors.past_factors(jnp.asarray(done, float), jnp.asarray(duties, float))
    assert np.flatnonzero(found.incident).tolist() == [3]
    median = [np.median((done / np.maximum(duties, 1))[duties[:, s] > 0, s]) for s in range(8)]
    raw, usable = np.zeros((12, 8, 3)), np.zeros((12, 8), bool)
    for v, t in itertools.product(range(12), range(8)):
        past = [done[v, s] / duties[v, s] - median[s] for s in range(t) if duties[v, s] > 0 and s != 3]
        usable[v, t] = duties[v, t] > 0 and t != 3 and len(past) >= 3
        if usable[v, t]:
            first = np.flatnonzero(duties[v] > 0)[0]
            raw[v, t] = np.mean(past), np.log(1 + t - first), -0.5 * np.log(np.var(past) + 1e-6)
    np.testing.assert_array_equal(found.usable, usable)
    for t in np.flatnonzero(usable.any(axis=0)):
        x = raw[usable[:, t], t]
        spread = x.std(axis=0)
        spread[spread < 1e-9] = np.inf
        np.testing.assert_allclose(found.values[usable[:, t], t], (x - np.median(x, axis=0)) / spread,
                                   rtol=1e-9 if x64 else 2e-2, atol=1e-9 if x64 else 5e-3)  # fmt: skip


@pytest.mark.parametrize("reliability", ["deviation", "bad share"])
def test_the_interval_to_be_predicted_and_the_future_do_not_leak(rng, reliability):
    done, duties = panel(rng)
    changed = done.copy()
    changed[:, 5:] = duties[:, 5:] - np.floor(rng.uniform(size=(12, 3)) * 0.05 * duties[:, 5:])
    make = [
        scoring_factors.past_factors(jnp.asarray(x, float), jnp.asarray(duties, float), reliability=reliability)
        for x in (done, changed)
    ]
    np.testing.assert_array_equal(make[0].values[:, :6], make[1].values[:, :6])
    assert not np.array_equal(make[0].values[:, 6:], make[1].values[:, 6:])


def test_factors_ignore_the_order_of_validators_and_agree_in_every_mode(rng, x64):
    done, duties = panel(rng)
    order = rng.permutation(12)
    make = scoring_factors.past_factors
    eager = make(jnp.asarray(done, float), jnp.asarray(duties, float))
    other = jax.jit(make)(jnp.asarray(done[order], float), jnp.asarray(duties[order], float))
    close = {"rtol": 1e-9, "atol": 1e-9} if x64 else {"rtol": 1e-2, "atol": 1e-2}
    np.testing.assert_allclose(other.values, np.asarray(eager.values)[order], **close)


def test_factors_without_variation_are_zero():
    found = scoring_factors.past_factors(jnp.full((5, 6), 10.0), jnp.full((5, 6), 10.0))
    assert bool(jnp.all(found.values == 0.0))
    assert np.asarray(found.usable).sum() == 15


def test_siblings_leave_a_validator_out(rng):
    done, duties, operator = rng.integers(80, 101, 20).astype(float), np.full(20, 100.0), np.repeat(np.arange(4), 5)

    def make(x):
        return scoring_factors.sibling_factors(jnp.asarray(x, float), jnp.asarray(duties, float),
                                               jnp.asarray(operator), operators=4)  # fmt: skip

    rate = done / duties
    mean = np.array([np.mean(np.delete(rate[operator == operator[v]], v % 5)) for v in range(20)])
    got = np.asarray(make(done).values)[:, 0, 0]
    np.testing.assert_allclose(got, (mean - np.median(mean)) / mean.std(), atol=2e-4)
    with pytest.raises(ValueError, match="one shape"):
        scoring_factors.sibling_factors(jnp.ones(2), jnp.ones(3), jnp.zeros(2, int), operators=1)


# --- Ranking --------------------------------------------------------------------------------------------------------


def brute(scores, outcomes, groups, weights):
    won = pairs = 0.0
    for i, j in itertools.permutations(range(len(scores)), 2):
        if groups[i] == groups[j] and outcomes[i] > outcomes[j]:
            pairs += weights[i] * weights[j]
            won += weights[i] * weights[j] * ((scores[i] > scores[j]) + 0.5 * (scores[i] == scores[j]))
    return won, pairs


rows = st.lists(
    st.tuples(st.integers(-3, 3), st.integers(0, 2), st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=20
)


@FEW
@given(rows)
def test_rankings_are_brute_counts(drawn):
    s, y, g, w = (np.array(column) for column in zip(*drawn, strict=True))
    arrays = {"groups": jnp.asarray(g), "weights": jnp.asarray(w, float)}
    for measure, outcome in ((ranking.concordance, y), (ranking.auc, y > 0)):
        won, pairs = brute(s, outcome.astype(int), g, w)
        got = measure(jnp.asarray(s, float), jnp.asarray(outcome), **arrays)
        assert float(got.pairs) == pairs
        if pairs:
            assert float(got.value) == pytest.approx(won / pairs, rel=1e-6)
        else:
            assert np.isnan(got.value)


def test_auc_is_mann_whitneys(rng, x64):
    scores, labels = rng.normal(size=500).round(1), rng.uniform(size=500) < 0.2
    u = stats.mannwhitneyu(scores[labels], scores[~labels]).statistic
    got = ranking.auc(jnp.asarray(scores, float), jnp.asarray(labels))
    assert float(got.value) == pytest.approx(u / (labels.sum() * (~labels).sum()), rel=1e-12 if x64 else 1e-5)
    same = ranking.concordance(jnp.asarray(scores, float), jnp.asarray(labels, float))
    assert float(same.value) == pytest.approx(float(got.value), rel=1e-12 if x64 else 1e-5)
    reversed_ = ranking.auc(-jnp.asarray(scores, float), jnp.asarray(labels))
    assert float(reversed_.value) == pytest.approx(1.0 - float(got.value), rel=1e-5)
    lanes = jax.jit(jax.vmap(ranking.auc, in_axes=(0, None)))(jnp.asarray([scores, -scores], float), labels)
    assert float(lanes.value[0]) == pytest.approx(float(got.value), rel=1e-12 if x64 else 1e-5)


def test_concordance_is_kendalls_without_ties(rng):
    x, y = rng.normal(size=(2, 300))
    got = ranking.concordance(jnp.asarray(x, float), jnp.asarray(y, float))
    assert 2 * float(got.value) - 1 == pytest.approx(stats.kendalltau(x, y).statistic, abs=1e-4)


def test_one_class_is_no_ranking():
    for measure in (ranking.auc, ranking.concordance):
        got = measure(jnp.array([1.0, 2.0]), jnp.array([True, True]))
        assert np.isnan(got.value)
        assert float(got.pairs) == 0.0
    with pytest.raises(ValueError, match="labels must have the shape"):
        ranking.auc(jnp.ones(2), jnp.ones(3))
    with pytest.raises(ValueError, match="weights must be at least 0"):
        ranking.auc(jnp.ones(2), jnp.ones(2), weights=jnp.array([1.0, -1.0]))


def test_smooth_auc_converges_to_the_hard_one(rng, x64):
    s, y, g = rng.normal(size=60).round(1), rng.uniform(size=60) < 0.4, rng.integers(0, 3, 60)
    arguments = (jnp.asarray(s, float), jnp.asarray(y))
    hard = float(ranking.auc(*arguments, groups=jnp.asarray(g)).value)
    gaps = [
        abs(float(ranking.smooth_auc(*arguments, temperature=t, groups=jnp.asarray(g)).value) - hard)
        for t in (1.0, 0.1, 0.01, 0.001)
    ]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 1e-6
    if x64:
        loss = lambda x: ranking.smooth_auc(x, jnp.asarray(y), temperature=0.5).value  # noqa: E731
        check_grads(loss, (arguments[0],), order=1, modes=["rev"], rtol=1e-5)


def test_rank_correlation_is_spearmans(rng):
    x, y = rng.normal(size=(2, 80)).round(1)
    got = ranking.rank_correlation(jnp.asarray(x, float), jnp.asarray(x + y, float).round(1))
    assert float(got) == pytest.approx(stats.spearmanr(x, np.asarray(jnp.asarray(x + y, float).round(1))).statistic,
                                       abs=1e-5)  # fmt: skip
    assert np.isnan(ranking.rank_correlation(jnp.ones(3), jnp.arange(3.0)))


# --- Tenure ---------------------------------------------------------------------------------------------------------


def test_hazard_is_counted_by_hand():
    """One truncated on the left, one that comes back, one that leaves, one censored from the start."""
    seen = jnp.array([[1, 1, 0, 0, 0], [0, 1, 0, 1, 1], [0, 1, 1, 0, 0], [0, 0, 0, 0, 1]])
    found = scoring_tenure.exit_hazard(seen)
    assert found.at_risk.tolist() == [2.0, 1.0, 1.0, 0.0]
    assert found.exits.tolist() == [0.0, 1.0, 0.0, 0.0]
    np.testing.assert_allclose(found.survival, [1.0, 0.0, 0.0, 0.0])
    assert np.isnan(found.hazard[3])
    assert int(found.left_out) == 1
    assert [float(x[3]) for x in (found.low, found.high)] == [0.0, 1.0]
    with pytest.raises(ValueError, match="T of 2 or more"):
        scoring_tenure.exit_hazard(jnp.ones((3, 1)))


def test_a_constant_hazard_is_recovered(rng):
    life, start = rng.geometric(0.1, 4000), rng.integers(1, 20, 4000)
    time = np.arange(40)
    seen = (time >= start[:, None]) & (time < (start + life)[:, None])
    found = scoring_tenure.exit_hazard(jnp.asarray(seen))
    inside = (np.asarray(found.low) <= 0.1) & (np.asarray(found.high) >= 0.1)
    assert inside[:30].mean() > 0.8
    np.testing.assert_allclose(found.survival[:15], 0.9 ** np.arange(1, 16), atol=0.03)
    common, z = scoring_tenure.hazard_trend(found)
    assert float(common) == pytest.approx(0.1, abs=0.005)
    assert abs(float(z)) < 3.0


@FEW
@given(st.integers(0, 50), st.integers(0, 50))
def test_wilson_is_scipys(first, second):
    s, n = min(first, second), max(first, second, 1)
    low, high = scoring_tenure.wilson(jnp.asarray(float(s)), jnp.asarray(float(n)))
    want = stats.binomtest(s, n).proportion_ci(method="wilson")
    assert (float(low), float(high)) == pytest.approx((want.low, want.high), abs=2e-6)
