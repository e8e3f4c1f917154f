"""Payments that remember: the filter against the dense normal density, sums over lags in NumPy, and simulation."""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads
from scipy import special, stats

from jaxstake.economy import block_value, memory
from jaxstake.economy.block_value import LogNormal, LogNormalMixture, LogNormalPareto, WithZeros
from jaxstake.economy.memory import Memory, MemoryState, ar1

BOTH = {"level_share": 0.24, "level_persistence": 0.998, "short_share": 0.2, "short_persistence": 0.75}
MIXTURE = LogNormalMixture(
    first_log_mean=-3.1, first_log_std=0.6, second_log_mean=-1.5, second_log_std=0.8, second_share=0.1
)
PARETO = LogNormalPareto(
    log_mean=-3.06, log_std=0.68, threshold_eth=0.12, tail_share=0.2, tail_scale_eth=0.09, tail_shape=0.3
)
HEAVY = LogNormalPareto(
    log_mean=-3.06, log_std=0.68, threshold_eth=0.12, tail_share=0.2, tail_scale_eth=0.09, tail_shape=0.77
)
YEAR = 2_629_800


def correlations(lag, *, level_share, level_persistence, short_share, short_persistence):
    """Autocorrelation in NumPy."""
    lag = np.asarray(lag, float)
    rest = (1 - level_share) * short_share
    return np.where(lag == 0, 1.0, level_share * level_persistence**lag + rest * short_persistence**lag)


def dense(scores, times, **parameters):
    """Mean negative log density of a normal vector with the covariances written out."""
    covariance = correlations(np.abs(np.subtract.outer(times, times)), **parameters)
    return -stats.multivariate_normal(np.zeros(len(scores)), covariance).logpdf(scores) / len(scores)


@functools.cache
def filtered():
    return jax.jit(memory.negative_log_likelihood)


def likelihood(scores, gaps, **parameters):
    found = jax.tree.map(lambda x: jnp.asarray(x, float), Memory(**parameters))
    return float(filtered()(found, jnp.asarray(scores, float), jnp.asarray(gaps, float)))


# --- Autocorrelation ------------------------------------------------------------------------------------------------


def test_autocorrelation_by_hand(tolerance):
    found = memory.autocorrelation(Memory(**BOTH), lag=jnp.asarray([0.0, 1.0, 3.0]))
    wanted = [1.0, 0.24 * 0.998 + 0.76 * 0.2 * 0.75, 0.24 * 0.998**3 + 0.152 * 0.421875]
    np.testing.assert_allclose(found, wanted, rtol=4 * tolerance)
    lags = np.array([1.0, 2.0, 7.0, 40.0])
    np.testing.assert_allclose(memory.autocorrelation(ar1(0.7), lag=jnp.asarray(lags)), 0.7**lags, rtol=40 * tolerance)


def test_autocorrelation_at_the_edges():
    lags = jnp.asarray([0.0, 1.0, 5.0])
    nothing = [1.0, 0.0, 0.0]
    for silent in (Memory(), ar1(0.0), Memory(level_share=1.0), Memory(level_persistence=0.9, short_persistence=0.9)):
        np.testing.assert_array_equal(memory.autocorrelation(silent, lag=lags), nothing)
    whole = Memory(level_share=1.0, level_persistence=0.5, short_share=1.0, short_persistence=0.9)
    np.testing.assert_allclose(memory.autocorrelation(whole, lag=lags), [1.0, 0.5, 0.5**5], rtol=1e-6)


