"""The network over time: against NumPy, conservation, limits, and the welfare of a run."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxstake.core import leaves
from jaxstake.microstaking import concentration, dynamics, population, run_security, wealth, welfare
from jaxstake.microstaking.assessment import SecurityScenario
from jaxstake.microstaking.common_shock import log_fault_probability
from jaxstake.microstaking.market_paths import PathLaw, market_path
from jaxstake.microstaking.network import DynamicsScenario
from jaxstake.microstaking.policy import MinimumStakePolicy
from jaxstake.microstaking.welfare import Scale, Terms, Weights, WelfareScenario
from tests.oracles import dynamics_numpy

SCENARIO = DynamicsScenario()
CLASSES = wealth.size_classes(SCENARIO.population.wealth, classes=48)
PERIODS = 60
simulate = jax.jit(
    lambda policy, scenario, path, classes: dynamics.simulate(policy, scenario, classes=classes, path=path)
)
RULE = MinimumStakePolicy(base_eth=12.0, count_exponent=0.3, volatility_slope=1.0)


def path_of(key=0, periods=PERIODS, law=None):
    return market_path(law or PathLaw(), key=jax.random.key(key), periods=periods)


PATH = path_of()
END, RUN = simulate(RULE, SCENARIO, PATH, CLASSES)


def oracle(rule, scenario, classes, path):
    people, behaviour = scenario.population, scenario.behaviour
    start = dynamics.initial_state(scenario, classes)
    return dynamics_numpy.run(
        {"base": rule.base_eth, "a": rule.count_exponent, "b": rule.volatility_slope, "count": rule.reference_count,
         "sigma": rule.reference_volatility, "low": rule.lowest_eth, "high": rule.highest_eth},
        {"participation": people.market.participation, "execution": people.market.execution_income_eth,
         "pi": people.preferences.solo_share_small, "kappa": people.preferences.solo_decline,
         "median": people.preferences.median_required_yield, "spread": people.preferences.log_std_required_yield,
         "fee": people.preferences.fee},
        {"gate": behaviour.gate_temperature, "adjustment": behaviour.adjustment, "hazard": behaviour.exit_hazard,
         "response": behaviour.volatility_response, "zeta": behaviour.size_response},
        {"solo": np.asarray(start.solo, float), "pooled": np.asarray(start.pooled, float),
         "active": float(start.active_eth), "validators": float(start.validators)},
        size=np.asarray(classes.size_eth, float), holders=np.asarray(classes.holders, float),
        width=float(classes.log_width), volatility=np.asarray(path.volatility, float),
        crowd=np.asarray(path.holders, float),
    )  # fmt: skip


def test_against_numpy(x64):
    expected = oracle(RULE, SCENARIO, CLASSES, PATH)
    near = 1e-9 if x64 else 2e-4
    np.testing.assert_allclose(RUN.minimum_stake_eth, expected["minimum"], rtol=near)
    np.testing.assert_allclose(RUN.active_eth[1:], expected["active"][:-1], rtol=near)
    np.testing.assert_allclose(END.active_eth, expected["active"][-1], rtol=near)
    np.testing.assert_allclose(END.solo, expected["solo"][-1], rtol=near, atol=1e-7)
    np.testing.assert_allclose(END.pooled, expected["pooled"][-1], rtol=near)
    np.testing.assert_allclose(RUN.entering_eth, expected["entering"], rtol=near, atol=1e-6 if x64 else 100.0)
    np.testing.assert_allclose(RUN.leaving_eth, expected["leaving"], rtol=near, atol=1e-6 if x64 else 100.0)


def conserved(run, end, x64):
    """Queues and classes account for every ether."""
    total = np.asarray(run.solo_eth + run.pooled_eth, float)
    active = np.append(np.asarray(run.active_eth, float)[1:], float(end.active_eth))
    near = 1e-12 if x64 else 1e-5
    np.testing.assert_allclose(total, active + np.asarray(run.entering_eth) - np.asarray(run.leaving_eth), rtol=near)
    change = np.diff(np.append(np.asarray(run.active_eth, float), float(end.active_eth)))
    flows = np.asarray(run.admitted_eth, float) - np.asarray(run.released_eth, float)
    np.testing.assert_allclose(change, flows, atol=near * active.max())
    return bool(np.all(np.asarray(run.leaving_eth) >= 0) and np.all(np.asarray(run.entering_eth) >= 0))


@given(
    base=st.floats(1.5, 60.0), exponent=st.floats(-0.9, 0.9), slope=st.floats(-3.0, 3.0), key=st.integers(0, 99),
    hazard=st.floats(0.0, 3.0), adjustment=st.floats(0.0, 10.0),
)  # fmt: skip
@settings(max_examples=15, deadline=None)
def test_nothing_is_lost(base, exponent, slope, key, hazard, adjustment):
    rule = MinimumStakePolicy(base_eth=base, count_exponent=exponent, volatility_slope=slope)
    scenario = leaves.replace(SCENARIO, {"behaviour.exit_hazard": hazard, "behaviour.adjustment": adjustment + 0.01})
    end, run = simulate(rule, scenario, path_of(key), CLASSES)
    assert conserved(run, end, jax.config.jax_enable_x64)
    churn = 256.0 * 225 * 7
    assert float(jnp.max(run.released_eth)) <= churn * (1 + 1e-6)
    assert float(jnp.max(run.admitted_eth)) <= churn * (1 + 1e-6)
    assert float(jnp.min(run.minimum_stake_eth)) >= 0.999
    assert float(jnp.max(run.minimum_stake_eth)) <= 64.1


def test_a_long_exit_queue_waits_at_the_churn_limit():
    """Exits of the whole stake in weeks: the queue drains at 256 ETH an epoch, and the wait is its length over that."""
    scenario = leaves.replace(SCENARIO, {"behaviour.exit_hazard": 20.0, "behaviour.size_response": 0.0})
    _, run = simulate(RULE, scenario, path_of(1), CLASSES)
    queue = np.asarray(run.leaving_eth, float) + np.asarray(run.released_eth, float)
    churn = 225.0 * np.clip(np.asarray(run.active_eth, float) / 65_536.0, 128.0, 256.0)
    np.testing.assert_allclose(run.wait_days, queue / churn, rtol=1e-4)
    assert np.asarray(run.wait_days).max() > 30.0


def test_at_rest_the_network_stays_there():
    """Normal volatility, the mean number of holders, the minimum of before: nothing moves."""
    calm = path_of(law=PathLaw(log_std_volatility=0.0, log_std_holders=0.0))
    end, run = simulate(MinimumStakePolicy(), SCENARIO, calm, CLASSES)
    near = 1e-9 if jax.config.jax_enable_x64 else 1e-4
    # The smooth clip moves 32 ETH by a part in a million.
    np.testing.assert_allclose(run.active_eth, run.active_eth[0], rtol=max(near, 1e-6))
    np.testing.assert_allclose(end.solo, dynamics.initial_state(SCENARIO, CLASSES).solo, rtol=1e-3, atol=1e-9)


def test_without_exits_it_rests_at_the_equilibrium():
    """No hazard and the closed form's hard gate: stake within a thousandth of the equilibrium's."""
    still = leaves.replace(SCENARIO, {"behaviour.exit_hazard": 0.0, "behaviour.gate_temperature": 0.01})
    found = dynamics.initial_state(still, wealth.size_classes(still.population.wealth, classes=256))
    expected = population.equilibrium(still.population, minimum_stake_eth=32.0)
    assert float(found.active_eth) == pytest.approx(float(expected.supply.total_eth), rel=1e-3)


def test_stakers_one_by_one_are_the_classes():
    """20,000 sampled stakers under the same code."""
    drawn = wealth.sample(SCENARIO.population.wealth, key=jax.random.key(5), holders=20_000)
    _, one_by_one = simulate(RULE, SCENARIO, PATH, drawn)
    for name in ("active_eth", "solo_eth", "solo_stakers", "herfindahl", "entropy_nats", "corruption", "liquidity_eth"):
        np.testing.assert_allclose(getattr(one_by_one, name), getattr(RUN, name), rtol=1e-2, err_msg=name)


def test_concentration_is_that_of_the_operators(x64):
    """The sums of a period against `concentration` on every pool and every class of solo stakers."""
    shares = population.operator_law.delegated_shares(SCENARIO.population.operators)
    counts = CLASSES.holders * END.solo
    stakes = jnp.concatenate([shares * RUN.pooled_eth[-1], counts * CLASSES.size_eth])
    number = jnp.concatenate([jnp.ones_like(shares), counts])
    near = 1e-9 if x64 else 1e-3
    assert float(RUN.herfindahl[-1]) == pytest.approx(float(concentration.herfindahl(stakes, number)), rel=near)
    assert float(RUN.entropy_nats[-1]) == pytest.approx(float(concentration.entropy_nats(stakes, number)), rel=near)
    assert float(RUN.normalised_entropy[-1]) == pytest.approx(
        float(concentration.normalised_entropy(stakes, number)), rel=near
    )


def test_a_lower_minimum_brings_solo_stakers():
    found = [simulate(MinimumStakePolicy(base_eth=v), SCENARIO, PATH, CLASSES)[1] for v in (2.0, 32.0)]
    assert float(found[0].solo_stakers[-1]) > 1.5 * float(found[1].solo_stakers[-1])
    assert float(found[0].entropy_nats[-1]) > float(found[1].entropy_nats[-1])
    assert float(found[0].liquidity_eth[-1]) < float(found[1].liquidity_eth[-1])
    assert float(found[0].corruption[-1]) > float(found[1].corruption[-1])


# --- Security along a run and welfare -------------------------------------------------------------------------------

WORLD = WelfareScenario()
UNITS = Scale(
    origin=Terms(security=0.0, decentralisation=0.0, liquidity=0.0, load=0.0, wait=0.0),
    ranges=Terms(security=1.0, decentralisation=1.0, liquidity=1.0, load=1.0, wait=1.0),
)


@pytest.mark.parametrize("correlation", [0.06, 0.46])
def test_interpolated_security_is_that_of_every_period(x64, correlation):
    security = SecurityScenario(correlation=correlation, reward_usd=1.0)  # so that faults decide
    found = run_security.security_levels(security, RUN, PATH)
    exact = jax.jit(jax.vmap(lambda h, q: log_fault_probability(n_eff=1.0 / h, corruption=q, correlation=correlation)))(
        RUN.herfindahl, RUN.corruption
    )
    np.testing.assert_allclose(found, -np.asarray(exact) / np.log(10.0), atol=1e-8 if x64 else 2e-3)


def test_interpolation_over_a_wide_range(x64):
    """Number of operators over a factor of two, and failures from one in a hundred to one in twenty."""
    wide = dataclasses.replace(
        RUN, herfindahl=jnp.geomspace(0.05, 0.1, PERIODS), corruption=jnp.geomspace(0.01, 0.05, PERIODS)
    )
    security = SecurityScenario(reward_usd=1.0)
    surface = run_security.fault_surface(security, number=1.0 / wide.herfindahl, corruption=wide.corruption, points=9)
    found = run_security.security_levels(security, wide, PATH, surface=surface)
    exact = jax.jit(jax.vmap(lambda h, q: log_fault_probability(n_eff=1.0 / h, corruption=q)))(
        wide.herfindahl, wide.corruption
    )
    np.testing.assert_allclose(found, -np.asarray(exact) / np.log(10.0), atol=1e-4 if x64 else 2e-3)
    beyond = dataclasses.replace(wide, herfindahl=wide.herfindahl * 1.1)
    outside = run_security.security_levels(security, beyond, PATH, surface=surface)
    assert np.isnan(outside[-1])
    assert np.isfinite(outside[0])


def test_terms_by_hand():
    found = welfare.terms(WORLD, RUN, PATH)
    level = np.asarray(run_security.security_levels(WORLD.security, RUN, PATH), float)
    assert float(found.security) == pytest.approx(np.mean(np.minimum(level, 40.0)) / 40.0, rel=1e-4)
    assert float(found.decentralisation) == pytest.approx(np.asarray(RUN.entropy_nats).mean() / np.log(2.0), rel=1e-5)
    assert float(found.load) == pytest.approx(-np.asarray(RUN.validators).mean() / 1e6, rel=1e-5)
    assert float(found.wait) == pytest.approx(-np.asarray(RUN.wait_days).mean(), rel=1e-5)
    liquid = np.mean(np.log(np.asarray(RUN.liquidity_eth) / WORLD.reference_liquidity_eth))
    assert float(found.liquidity) == pytest.approx(liquid, rel=1e-4, abs=1e-5)


def loss(levers, path, scenario=WORLD):
    rule = MinimumStakePolicy(base_eth=levers[0], count_exponent=levers[1], volatility_slope=levers[2])
    paths = jax.tree.map(lambda x: x[None], path)
    return welfare.negative_welfare(rule, scenario, classes=CLASSES, paths=paths, scale=UNITS)


def test_gradient_of_welfare_is_that_of_differences(x64):
    at = (12.0, 0.3, 1.0)
    value, slope = jax.jit(jax.value_and_grad(loss))(at, PATH)
    assert float(jax.jit(loss)(at, PATH)) == pytest.approx(float(value), rel=1e-9 if x64 else 1e-5)
    assert np.all(np.isfinite([float(x) for x in slope]))
    if x64:
        f, step = jax.jit(loss), 1e-5
        for place in range(3):
            up, down = ([x + s * step * (i == place) for i, x in enumerate(at)] for s in (1, -1))
            numeric = (float(f(tuple(up), PATH)) - float(f(tuple(down), PATH))) / (2 * step)
            assert float(slope[place]) == pytest.approx(numeric, rel=2e-3, abs=1e-7)


def test_paths_are_averaged():
    paths = jax.tree.map(lambda *x: jnp.stack(x), *[path_of(k) for k in range(3)])
    rows = welfare.terms_by_path(RULE, WORLD, classes=CLASSES, paths=paths)
    assert rows.security.shape == (3,)
    alone = welfare.terms(WORLD, simulate(RULE, WORLD.dynamics, path_of(2), CLASSES)[1], path_of(2))
    for a, b in zip(jax.tree.leaves(rows), jax.tree.leaves(alone), strict=True):
        assert float(a[2]) == pytest.approx(float(b), rel=1e-6 if jax.config.jax_enable_x64 else 2e-3)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"load": -1.0}, "load must be at least 0"),
        (dict.fromkeys(("security", "decentralisation", "liquidity", "load", "wait"), 0.0), "positive sum, got 0.0"),
    ],
)
def test_bad_weights(weights, message):
    terms = Terms(security=1.0, decentralisation=1.0, liquidity=1.0, load=1.0, wait=1.0)
    with pytest.raises(ValueError, match=message):
        welfare.welfare(terms, weights=Weights(**weights), scale=UNITS)


def test_a_term_that_does_not_move_does_not_count():
    terms = Terms(security=1.0, decentralisation=1.0, liquidity=1.0, load=1.0, wait=1.0)
    flat = dataclasses.replace(UNITS, ranges=dataclasses.replace(UNITS.ranges, wait=0.0))
    assert float(welfare.welfare(terms, weights=Weights(), scale=flat)) == 4.0


def test_bad_scenarios():
    with pytest.raises(ValueError, match=r"behaviour\.exit_hazard must be at least 0"):
        dynamics.initial_state(leaves.replace(SCENARIO, {"behaviour.exit_hazard": -1.0}), CLASSES)
    _, run = simulate(RULE, leaves.replace(SCENARIO, {"turnover": 0.0}), PATH, CLASSES)
    assert np.all(np.isnan(run.active_eth))
