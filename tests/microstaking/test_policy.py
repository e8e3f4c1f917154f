"""The dynamic minimum stake and the paths it follows."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from jaxstake.microstaking import market_paths, policy
from jaxstake.microstaking.market_paths import PathLaw
from jaxstake.microstaking.policy import MinimumStakePolicy

RULE = MinimumStakePolicy(base_eth=16.0, count_exponent=0.4, volatility_slope=1.5)


def by_hand(rule, validators, volatility):
    raw = rule.base_eth * (validators / rule.reference_count) ** rule.count_exponent
    raw *= np.exp(rule.volatility_slope * (volatility - rule.reference_volatility))
    return np.clip(raw, rule.lowest_eth, rule.highest_eth)


@given(validators=st.floats(1e3, 1e8), volatility=st.floats(0.0, 3.0))
@settings(max_examples=50, deadline=None)
def test_hard_rule_by_hand(validators, volatility):
    found = float(policy.minimum_stake(RULE, validators=validators, volatility=volatility))
    assert found == pytest.approx(
        by_hand(RULE, validators, volatility), rel=1e-10 if jax.config.jax_enable_x64 else 1e-4
    )


def test_at_the_references_the_rule_is_its_base():
    found = policy.minimum_stake(RULE, validators=RULE.reference_count, volatility=RULE.reference_volatility)
    assert float(found) == pytest.approx(16.0, rel=1e-6)


@pytest.mark.parametrize("temperature", [0.2, 0.05, 0.01])
def test_the_smooth_rule_tends_to_the_hard_one(temperature):
    """Nowhere further than a factor of 2 to the temperature, and exactly that far at a limit."""
    volatility = jnp.linspace(0.0, 4.0, 81)
    both = [
        jax.vmap(lambda s, f=f: f(RULE, validators=1e6, volatility=s))(volatility)
        for f in (policy.minimum_stake, lambda *a, **k: policy.soft_minimum_stake(*a, temperature=temperature, **k))
    ]
    worst = float(jnp.max(jnp.abs(jnp.log(both[1] / both[0]))))
    assert worst <= temperature * np.log(2.0) * 1.001
    assert float(both[1].min()) > RULE.lowest_eth * 0.999
    assert float(both[1].max()) < RULE.highest_eth * 1.001
    edge = policy.soft_minimum_stake(
        MinimumStakePolicy(base_eth=64.0), validators=1e6, volatility=0.693, temperature=temperature
    )
    assert float(edge) == pytest.approx(64.0 * 2.0**-temperature, rel=1e-4)


def test_limits_stop_the_hard_gradient_and_not_the_smooth_one():
    def at(f):
        return jax.grad(lambda base: f(MinimumStakePolicy(base_eth=base), validators=1e6, volatility=0.693))(70.0)

    assert float(at(policy.minimum_stake)) == 0.0
    assert float(at(policy.soft_minimum_stake)) > 0.0


def test_references_are_null_directions():
    """Another reference is another base: what must not be fitted together."""
    moved = dataclasses.replace(
        RULE, reference_count=RULE.reference_count * 2.0, base_eth=16.0 * 2.0**RULE.count_exponent
    )
    for f in (policy.minimum_stake, policy.soft_minimum_stake):
        a, b = (float(f(rule, validators=2e6, volatility=0.9)) for rule in (RULE, moved))
        assert a == pytest.approx(b, rel=1e-5)


def test_gradients_and_modes(x64):
    def stake(base, exponent, slope, validators, volatility):
        rule = MinimumStakePolicy(base_eth=base, count_exponent=exponent, volatility_slope=slope)
        return policy.soft_minimum_stake(rule, validators=validators, volatility=volatility)

    at = (16.0, 0.4, 1.5, 1.1e6, 0.9)
    if x64:
        check_grads(lambda *x: stake(*x[:3], 1.1e6 * x[3], x[4]), (*at[:3], 1.0, 0.9), order=2, rtol=1e-4)
    lanes = [jnp.full(2, x) for x in at]
    expected = float(stake(*at))
    assert float(jax.jit(stake)(*at)) == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(jax.vmap(stake)(*lanes), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base_eth": 0.0}, "base_eth must be greater than 0"),
        ({"count_exponent": 1.0}, "count_exponent must be in"),
        ({"lowest_eth": 64.0}, "highest_eth must exceed lowest_eth = 64.0, got 64.0"),
    ],
)
def test_bad_policies(changes, message):
    with pytest.raises(ValueError, match=message):
        policy.minimum_stake(dataclasses.replace(RULE, **changes), validators=1e6, volatility=0.5)


# --- Paths ----------------------------------------------------------------------------------------------------------

LAW = PathLaw()
PATHS = 400
draw = jax.jit(
    lambda law, key: jax.vmap(lambda k: market_paths.market_path(law, key=k, periods=520))(jax.random.split(key, PATHS))
)


def test_paths_have_their_moments():
    found = draw(LAW, jax.random.key(1))
    volatility, holders = np.asarray(found.volatility, float), np.asarray(found.holders, float)
    log = np.log(volatility)
    # Standard errors from the spread over independent paths.
    for values, expected in (
        (volatility.mean(1), 0.693),
        (((log - log.mean()) ** 2).mean(1), 0.393**2),
        (holders.mean(1), 1.0),
        (((np.log(holders) + 0.02) ** 2).mean(1), 0.04),
    ):
        assert abs(values.mean() - expected) < 4.0 * values.std() / np.sqrt(PATHS)
    after, centred = 4, log - log.mean()  # weeks; the mean over all paths, for that of one would bias
    correlation = np.mean(centred[:, :-after] * centred[:, after:]) / np.var(log)
    assert correlation == pytest.approx(0.52 ** (after * 7 / 30), abs=0.02)


def test_price_moves_by_the_volatility_of_its_period():
    found = draw(LAW, jax.random.key(2))
    steps = np.diff(np.log(np.asarray(found.price_usd, float)), axis=1)
    standard = steps / (np.asarray(found.volatility, float)[:, :-1] * np.sqrt(7 / 365.25))
    assert standard.mean() == pytest.approx(0.0, abs=4.0 / np.sqrt(standard.size))
    assert standard.std() == pytest.approx(1.0, abs=4.0 / np.sqrt(standard.size))
    np.testing.assert_allclose(found.price_usd[:, 0], LAW.price_usd, rtol=1e-5)


def test_without_shocks_nothing_moves():
    calm = PathLaw(log_std_volatility=0.0, log_std_holders=0.0)
    found = market_paths.market_path(calm, key=jax.random.key(0), periods=10)
    np.testing.assert_allclose(found.volatility, 0.693, rtol=1e-6)
    np.testing.assert_allclose(found.holders, 1.0, rtol=1e-6)


def test_drift_is_that_of_the_median():
    law = dataclasses.replace(LAW, log_drift=0.3)
    ratio = draw(law, jax.random.key(1)).price_usd / draw(LAW, jax.random.key(1)).price_usd
    np.testing.assert_allclose(ratio[:, -1], np.exp(0.3 * 519 * 7 / 365.25), rtol=1e-4)


def test_bad_laws():
    with pytest.raises(ValueError, match="persistence must be in"):
        market_paths.market_path(PathLaw(persistence=1.0), key=jax.random.key(0), periods=2)
    with pytest.raises(ValueError, match="periods must be at least 1, got 0"):
        market_paths.market_path(LAW, key=jax.random.key(0), periods=0)