@pytest.mark.parametrize(
    "parameters", [{}, {"short_share": 1.0}, {"level_share": 1.0}, {**BOTH, "short_persistence": 0.0}]
)
@pytest.mark.parametrize("lag", [0.0, 1.0, 2.0])
def test_autocorrelation_has_its_gradient_at_the_edges(parameters, lag, tolerance):
    found = jax.grad(lambda m: memory.autocorrelation(m, lag=lag))(Memory(**parameters))
    m = Memory(**parameters)
    power = lambda p: float(p) ** lag  # noqa: E731
    slope = lambda p: 1.0 if lag == 1 else (lag * float(p) ** (lag - 1) if lag else 0.0)  # noqa: E731
    short = (1 - m.level_share) * m.short_share
    wanted = [
        power(m.level_persistence) - m.short_share * power(m.short_persistence),
        m.level_share * slope(m.level_persistence),
        (1 - m.level_share) * power(m.short_persistence),
        short * slope(m.short_persistence),
    ]
    wanted = wanted if lag else [0.0] * 4
    got = [found.level_share, found.level_persistence, found.short_share, found.short_persistence]
    np.testing.assert_allclose(got, wanted, rtol=10 * tolerance)


def test_bad_lags_are_refused_and_traced_become_nan():
    with pytest.raises(ValueError, match="lag must be at least 0 and finite, got -1"):
        memory.autocorrelation(Memory(), lag=-1.0)
    value, slope = jax.jit(jax.value_and_grad(lambda lag: memory.autocorrelation(ar1(0.4), lag=lag)))(-1.0)
    assert np.isnan(value)
    assert np.isnan(slope)


# --- Likelihood -----------------------------------------------------------------------------------------------------

SHARES = st.floats(0.0, 1.0)
PERSISTENCES = st.one_of(st.just(0.0), st.floats(0.01, 0.999))


@settings(deadline=None, max_examples=60)
@given(
    gaps=st.lists(st.integers(1, 2_000), min_size=12, max_size=12),
    scores=st.lists(st.floats(-4.0, 4.0), min_size=12, max_size=12),
    level_share=SHARES,
    level_persistence=PERSISTENCES,
    short_share=SHARES,
    short_persistence=PERSISTENCES,
)
def test_filter_equals_the_dense_density(gaps, scores, **parameters):
    found = likelihood(scores, gaps, **parameters)
    wanted = dense(scores, np.cumsum(gaps), **parameters)
    if jax.config.jax_enable_x64:
        assert found == pytest.approx(wanted, rel=1e-7, abs=1e-9)
    else:  # innovations as small as 1 - 0.999^2 divide the rounding of their sum
        assert found == pytest.approx(wanted, rel=1e-2, abs=1e-2)


def test_ar1_has_the_closed_form_of_a_markov_chain(rng, tolerance):
    gaps, scores = rng.integers(1, 9, 12), rng.normal(size=12)
    keep = 0.8 ** gaps[1:]
    wanted = (
        stats.norm.logpdf(scores[0]) + stats.norm.logpdf(scores[1:], keep * scores[:-1], np.sqrt(1 - keep**2)).sum()
    )
    found = likelihood(scores, gaps, short_share=1.0, short_persistence=0.8)
    assert found == pytest.approx(-wanted / 12, rel=20 * tolerance)
    level = likelihood(scores, gaps, level_share=1.0, level_persistence=0.8)
    assert level == pytest.approx(found, rel=20 * tolerance)


def test_independent_scores_have_the_closed_form(rng, tolerance):
    gaps, scores = np.ones(12), rng.normal(size=12)
    wanted = 0.5 * math.log(2 * math.pi) + 0.5 * np.mean(scores**2)
    for parameters in ({}, {"level_share": 0.6}, {"short_share": 1.0}, {"level_persistence": 0.9}):
        assert likelihood(scores, gaps, **parameters) == pytest.approx(wanted, rel=20 * tolerance)


def test_the_first_gap_is_not_used(rng):
    scores, gaps = rng.normal(size=12), np.full(12, 3.0)
    other = np.concatenate([[500.0], gaps[1:]])
    assert likelihood(scores, gaps, **BOTH) == pytest.approx(likelihood(scores, other, **BOTH), rel=1e-6)


