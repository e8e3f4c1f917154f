"""Weights fitted to generated panels: coverage of their intervals, clusters, bounds, and ranking out of sample."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, stats

from jaxstake.analysis.calibrate import fit
from jaxstake.calibration import scoring as calibration
from jaxstake.calibration import scoring_validation
from jaxstake.calibration.scoring import Rows, fit_scoring, nearest_weights, rows_of
from jaxstake.calibration.scoring_intervals import distance, intervals
from jaxstake.calibration.scoring_slopes import fit_slopes
from jaxstake.microstaking import scoring, scoring_factors
from jaxstake.microstaking.scoring import Observations, Scoring

pytestmark = pytest.mark.usefixtures("only_x64")

KEY = jax.random.key(11)
WEIGHTS, STRENGTH, RHO, INTERVALS, VALIDATORS = np.array([0.45, 0.2, 0.35]), 0.8, 0.1, 4, 500


def generate(rng, *, sets=(), slopes=STRENGTH * WEIGHTS, rho=RHO, validators=VALIDATORS, shared=0.0, duties=450):
    """Rows from the model, by NumPy; `shared` is the deviation of a log odds that a validator keeps."""
    rows = INTERVALS * validators
    x = rng.normal(size=(*sets, rows, 3))
    x[..., 2] = 0.5 * x[..., 0] + np.sqrt(0.75) * x[..., 2]
    interval = np.broadcast_to(np.repeat(np.arange(INTERVALS), validators), (*sets, rows))
    own = np.tile(rng.normal(size=(*sets, validators)) * shared, INTERVALS)
    p = 1.0 / (1.0 + np.exp(-(2.0 + np.linspace(-0.5, 0.5, INTERVALS)[interval] + x @ slopes + own)))
    rate = rng.beta(p * (1 - rho) / rho, (1 - p) * (1 - rho) / rho)
    data = Observations(
        factors=jnp.asarray(x), interval=jnp.asarray(interval),
        attested=jnp.asarray(rng.binomial(duties, rate).astype(float)), assigned=jnp.full(p.shape, float(duties)),
    )  # fmt: skip
    return data, np.tile(np.arange(validators), INTERVALS)


def rows_from(data: Observations, cluster) -> Rows:
    good = np.asarray(data.attested / data.assigned) >= 0.7
    return Rows(data=data, validator=cluster, time=np.asarray(data.interval), good=good, intervals=INTERVALS)


def of_slopes(found):
    information = np.linalg.inv(np.asarray(found.covariance)[:3, :3])
    return intervals(np.asarray(found.slopes), information, logit_overdispersion=float(found.logit_overdispersion),
                     logit_variance=float(found.covariance[3, 3]))  # fmt: skip


@pytest.fixture(scope="module")
def generated():
    data, cluster = generate(np.random.default_rng(5))
    return data, cluster, rows_from(data, cluster)


@pytest.fixture(scope="module")
def fitted(generated):
    return fit_scoring(generated[2], generated[1], key=KEY)


# --- Coverage -------------------------------------------------------------------------------------------------------


def test_intervals_cover_the_truth_over_500_panels():
    """95 % intervals of every parameter contain it in 92 to 98 % of 500 panels of 2,000 rows."""
    data, cluster = generate(np.random.default_rng(2), sets=(500,))
    one = lambda each: fit_slopes(each, jnp.asarray(cluster), intervals=INTERVALS, clusters=VALIDATORS)  # noqa: E731
    found = jax.device_get(jax.jit(lambda many: jax.lax.map(one, many, batch_size=50))(data))
    assert bool(found.converged.all())
    inside = []
    for lane in range(500):
        got = of_slopes(jax.tree.map(lambda x, lane=lane: x[lane], found))
        assert got.identified.all()
        ends = np.vstack([got.weights, got.strength, got.overdispersion])
        truth = np.array([*WEIGHTS, STRENGTH, RHO])
        inside.append((ends[:, 0] <= truth) & (truth <= ends[:, 1]))
    coverage = np.mean(inside, axis=0)
    assert np.all((coverage >= 0.92) & (coverage <= 0.98)), coverage


def test_the_interval_of_a_weight_is_fiellers():
    """By hand, from the quadratic `(b_0 - a sum b)^2 = q var(b_0 - a sum b)` in a."""
    b, v = np.array([0.36, 0.16, 0.28]), np.array([[5.0, 0.3, -2.0], [0.3, 4.0, 0.2], [-2.0, 0.2, 5.0]]) * 1e-4
    got = intervals(b, np.linalg.inv(v), logit_overdispersion=-2.0, logit_variance=0.01)
    one, q = np.ones(3), stats.chi2.ppf(0.95, 1)
    for place in range(3):
        e = np.eye(3)[place]
        roots = np.roots([b.sum() ** 2 - q * one @ v @ one, 2 * (q * one @ v @ e - b[place] * b.sum()),
                          b[place] ** 2 - q * e @ v @ e])  # fmt: skip
        np.testing.assert_allclose(got.weights[place], sorted(roots), atol=2e-4)
    half = np.sqrt(q * one @ v @ one)
    np.testing.assert_allclose(got.strength, [b.sum() - half, b.sum() + half], rtol=2e-3)
    np.testing.assert_allclose(got.overdispersion, stats.logistic.cdf(-2 + np.array([-1, 1]) * 0.1 * np.sqrt(q)))


def test_the_distance_to_the_cone_is_scipys():
    j = np.linalg.inv(np.array([[2.0, 0.3, -1.0], [0.3, 1.0, 0.2], [-1.0, 0.2, 2.0]]))
    b, w = np.array([0.5, -0.4, 0.2]), np.array([0.3, 0.3, 0.4])
    best = optimize.minimize_scalar(lambda k: (b - k * w) @ j @ (b - k * w), bounds=(0, 10), method="bounded")
    assert float(distance(b, j, w)) == pytest.approx(best.fun, rel=1e-8)


def test_without_an_effect_every_weight_is_possible():
    got = intervals(np.array([0.01, -0.02, 0.005]), np.eye(3) * 1e3, logit_overdispersion=0.0, logit_variance=1.0)
    np.testing.assert_array_equal(got.weights, [[0, 1]] * 3)
    assert got.strength[0] == 0.0
    assert not got.identified.any()
    with pytest.raises(ValueError, match="level must be one of"):
        intervals(np.ones(3), np.eye(3), logit_overdispersion=0.0, logit_variance=1.0, level=0.5)


def test_the_estimate_is_in_its_intervals():
    """Also where the likelihood chose a point of the simplex that the clustered metric would not."""
    at = np.array([0.1, 0.0, 0.0])
    got = intervals(np.array([0.15, -0.02, -0.1]), np.eye(3) * 2e3, estimate=at, logit_overdispersion=0.0,
                    logit_variance=1.0)  # fmt: skip
    assert got.strength[0] <= 0.1 <= got.strength[1]
    assert got.weights[0, 1] == 1.0


# --- The fit --------------------------------------------------------------------------------------------------------


def test_the_fit_is_the_one_of_all_parameters(generated, fitted):
    """Against the same likelihood with its intercepts searched too, by another route."""
    data = generated[0]
    begin = Scoring(logits=jnp.zeros(2), strength=0.5, overdispersion=0.2, intercepts=jnp.full(INTERVALS, 2.0))
    whole = fit(scoring.negative_log_likelihood, begin, data, key=KEY, restarts=1, observations=2000.0)
    assert fitted.converged
    assert float(fitted.fit.loss) == pytest.approx(float(whole.loss), rel=1e-10)
    np.testing.assert_allclose(fitted.weights, scoring.weights(whole.parameters.logits), atol=1e-4)
    assert fitted.strength == pytest.approx(float(whole.parameters.strength), rel=1e-4)
    for name in ("strength", "overdispersion", "logits"):
        got, want = (getattr(x.standard_errors, name) for x in (fitted.fit, whole))
        np.testing.assert_allclose(got, want, rtol=2e-3)


def test_slopes_and_weights_say_the_same(fitted):
    b = np.asarray(fitted.slopes.slopes)
    np.testing.assert_allclose(fitted.weights, b / b.sum(), atol=1e-4)
    assert fitted.strength == pytest.approx(b.sum(), rel=1e-4)
    np.testing.assert_allclose(nearest_weights(fitted.slopes), fitted.weights, atol=1e-4)
    assert fitted.intervals.identified.all()
    assert (fitted.rows, fitted.clusters) == (2000, 500)


def test_independent_rows_have_the_errors_of_the_hessian(fitted):
    """The sandwich and the inverse Hessian agree where the model is right."""
    sandwich = np.sqrt(np.diag(fitted.slopes.covariance))
    k = np.ones(3) @ np.asarray(fitted.slopes.covariance)[:3, :3] @ np.ones(3)
    assert np.sqrt(k) == pytest.approx(float(fitted.fit.standard_errors.strength), rel=0.15)
    assert np.all(sandwich > 0)


def test_what_a_validator_keeps_widens_the_errors():
    """Factors that stay with a validator: errors by cluster are larger than by row, and right (over 40 panels)."""
    rng, estimates, by_cluster, by_row = np.random.default_rng(3), [], [], []
    one = jax.jit(lambda d, c: fit_slopes(d, c, intervals=INTERVALS, clusters=VALIDATORS * INTERVALS))
    for _ in range(40):
        data, cluster = generate(rng, shared=0.8)
        factors = jnp.asarray(np.tile(rng.normal(size=(VALIDATORS, 3)), (INTERVALS, 1)))
        data = Observations(**(vars(data) | {"factors": factors}))
        found, rowwise = one(data, jnp.asarray(cluster)), one(data, jnp.arange(2000))
        estimates.append(found.slopes)
        by_cluster.append(found.covariance[0, 0])
        by_row.append(rowwise.covariance[0, 0])
    actual = np.std(np.array(estimates), axis=0).mean()
    assert np.sqrt(np.mean(by_cluster)) == pytest.approx(actual, rel=0.25)
    assert np.sqrt(np.mean(by_row)) < 0.85 * actual


def test_a_weight_at_its_bound_is_named_and_never_nan():
    data, cluster = generate(np.random.default_rng(7), slopes=np.array([0.5, -0.3, 0.0]))
    found = fit_scoring(rows_from(data, cluster), cluster, key=KEY)
    assert found.converged
    assert found.weights[1] < 0.01
    assert found.intervals.weights[1, 0] == 0.0
    assert not found.intervals.identified[1]
    assert np.all(np.isfinite(found.intervals.weights))
    assert found.intervals.strength[0] <= found.strength <= found.intervals.strength[1]


@pytest.mark.parametrize("constant", [True, False])
def test_no_effect_and_a_constant_factor(constant):
    data, cluster = generate(np.random.default_rng(8), slopes=np.zeros(3))
    if constant:
        data = Observations(**(vars(data) | {"factors": data.factors.at[:, 1].set(0.0)}))
    found = fit_scoring(rows_from(data, cluster), cluster, key=KEY)
    assert not found.intervals.identified.any()
    assert np.all(np.isfinite(found.weights))
    assert found.intervals.strength[0] == 0.0
    if constant:
        assert bool(found.slopes.flat[1])
        assert found.intervals.strength[1] == np.inf


def test_too_few_clusters_are_refused(generated):
    data, _, rows = generated
    with pytest.raises(ValueError, match="need 10 validators or operators, got 3"):
        fit_scoring(rows, np.arange(2000) % 3, key=KEY)
    assert data.attested.shape == (2000,)


def test_rows_left_out_do_not_count(generated):
    """Rows without duties leave the fit as if they were not there."""
    data, cluster, rows = generated
    train = np.arange(2000) % 2 == 0
    masked = calibration.fit_slopes_of_rows(rows, cluster, train=train)
    kept = jax.tree.map(lambda x: x[train], data)
    alone = jax.jit(lambda d, c: fit_slopes(d, c, intervals=INTERVALS, clusters=VALIDATORS))(kept, cluster[train])
    np.testing.assert_allclose(masked.slopes, alone.slopes, rtol=1e-5)
    np.testing.assert_allclose(masked.covariance, alone.covariance, rtol=1e-4, atol=1e-10)


# --- Out of sample --------------------------------------------------------------------------------------------------


def test_the_fit_ranks_held_out_validators_best(generated):
    _, cluster, rows = generated
    ranked = {one.name: one for one in scoring_validation.held_out(rows, cluster, key=KEY)}
    assert list(ranked) == ["fit", "performance", "tenure", "reliability", "equal"]
    for name in ("performance", "tenure", "reliability"):
        assert ranked["fit"].auc > ranked[name].auc
        assert ranked["fit"].concordance > ranked[name].concordance
    for one in ranked.values():
        assert one.auc_low < one.auc < one.auc_high
    good = rows.good
    won = sum(
        stats.mannwhitneyu(x[g], x[~g]).statistic
        for t in range(INTERVALS)
        for x, g in [(np.asarray(rows.data.factors)[rows.time == t, 0], good[rows.time == t])]
    )
    assert ranked["performance"].auc == pytest.approx(won / ranked["performance"].pairs, rel=1e-9)


def test_later_intervals_are_ranked_by_weights_of_earlier_ones(generated):
    _, cluster, rows = generated
    ranked = scoring_validation.later_intervals(rows, cluster, key=KEY)
    first = nearest_weights(calibration.fit_slopes_of_rows(rows, cluster, train=rows.time < 2))
    np.testing.assert_allclose(ranked[0].weights, first)
    with pytest.raises(ValueError, match="share must leave"):
        scoring_validation.later_intervals(rows, cluster, key=KEY, share=0.1)


def test_persistence_is_spearmans_and_skips_incidents(rng):
    skill = rng.uniform(0.9, 1.0, 50)
    duties = np.full((50, 10), 200.0)
    done = np.floor(duties * np.clip(skill[:, None] + rng.normal(size=(50, 10)) * 0.01, 0, 1))
    done[:, 4] = 20.0
    factors = scoring_factors.past_factors(jnp.asarray(done), jnp.asarray(duties))
    found = scoring_validation.persistence(done, duties, factors)
    rate = done / duties - np.median(done / duties, axis=0)
    want = stats.spearmanr(rate[:, :4].mean(axis=1), rate[:, 5:].mean(axis=1)).statistic
    assert found.validators == 50
    assert found.correlation == pytest.approx(want, rel=1e-9)
    assert found.low < want < found.high
    few = scoring_validation.persistence(done[:2], duties[:2], factors)
    assert np.isnan(few.correlation)


def test_a_panel_without_a_past_is_refused():
    factors = scoring_factors.past_factors(jnp.ones((3, 2)), jnp.ones((3, 2)))
    with pytest.raises(ValueError, match="no row has enough past"):
        rows_of(factors, np.ones((3, 2)), np.ones((3, 2)))
    assert not bool(factors.usable.any())
