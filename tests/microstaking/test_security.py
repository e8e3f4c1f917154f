"""In single precision a logarithm of size L carries a rounding of up to 1e-5 L, so tolerances there are on ln P."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads
from scipy import integrate, special, stats

from jaxstake.core import leaves
from jaxstake.microstaking import assessment, attack_cost, binomial_tail, common_shock, security
from jaxstake.microstaking.assessment import SecurityScenario

FEW = settings(max_examples=25, deadline=None)
TAIL = jax.jit(lambda n, k, x: binomial_tail.log_binomial_tail(n=n, k=k, x=x))
FAULT = jax.jit(lambda n, q, rho: common_shock.log_fault_probability(n_eff=n, corruption=q, correlation=rho))
SLOPE = jax.jit(jax.grad(TAIL, argnums=(0, 1, 2)))
FAULT_SLOPE = jax.jit(jax.grad(FAULT, argnums=(0, 1, 2)))
MANY = jax.jit(lambda q, rho: common_shock.log_fault_probability_of_many(corruption=q, correlation=rho))
CHANCES = [1e-30, 1e-8, 1e-4, 0.01, 0.1, 0.2, 0.3, 0.34, 0.4, 0.6, 0.9]


def exact_log_tail(n: float, k: float, x: float) -> float:
    """Incomplete beta function, as the hypergeometric series of positive terms where that converges fast."""
    if x > 0.65:
        return float(np.log(special.betainc(k, n - k + 1, x)))
    j = np.arange(40 * math.ceil(n) + 4000)
    terms = np.concatenate([[0.0], np.cumsum(np.log(n + 1 + j) - np.log(k + 1 + j) + np.log(x))])
    first = k * np.log(x) + (n - k + 1) * np.log1p(-x) - np.log(k) - special.betaln(k, n - k + 1)
    return float(first + special.logsumexp(terms))


def assert_log_close(found, expected, relative_probability, x64):
    """Relative accuracy of the probability, plus the rounding of its logarithm in single precision."""
    slack = relative_probability if x64 else max(relative_probability, 2e-3) + 1e-5 * abs(expected)
    assert abs(float(found) - expected) <= slack, (float(found), expected)


# --- Binomial tail --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "accuracy"), [(1, 7e-3), (3, 4e-3), (14, 6e-4), (40, 2e-4), (100, 1e-4), (1_000, 1e-5), (10_000, 1e-6)]
)
def test_tail_against_the_incomplete_beta_function(n, accuracy, x64):
    for share in (0.1, 1 / 3, 0.5, 2 / 3):
        k = share * n
        for x in CHANCES:
            if n * abs(x - share) < 2_000.0 or n <= 1_000:  # the oracle's own rounding
                assert_log_close(TAIL(float(n), k, x), exact_log_tail(n, k, x), accuracy, x64)


@pytest.mark.parametrize(("n", "k"), [(14, 5), (100, 34), (100, 67), (1_000, 334), (1_000, 667)])
def test_tail_against_scipy_at_whole_numbers(n, k, x64):
    for x in (1e-6, 1e-3, 0.05, 0.2, 0.33, 0.5):
        expected = float(stats.binom.logsf(k - 1, n, x))
        if math.isfinite(expected):  # SciPy's underflows
            assert_log_close(TAIL(float(n), float(k), x), expected, 6e-4, x64)


@pytest.mark.parametrize(("n", "accuracy"), [(14, 6e-4), (100, 1e-4), (1_000, 1e-5), (10_000, 2e-6)])
def test_tail_near_its_mean(n, accuracy, x64):
    """On both sides of the point where the saddle point changes from the series to the closed form, and at zero."""
    for share in (0.1, 1 / 3, 2 / 3):
        k = share * n
        y = (k + 7.5) / (n + 8)
        for s in (0.0, 1e-9, -1e-9, 1e-4, 0.1, 0.2499, 0.2501, -0.2499, -0.2501):
            x = float(special.expit(special.logit(y) - s))
            assert_log_close(TAIL(float(n), k, x), exact_log_tail(n, k, x), accuracy, x64)


@pytest.mark.usefixtures("only_x64")
@pytest.mark.parametrize(
    ("n", "k", "x"), [(14.0, 4.7, 0.1), (100.0, 33.3, 0.2), (100.0, 33.3, 40.8 / 108), (500.0, 170.0, 0.37)]
)
def test_gradient_of_the_tail(n, k, x):
    """Against differences of the formula, and against differences of the oracle."""
    check_grads(TAIL, (n, k, x), order=1, atol=2e-4, rtol=2e-4)
    check_grads(SLOPE, (n, k, x), order=1, modes=("fwd",), atol=1e-3, rtol=1e-3)
    found = SLOPE(n, k, x)
    for place, step in enumerate((1e-4 * n, 1e-4 * k, 1e-5)):
        up, down = [n, k, x], [n, k, x]
        up[place] += step
        down[place] -= step
        expected = (exact_log_tail(*up) - exact_log_tail(*down)) / (2 * step)
        np.testing.assert_allclose(found[place], expected, rtol=5e-3)


def test_tail_at_the_ends():
    assert float(TAIL(10.0, 3.0, 0.0)) == -math.inf
    assert float(TAIL(10.0, 3.0, 1.0)) == 0.0
    for x in (0.0, 1e-30, 1.0):
        for k in (3.0, 10.0):
            assert np.all(np.isfinite(SLOPE(10.0, k, x)[:2]))


def test_all_or_nothing(x64):
    """The tail at k = n is x^n, where the formula is at its worst."""
    for x in (0.01, 0.5, 0.9):
        assert abs(float(TAIL(30.0, 30.0, x)) - 30 * math.log(x)) < 0.04


@FEW
@given(n=st.floats(2.0, 5e3), share=st.floats(0.05, 0.95), x=st.floats(0.01, 0.99))
def test_tail_is_a_monotone_probability(n, share, x):
    k = share * n
    value = float(TAIL(n, k, x))
    slack = 1e-5 * (1.0 + abs(value))
    assert value <= 0.0
    assert float(TAIL(n, k, min(x * 1.01, 1.0))) >= value - slack
    assert float(TAIL(n, min(k * 1.01, n), x)) <= value + slack


def test_exact_tail(tolerance):
    for n, k, x in ((10, 4, 0.3), (100, 34, 0.2), (50, 1, 0.01)):
        found = binomial_tail.binomial_tail_exact(n=float(n), k=float(k), x=x)
        np.testing.assert_allclose(found, stats.binom.sf(k - 1, n, x), rtol=100 * tolerance)
    assert float(jax.grad(lambda x: binomial_tail.binomial_tail_exact(n=10.0, k=4.0, x=x))(0.3)) == 0.0


def test_threshold_counts():
    count = binomial_tail.threshold_count
    for n in range(1, 200):
        assert float(count(n=float(n), rule="hard")) == -(-n // 3)
        assert float(count(n=float(n), share=2 / 3, rule="hard")) == -(-2 * n // 3)
    with pytest.raises(ValueError, match='rule must be "smooth" or "hard", got \'soft\''):
        count(n=3.0, rule="soft")  # type: ignore[arg-type]


# --- A common shock -------------------------------------------------------------------------------------------------


def exact_fault(n: float, q: float, rho: float) -> float:
    def integrand(z: float) -> float:
        given_z = special.ndtr((special.ndtri(q) + math.sqrt(rho) * z) / math.sqrt(1 - rho))
        return math.exp(-z * z / 2) / math.sqrt(2 * math.pi) * special.betainc(n / 3, n - n / 3 + 1, given_z)

    pieces = (integrate.quad(integrand, a, a + 0.5, epsabs=0, epsrel=1e-8)[0] for a in np.arange(-8, 16, 0.5))
    return math.log(sum(pieces))


@pytest.mark.parametrize("rho", [0.06, 0.15, 0.46])
@pytest.mark.parametrize("n", [1.0, 13.75, 60.0, 150.0, 400.0, 2_000.0])
def test_fault_against_quadrature(n, rho, x64):
    for q in (0.01, 0.1):
        assert_log_close(FAULT(n, q, rho), exact_fault(n, q, rho), 1e-4, x64)


@pytest.mark.parametrize("n", [14.0, 100.0])
def test_without_correlation_operators_are_independent(n, x64):
    for q in (0.01, 0.2):
        assert_log_close(FAULT(n, q, 0.0), float(TAIL(n, n / 3, q)), 1e-10, x64)
        assert_log_close(FAULT(n, q, 1e-9), float(TAIL(n, n / 3, q)), 1e-4, x64)
    hard = common_shock.log_fault_probability(n_eff=n, corruption=0.2, correlation=0.0, rule="hard")
    assert_log_close(hard, float(stats.binom.logsf(math.ceil(n / 3) - 1, n, 0.2)), 6e-4, x64)


def test_many_operators(x64):
    for q, rho in ((0.01, 0.15), (0.1, 0.46), (0.01, 0.06)):
        edge = (special.ndtri(q) - math.sqrt(1 - rho) * special.ndtri(1 / 3)) / math.sqrt(rho)
        assert_log_close(MANY(q, rho), float(special.log_ndtr(edge)), 1e-12, x64)
        errors = [abs(float(FAULT(n, q, rho)) - float(MANY(q, rho))) for n in (1e2, 1e3, 1e4)]
        assert errors[0] > errors[1] > errors[2]
    if x64:
        for n in (1e6, 1e9):
            assert abs(float(FAULT(n, 0.01, 0.15)) - float(MANY(0.01, 0.15))) < 2e3 / n + 1e-9


def test_nodes_do_not_matter(x64):
    for n in (14.0, 150.0):
        few, many = (common_shock.log_fault_probability(n_eff=n, corruption=0.01, nodes=nodes) for nodes in (64, 128))
        assert_log_close(few, float(many), 1e-4, x64)


@FEW
@given(n=st.floats(1.0, 1e4), q=st.floats(1e-4, 0.25), rho=st.floats(0.02, 0.8))
def test_fault_grows_with_corruption(n, q, rho):
    value = float(FAULT(n, q, rho))
    assert value <= 0.0
    assert value < float(FAULT(n, 1.1 * q, rho))


@pytest.mark.usefixtures("only_x64")
@pytest.mark.parametrize(("n", "rho"), [(14.0, 0.15), (60.0, 0.3)])
def test_gradient_of_the_fault(n, rho):
    check_grads(FAULT, (n, 0.02, rho), order=1, atol=1e-4, rtol=1e-4)
    step = 1e-4
    slope = (exact_fault(n, 0.02, rho + step) - exact_fault(n, 0.02, rho - step)) / (2 * step)
    np.testing.assert_allclose(FAULT_SLOPE(n, 0.02, rho)[2], slope, rtol=1e-3)


def test_gradients_at_the_edges_are_finite():
    for point in ((14.0, 0.01, 0.0), (1.0, 0.5, 0.1), (1e6, 0.01, 0.15), (14.0, 1e-12, 0.95)):
        assert np.all(np.isfinite(FAULT_SLOPE(*point))), point


# --- Byzantine thresholds, quality, committees ----------------------------------------------------------------------


@pytest.mark.parametrize("threshold", [security.STOPS_FINALITY, security.WINS_FORK_CHOICE, security.FINALISES_ALONE])
def test_byzantine_thresholds_by_count(threshold):
    for corrupt in range(13):
        safe = corrupt * 6 < round(threshold * 6) * 12
        found = security.is_byzantine_safe(corrupt=float(corrupt), total=12.0, threshold=threshold)
        margin = float(security.byzantine_margin(corrupt=float(corrupt), total=12.0, threshold=threshold))
        assert bool(found) == safe
        assert (margin > 1e-9) == safe


def test_quality_and_corruption(tolerance):
    for stake in (1.0, 8.0, 32.0, 64.0):
        quality = security.operator_quality(stake_eth=stake, kappa=0.3)
        np.testing.assert_allclose(quality, 2.326 - 0.3 * math.log(32 / stake), rtol=tolerance)
        found = security.corruption_probability(quality=quality)
        np.testing.assert_allclose(found, stats.norm.sf(float(quality)), rtol=50 * tolerance)
    assert float(security.operator_quality(stake_eth=1.0, kappa=0.0)) == pytest.approx(2.326)


def test_corruption_weighs_by_stake(tolerance):
    stakes, chances = np.array([10.0, 30.0, 60.0]), np.array([0.5, 0.1, 0.01])
    found = security.mean_corruption(stakes=stakes, corruption=chances)
    np.testing.assert_allclose(found, np.average(chances, weights=stakes), rtol=tolerance)
    np.testing.assert_allclose(security.mean_corruption(stakes=1e6 * stakes, corruption=chances), found, rtol=tolerance)


@pytest.mark.parametrize(
    ("size", "share"), [(111, 1 / 3), (128, 1 / 3), (256, 1 / 3), (300, 1 / 3), (128, 0.2), (512, 0.45)]
)
def test_committees(size, share, x64):
    k = -(-2 * size // 3)
    expected = float(stats.binom.logsf(k - 1, size, share))
    assert_log_close(security.log_committee_failure(size=float(size), corrupt_share=share), expected, 1e-4, x64)


def test_a_committee_beyond_2_to_the_minus_100(x64):
    expected = float(stats.binom.logsf(205, 308, 1 / 3))
    assert expected / math.log(2) < -100
    assert_log_close(security.log_committee_failure(size=308.0, corrupt_share=1 / 3), expected, 1e-4, x64)


# --- Buying an attack, and the level --------------------------------------------------------------------------------

BUY = {"total_stake_eth": 36e6, "price_usd": 3000.0, "daily_volume_eth": 3e6, "daily_volatility": 0.05}


def test_attack_cost(tolerance):
    """By hand: 12 million ETH, four days of volume, an impact of 10 %."""
    cost = attack_cost.attack_cost(**BUY, loss_fraction=0.5)
    np.testing.assert_allclose(cost, 3000 * 12e6 * (0.5 + 0.1), rtol=tolerance)
    small = attack_cost.attack_cost(**BUY, loss_fraction=0.0, impact=0.0)
    assert float(small) == 0.0
    free = attack_cost.attack_cost(**{**BUY, "total_stake_eth": 4 * 36e6}, loss_fraction=0.0)
    np.testing.assert_allclose(free, 8 * 3000 * 12e6 * 0.1, rtol=tolerance)


def test_economic_probability(x64):
    for cost, success in ((4e10, 1.0), (1e9, 0.5), (1e8, 1e-3), (4e10, 0.0), (4e10, 1e-14)):
        found = attack_cost.log_economic_probability(
            cost_usd=cost, success=success, log_mean_reward=math.log(1e9), log_std_reward=1.5
        )
        expected = stats.norm.logcdf((math.log(max(success, 1e-12)) + math.log(1e9 / cost)) / 1.5)
        assert_log_close(found, float(expected), 1e-7, x64)
    slope = jax.grad(lambda p: attack_cost.log_economic_probability(cost_usd=1e9, success=p, log_mean_reward=20.0))
    assert float(slope(0.0)) == 0.0
    assert float(attack_cost.economic_security(cost_usd=3e9, success=0.5, reward_usd=1e9)) == pytest.approx(6.0)


@pytest.mark.parametrize(("fault", "economic"), [(0.3, 0.6), (1.0, 0.2), (0.5, 0.5), (1.0, 1.0), (1e-9, 0.999)])
def test_attack_probability(fault, economic):
    found = security.log_attack_probability(log_fault=math.log(fault), log_economic=math.log(economic))
    np.testing.assert_allclose(found, math.log(1 - (1 - fault) * (1 - economic)), atol=1e-6)
    gradient = jax.grad(lambda a, b: security.log_attack_probability(log_fault=a, log_economic=b), argnums=(0, 1))
    assert np.all(np.isfinite(gradient(math.log(fault), math.log(economic))))


def test_rare_attacks_keep_their_digits(tolerance):
    found = security.log_attack_probability(log_fault=-3000.0, log_economic=-3000.0 - math.log(3.0))
    np.testing.assert_allclose(found, -3000.0 + math.log(4 / 3), rtol=tolerance)
    np.testing.assert_allclose(security.security_level(log_attack=-300 * math.log(10.0)), 300.0, rtol=tolerance)
    np.testing.assert_allclose(security.security(level=1e-6), 1e-6 * math.log(10.0), rtol=1e-5)
    assert float(security.security(level=300.0)) == 1.0


# --- The scenario ---------------------------------------------------------------------------------------------------

STAKES = np.array([30.0, 20.0, 10.0, 10.0, 40.0])
COUNTS = np.array([1.0, 1.0, 1.0, 1.0, 400.0])


def level(scenario):
    return assessment.assess(scenario, stakes=STAKES, counts=COUNTS).level


def test_assessment_against_scipy(x64):
    s, result = SecurityScenario(), assessment.assess(SecurityScenario(), stakes=STAKES, counts=COUNTS)
    p = np.concatenate([STAKES[:4], np.full(400, 0.1)]) / STAKES.sum()
    n_eff = 1 / (p**2).sum()
    bought = s.total_stake_eth / 3
    cost = s.price_usd * bought * (1 + s.daily_volatility * math.sqrt(bought / s.daily_volume_eth))
    fault, economic = math.exp(exact_fault(n_eff, stats.norm.sf(2.326), 0.15)), stats.norm.sf(math.log(cost / 1e9))
    expected = -math.log10(1 - (1 - fault) * (1 - economic))
    np.testing.assert_allclose(result.n_eff, n_eff, rtol=1e-5)
    np.testing.assert_allclose(result.cost_usd, cost, rtol=1e-5)
    np.testing.assert_allclose(result.economic_security, cost / 1e9, rtol=1e-5)
    np.testing.assert_allclose(result.level, expected, rtol=2e-5 if x64 else 1e-4)
    np.testing.assert_allclose(result.security, (1 - fault) * (1 - economic), rtol=1e-6)


def test_assessment_modes_and_unit():
    scenarios = [
        leaves.replace(SecurityScenario(), {"correlation": rho, "stake_eth": v}) for rho, v in ((0.1, 32.0), (0.3, 4.0))
    ]
    eager = [float(level(s)) for s in scenarios]
    np.testing.assert_allclose([float(jax.jit(level)(s)) for s in scenarios], eager, rtol=2e-5)
    stacked = jax.tree.map(lambda *x: jnp.asarray(x, float), *scenarios)
    np.testing.assert_allclose(jax.jit(jax.vmap(level))(stacked), eager, rtol=2e-5)
    shuffled = assessment.assess(scenarios[0], stakes=1e3 * STAKES[::-1], counts=COUNTS[::-1]).level
    np.testing.assert_allclose(shuffled, eager[0], rtol=2e-5)
    assert eager[1] < eager[0]


@pytest.mark.usefixtures("only_x64")
def test_assessment_gradient():
    """In relative changes of every number of the scenario."""
    values = dict(leaves.as_dict(SecurityScenario()))
    values["success"] = values["loss_fraction"] = 0.9

    def changed(change):
        return level(leaves.replace(SecurityScenario(), {n: v * (1.0 + change[n]) for n, v in values.items()}))

    zero = dict.fromkeys(values, jnp.zeros(()))
    check_grads(jax.jit(changed), (zero,), order=1, atol=1e-4, rtol=1e-4)
    assert all(float(g) != 0.0 for n, g in jax.jit(jax.grad(changed))(zero).items() if n != "kappa_quality")


# --- Bad input ------------------------------------------------------------------------------------------------------

BAD = [
    (binomial_tail.log_binomial_tail, {"n": 10.0, "k": 4.0, "x": 0.3}, "n", 0.5, "at least 1 and finite"),
    (binomial_tail.log_binomial_tail, {"n": 10.0, "k": 4.0, "x": 0.3}, "x", 1.5, "in [0, 1]"),
    (binomial_tail.log_binomial_tail, {"n": 10.0, "k": 4.0, "x": 0.3}, "k", 0.0, "greater than 0 and finite"),
    (binomial_tail.log_binomial_tail, {"n": 10.0, "k": 4.0, "x": 0.0}, "k", 11.0, "at most n = 10.0"),
    (binomial_tail.binomial_tail_exact, {"n": 10.0, "k": 4.0, "x": 0.3}, "x", -0.1, "in [0, 1]"),
    (common_shock.log_fault_probability, {"n_eff": 10.0, "corruption": 0.1}, "corruption", 0.0, "in (0, 1)"),
    (common_shock.log_fault_probability, {"corruption": 0.1, "n_eff": 9.0}, "correlation", 1.0, "in [0, 1)"),
    (common_shock.log_fault_probability, {"corruption": 0.1, "n_eff": 9.0}, "threshold", 0.0, "in (0, 1]"),
    (common_shock.log_fault_probability_of_many, {"corruption": 0.1}, "correlation", 0.0, "in (0, 1)"),
    (security.byzantine_margin, {"total": 10.0, "corrupt": 1.0}, "corrupt", 11.0, "at most total = 10.0"),
    (security.byzantine_margin, {"total": 10.0, "corrupt": 1.0}, "threshold", 1.1, "in (0, 1]"),
    (security.operator_quality, {"stake_eth": 1.0}, "stake_eth", 0.0, "greater than 0 and finite"),
    (security.operator_quality, {"stake_eth": 1.0}, "kappa", -0.1, "at least 0 and finite"),
    (security.log_committee_failure, {"size": 128.0, "corrupt_share": 0.3}, "corrupt_share", 1.5, "in [0, 1]"),
    (security.log_attack_probability, {"log_fault": -1.0, "log_economic": -1.0}, "log_fault", 0.5, "at most 0"),
    (security.security_level, {"log_attack": -1.0}, "log_attack", 0.5, "at most 0 and finite"),
    (security.security, {"level": 1.0}, "level", -1.0, "at least 0 and finite"),
    (attack_cost.attack_cost, BUY, "daily_volume_eth", 0.0, "greater than 0 and finite"),
    (attack_cost.attack_cost, BUY, "loss_fraction", 1.5, "in [0, 1]"),
    (attack_cost.economic_security, {"cost_usd": 1.0, "reward_usd": 1.0}, "success", 0.0, "in (0, 1]"),
    (
        attack_cost.log_economic_probability,
        {"cost_usd": 1.0, "log_mean_reward": 0.0},
        "cost_usd",
        0.0,
        "greater than 0",
    ),
]


@pytest.mark.parametrize(("function", "arguments", "name", "value", "rule"), BAD)
def test_bad_input(function, arguments, name, value, rule):
    with pytest.raises(ValueError, match=f"^{name} must be ") as caught:
        function(**{**arguments, name: value})
    assert rule in str(caught.value)
    assert f"got {value}" in str(caught.value)
    for bad in (value, math.nan):
        found, slope = jax.jit(jax.value_and_grad(lambda v: function(**{**arguments, name: v})))(bad)
        assert np.isnan(found)
        assert np.isnan(slope)


def test_bad_scenario():
    with pytest.raises(ValueError, match=r"correlation must be in \[0, 1\), got 1\.2"):
        level(leaves.replace(SecurityScenario(), {"correlation": 1.2}))
    found = jax.jit(lambda rho: level(leaves.replace(SecurityScenario(), {"correlation": rho})))(1.2)
    assert np.isnan(found)
    with pytest.raises(ValueError, match="nodes must be at least 1, got 0"):
        common_shock.log_fault_probability(n_eff=9.0, corruption=0.1, nodes=0)