def test_gradients_of_the_likelihood(rng, only_x64):
    scores, gaps = jnp.asarray(rng.normal(size=12)), jnp.asarray(rng.integers(1, 5, 12), float)

    def of(at):
        return memory.negative_log_likelihood(Memory(**at), scores, gaps)

    check_grads(jax.jit(of), (BOTH | {"level_persistence": 0.9},), order=2, modes=("rev",), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "edge",
    [
        {},
        {"short_share": 1.0},
        {"short_share": 1.0, "short_persistence": 0.5},
        {"level_share": 1.0, "level_persistence": 0.5},
        {**BOTH, "short_persistence": 0.0},
        {**BOTH, "level_share": 0.0},
    ],
    ids=["nothing", "short", "ar1", "level", "no-short-persistence", "no-level"],
)
def test_gradients_of_the_likelihood_at_the_edges(edge, rng, only_x64):
    """One-sided differences into the domain; exact, because every gap is a whole number of slots."""
    scores, gaps = jnp.asarray(rng.normal(size=12)), jnp.asarray(rng.integers(1, 5, 12), float)
    at = {name: jnp.asarray(edge.get(name, 0.0)) for name in BOTH}
    of = jax.jit(lambda at: memory.negative_log_likelihood(Memory(**at), scores, gaps))
    slopes = jax.jit(jax.grad(of))(at)
    for name, value in at.items():
        step = 1e-5 if value < 0.5 else -1e-5
        one, two = (float(of(at | {name: value + k * step})) for k in (1, 2))
        wanted = (4 * one - two - 3 * float(of(at))) / (2 * step)  # exact to second order
        assert float(slopes[name]) == pytest.approx(wanted, rel=1e-4, abs=1e-6), name


# --- Simulation -----------------------------------------------------------------------------------------------------

PATHS = 40_000


def walk(model, steps, *, seed):
    """Scores [step, path] of paths that begin in the long run, with so many slots before each."""
    start, *keys = jax.random.split(jax.random.key(seed), 1 + len(steps))
    state, scores = memory.stationary(model, key=start, shape=(PATHS,)), []
    for slots, key in zip(steps, keys, strict=True):
        state, score = memory.advance(model, state, slots=slots, key=key)
        scores.append(np.asarray(score, np.float64))
    return np.array(scores)


@pytest.mark.parametrize(
    "parameters", [BOTH, {"short_share": 1.0, "short_persistence": 0.6}, {}], ids=["level", "ar1", "none"]
)
@pytest.mark.parametrize("steps", [(1, 1, 1, 1, 1), (1, 4, 30, 300, 2)], ids=["slot by slot", "jumps"])
def test_paths_have_the_stated_covariances(parameters, steps):
    scores = walk(Memory(**parameters), steps, seed=5)
    times = np.cumsum(steps)
    wanted = correlations(np.abs(np.subtract.outer(times, times)), **{name: parameters.get(name, 0.0) for name in BOTH})
    found = scores @ scores.T / PATHS
    error = np.sqrt((1 + wanted**2) / PATHS)
    assert np.abs((found - wanted) / error).max() < 4.5
    assert np.abs(scores.mean(1)).max() < 4.5 / math.sqrt(PATHS)


def test_no_slots_leave_the_state_as_it_is():
    state = memory.stationary(Memory(**BOTH), key=jax.random.key(0), shape=(5,))
    later, _ = memory.advance(Memory(**BOTH), state, slots=0, key=jax.random.key(1))
    np.testing.assert_array_equal(later.level, state.level)
    np.testing.assert_array_equal(later.short, state.short)


def test_slots_may_differ_from_path_to_path():
    state = MemoryState(level=jnp.ones(3), short=jnp.zeros(3))
    later, score = memory.advance(Memory(**BOTH), state, slots=jnp.asarray([0.0, 1.0, 1e6]), key=jax.random.key(1))
    assert score.shape == (3,)
    assert float(later.level[0]) == 1
    with pytest.raises(ValueError, match="slots must be at least 0 and finite, got -2"):
        memory.advance(Memory(), state, slots=-2.0, key=jax.random.key(1))


def test_a_key_gives_one_path():
    one, again, other = (walk(Memory(**BOTH), (1, 1), seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.any(one == other)
    assert memory.stationary(Memory(), key=jax.random.key(0)).level.shape == ()


@pytest.mark.parametrize("value", [LogNormal(log_mean=-3.0, log_std=0.9), PARETO, HEAVY])
def test_payments_keep_their_distribution(value):
    scores = walk(Memory(**BOTH), (1, 1), seed=3)[1]
    payments = memory.payment_of(value, jnp.asarray(scores, float))
    chances = np.asarray(block_value.cdf(value, value=payments), np.float64)
    assert stats.kstest(chances, "uniform").pvalue > 1e-3
    assert float(payments.min()) > 0


@pytest.mark.parametrize("edge", [{}, {"short_share": 1.0, "short_persistence": 0.5}, {"level_share": 1.0}])
def test_gradients_of_a_path_are_finite_at_the_edges(edge):
    def of(model):
        state = memory.stationary(model, key=jax.random.key(0))
        return sum(memory.advance(model, state, slots=slots, key=jax.random.key(1))[1] for slots in (0, 1, 5))

    slopes = jax.jit(jax.grad(of))(Memory(**edge))
    assert np.all(np.isfinite(jax.tree.leaves(slopes)))


# --- Scores ---------------------------------------------------------------------------------------------------------


def test_normal_scores_equal_scipy(x64, tolerance):
    value = LogNormal(log_mean=-3.0, log_std=0.9)
    z = np.array([-30.0, -12.0, -3.0, 0.0, 0.5, 3.0, 12.0, 30.0] if x64 else [-9.0, -3.0, 0.0, 0.5, 3.0, 9.0])
    found = memory.normal_scores(value, jnp.asarray(np.exp(-3.0 + 0.9 * z), float))
    np.testing.assert_allclose(found, z, rtol=1e-9 if x64 else 1e-4, atol=10 * tolerance)
    payments = np.array([0.01, 0.1, 0.13, 0.5, 20.0])
    excess = (payments - 0.12) / 0.09
    above = 0.2 * stats.genpareto.sf(excess, 0.3)
    body = (
        0.8
        * stats.lognorm.cdf(payments, 0.68, scale=math.exp(-3.06))
        / stats.lognorm.cdf(0.12, 0.68, scale=math.exp(-3.06))
    )
    wanted = np.where(payments > 0.12, stats.norm.isf(above), stats.norm.ppf(np.minimum(body, 0.8)))
    found = memory.normal_scores(PARETO, jnp.asarray(payments, float))
    np.testing.assert_allclose(found, wanted, rtol=100 * tolerance)


def test_scores_and_payments_are_inverse(x64):
    z = jnp.linspace(-7.0, 6.0, 40) if x64 else jnp.linspace(-5.0, 3.0, 40)
    for value in (LogNormal(log_mean=-3.0, log_std=0.9), MIXTURE, PARETO, HEAVY):
        found = jax.jit(lambda z, value=value: memory.normal_scores(value, memory.payment_of(value, z)))(z)
        np.testing.assert_allclose(found, z, rtol=1e-6 if x64 else 2e-3, atol=1e-7 if x64 else 2e-4)


def test_scores_of_what_is_no_payment_are_nan():
    payments = jnp.asarray([0.0, -1.0, jnp.nan, 0.1])
    for value in (LogNormal(log_mean=-3.0, log_std=0.9), WithZeros(paid_share=0.9, paid=PARETO)):
        np.testing.assert_array_equal(
            np.isnan(jax.jit(memory.normal_scores)(value, payments)), [True, True, True, False]
        )
    total = lambda log_mean: jnp.nansum(memory.normal_scores(LogNormal(log_mean=log_mean, log_std=0.9), payments))  # noqa: E731
    assert float(jax.grad(total)(-3.0)) == pytest.approx(-1 / 0.9, rel=1e-4)


def test_the_highest_scores_pay_something_finite(x64):
    last = 1 - 2.0**-53 if x64 else 1 - 2.0**-24
    for value in (LogNormal(log_mean=-3.0, log_std=0.9), PARETO):
        paid = jax.jit(memory.payment_of)(value, jnp.asarray([6.0, 9.0, 40.0, -50.0]))
        assert np.all(np.isfinite(paid))
        assert float(paid[1]) == float(paid[2])
        assert float(paid[3]) == 0
    assert float(memory.chance_of(9.0)) == last
    assert float(memory.chance_of(8.2 if x64 else 5.3)) <= last
    slope = jax.grad(lambda z: memory.payment_of(LogNormal(log_mean=-3.0, log_std=0.9), z))(40.0)
    assert np.isfinite(slope)


# --- Covariance -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("log_std", "double", "single"),
    [(0.3, 2e-12, 2e-3), (0.9, 1e-9, 2e-3), (1.5, 5e-7, 3e-2), (2.0, 5e-5, 0.2), (2.5, 2e-3, 0.5)],
)
def test_covariance_of_a_lognormal(log_std, double, single, x64):
    """How far the quadrature reaches shows: the error grows with the log standard deviation, not with r."""
    r = np.array([0.01, 0.2, 0.4, 0.8, 0.95, 0.99, 0.9999])
    value = LogNormal(log_mean=-3.0, log_std=log_std)
    wanted = math.exp(-6.0 + log_std**2) * np.expm1(log_std**2 * r)
    found = memory.serial_covariance(value, correlation=jnp.asarray(r))
    np.testing.assert_allclose(found, wanted, rtol=double if x64 else single)


def quantiles_of_the_mixture(z):
    """Interpolated between roots by bisection, each of the smaller of the two chances."""
    knots = np.linspace(-8.0, 8.0, 641)
    low, high = np.full(knots.size, -9.0), np.full(knots.size, 6.0)
    side = np.sign(knots - 1e-9)
    for _ in range(60):
        middle = 0.5 * (low + high)
        chance = 0.9 * special.ndtr(-side * (middle + 3.1) / 0.6) + 0.1 * special.ndtr(-side * (middle + 1.5) / 0.8)
        beyond = (chance > special.ndtr(-side * knots)) == (side > 0)
        low, high = np.where(beyond, middle, low), np.where(beyond, high, middle)
    return np.exp(np.interp(z, knots, low))


def quantiles_of_the_pareto(z):
    body = stats.norm.ppf(np.minimum(stats.norm.cdf(z), 0.8) / 0.8 * stats.norm.cdf((math.log(0.12) + 3.06) / 0.68))
    tail = 0.12 + 0.09 * stats.genpareto.isf(np.minimum(stats.norm.sf(z) / 0.2, 1.0), 0.3)
    return np.where(stats.norm.sf(z) < 0.2, tail, np.exp(-3.06 + 0.68 * body))


FAMILIES = {"mixture": (MIXTURE, quantiles_of_the_mixture), "pareto": (PARETO, quantiles_of_the_pareto)}


@pytest.mark.parametrize("name", FAMILIES)
def test_covariance_against_a_plain_double_sum(name, x64):
    """Independent axes: the second payment's number is `r x + sqrt(1 - r^2) y`."""
    value, quantile = FAMILIES[name]
    x = np.linspace(-8.0, 8.0, 401)
    weight = stats.norm.pdf(x) * (x[1] - x[0])
    here = quantile(x)
    mean = float(block_value.mean(value))
    covariance = jax.jit(lambda r: memory.serial_covariance(value, correlation=r))
    for r in (0.1, 0.4, 0.8):
        there = quantile(r * x[:, None] + math.sqrt(1 - r**2) * x[None, :])
        wanted = float((weight * (here - mean)) @ ((there - mean) @ weight))
        found = float(covariance(r))
        assert found == pytest.approx(wanted, rel=2e-3 if x64 else 1e-2), r


def test_covariance_against_simulation(rng):
    x, y = rng.normal(size=(2, 1_000_000))
    one, two = quantiles_of_the_pareto(x), quantiles_of_the_pareto(0.4 * x + math.sqrt(1 - 0.4**2) * y)
    product = (one - one.mean()) * (two - two.mean())
    found = float(memory.serial_covariance(PARETO, correlation=0.4))
    assert abs(found - product.mean()) < 4 * product.std() / 1_000


def test_covariance_at_its_limits(x64):
    covariances = jax.jit(lambda value, r: memory.serial_covariance(value, correlation=r))
    r = jnp.concatenate([jnp.linspace(0.0, 0.99, 12), jnp.asarray([1 - 1e-6])])
    for value in (LogNormal(log_mean=-3.0, log_std=0.9), MIXTURE, PARETO):
        found = covariances(value, r)
        assert float(found[0]) == 0
        assert float(found[-1]) == pytest.approx(float(block_value.variance(value)), rel=1e-3)
        assert np.all(np.diff(found) > 0)
    assert float(memory.serial_covariance(HEAVY, correlation=0.3)) == math.inf
    for bad in (-0.1, 1.0):
        with pytest.raises(ValueError, match=rf"correlation must be in \[0, 1\), got {bad}"):
            memory.serial_covariance(PARETO, correlation=bad)
    assert np.isnan(jax.jit(lambda r: memory.serial_covariance(PARETO, correlation=r))(1.5))


# --- Variance of a year ---------------------------------------------------------------------------------------------


@functools.cache
def inflation():
    return jax.jit(
        lambda log_std, model, share, slots=float(YEAR): memory.variance_inflation(
            LogNormal(log_mean=-3.0, log_std=log_std), model, share=share, slots=slots
        )
    )


def summed(log_std, parameters, share, slots):
    """All lags, in NumPy."""
    lag = np.arange(1, slots)
    mean = math.exp(-3.0 + 0.5 * log_std**2)
    covariance = mean**2 * np.expm1(log_std**2 * correlations(lag, **parameters))
    total = np.sum((1 - lag / slots) * covariance)
    return 1 + 2 * share * total / (mean**2 * math.expm1(log_std**2) + (1 - share) * mean**2)


@pytest.mark.parametrize(
    "changes",
    [
        {"level_share": 0.0, "short_share": 1.0, "short_persistence": 0.37},
        {"level_share": 0.0, "short_share": 1.0, "short_persistence": 0.95},
        {"level_share": 0.0, "short_share": 1.0, "short_persistence": 0.999},
        {},
        {"level_persistence": 0.9999},
        {"level_persistence": 0.999999},
    ],
)
def test_inflation_equals_the_sum_over_all_lags(changes, x64):
    parameters = BOTH | changes
    rel = 1e-3 if x64 else (3e-3 if parameters["level_persistence"] <= 0.9999 else 0.03)  # rounding of 1 - 1e-6
    for log_std, share in ((0.9, 0.3), (0.5, 1.0)):
        wanted = summed(log_std, parameters, share, YEAR)
        found = float(inflation()(log_std, Memory(**parameters), share))
        assert found - 1 == pytest.approx(wanted - 1, rel=rel)


def test_inflation_against_simulated_years(rng):
    """Short years whose slots an operator of a random 40 % proposes."""
    slots, years, share = 200, 40_000, 0.4
    z = rng.normal(size=years)
    income = np.zeros(years)
    for _ in range(slots):
        income += np.where(rng.random(years) < share, np.exp(-3.0 + 0.5 * z), 0.0)
        z = 0.9 * z + math.sqrt(1 - 0.9**2) * rng.normal(size=years)
    mean, spread = math.exp(-3.0 + 0.125), math.exp(-6.0 + 0.25) * math.expm1(0.25)
    alone = slots * share * (spread + (1 - share) * mean**2)
    found = float(inflation()(0.5, ar1(0.9), share, float(slots)))
    error = math.sqrt((stats.kurtosis(income) + 2) / years)
    assert income.var() / alone == pytest.approx(found, rel=4 * error)
    parameters = dict.fromkeys(BOTH, 0.0) | {"short_share": 1.0, "short_persistence": 0.9}
    assert found == pytest.approx(summed(0.5, parameters, share, slots), rel=2e-3)


def test_inflation_grows_with_the_share_and_not_without():
    shares = jnp.linspace(0.0, 1.0, 9)
    found = jax.vmap(lambda share: inflation()(0.9, Memory(**BOTH), share))(shares)
    assert float(found[0]) == 1
    assert np.all(np.diff(found) > 0)
    assert float(inflation()(0.9, Memory(), 1.0)) == pytest.approx(1, abs=1e-6)


def test_inflation_is_one_where_the_variance_is_infinite():
    def of(shape, share, model):
        value = LogNormalPareto(
            log_mean=-3.06, log_std=0.68, threshold_eth=0.12, tail_share=0.2, tail_scale_eth=0.09, tail_shape=shape
        )
        return memory.variance_inflation(value, model, share=share, slots=YEAR)

    both = jax.jit(jax.value_and_grad(of, argnums=(0, 1, 2)))
    for shape in (0.5, 0.77, 1.2):
        value, slopes = both(shape, 0.3, Memory(**BOTH))
        assert float(value) == 1
        np.testing.assert_array_equal(jax.tree.leaves(slopes), 0)


def test_gradients_of_the_inflation(only_x64):
    def of(at):
        value = LogNormal(log_mean=-3.0, log_std=at["log_std"])
        return memory.variance_inflation(value, Memory(**at["memory"]), share=at["share"], slots=YEAR)

    at = {"log_std": 0.9, "share": 0.3, "memory": BOTH | {"level_persistence": 0.9}}
    check_grads(jax.jit(of), (at,), order=1, modes=("rev",), atol=1e-4, rtol=1e-5)
    pareto = lambda shape, share: memory.variance_inflation(  # noqa: E731
        LogNormalPareto(
            log_mean=-3.06, log_std=0.68, threshold_eth=0.12, tail_share=0.2, tail_scale_eth=0.09, tail_shape=shape
        ),
        ar1(0.4),
        share=share,
        slots=YEAR,
    )
    check_grads(jax.jit(pareto), (0.2, 0.3), order=1, modes=("rev",), atol=1e-5, rtol=1e-5)


@functools.cache
def slopes_of_inflation():
    return jax.jit(jax.grad(inflation(), argnums=(0, 1, 2)))


@pytest.mark.parametrize("model", [Memory(), ar1(0.0), Memory(level_share=1.0, level_persistence=0.5)])
def test_gradients_of_the_inflation_are_finite_at_the_edges(model):
    for share in (0.0, 1.0):
        assert np.all(np.isfinite(jax.tree.leaves(slopes_of_inflation()(0.9, model, share))))


def test_a_first_bit_of_persistence_has_its_slope(tolerance):
    """At a persistence of 0 only the first lag bends: `2 p (1 - 1 / n) m^2 s^2 / (v + (1 - p) m^2)`."""
    found = slopes_of_inflation()(0.9, ar1(0.0), 0.3)[1].short_persistence
    wanted = 2 * 0.3 * (1 - 1 / YEAR) * 0.81 / (math.expm1(0.81) + 0.7)
    assert float(found) == pytest.approx(wanted, rel=1e-6 if tolerance < 1e-9 else 3e-3)


@pytest.mark.parametrize(
    ("share", "slots", "words"),
    [(1.1, YEAR, r"share must be in \[0, 1\], got 1.1"), (0.5, 64, "slots must be greater than 64 and finite, got 64")],
)
def test_bad_years_are_refused_and_traced_become_nan(share, slots, words):
    with pytest.raises(ValueError, match=words):
        memory.variance_inflation(PARETO, ar1(0.4), share=share, slots=slots)
    assert np.isnan(inflation()(0.9, ar1(0.4), share, float(slots)))


def test_eager_and_compiled_and_mapped_agree(tolerance):
    shares = jnp.asarray([0.1, 0.3])
    model = jax.tree.map(jnp.asarray, Memory(**BOTH))
    mapped = jax.jit(jax.vmap(lambda share: inflation()(0.9, model, share)))(shares)
    for share, found in zip(shares, mapped, strict=True):
        eager = memory.variance_inflation(LogNormal(log_mean=-3.0, log_std=0.9), model, share=share, slots=float(YEAR))
        np.testing.assert_allclose([found, inflation()(0.9, model, share)], float(eager), rtol=1e3 * tolerance)
