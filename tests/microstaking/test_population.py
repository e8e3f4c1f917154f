"""Holders, their preferences and operators, and the stake that meets the yield."""

from __future__ import annotations

import csv
import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads
from scipy import integrate, stats

from jaxstake.core import leaves
from jaxstake.microstaking import concentration, operators, population, preferences, wealth
from jaxstake.microstaking.population import Population
from jaxstake.microstaking.wealth import Wealth
from jaxstake.protocol import issuance

LAW = Wealth()
PEOPLE = Population()
equilibrium = jax.jit(lambda people, v: population.equilibrium(people, minimum_stake_eth=v))


def owners(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def density(law=LAW):
    """SciPy's lognormal, truncated."""
    base = stats.lognorm(s=law.log_std, scale=np.exp(law.log_mean))
    inside = base.sf(law.smallest_eth) - base.sf(law.largest_eth)
    return lambda w: base.pdf(w) / inside


def integral(order, low, high, law=LAW, factor=lambda w: 1.0):
    """Over the logarithm of wealth, in short pieces."""
    pdf, edges = density(law), np.linspace(np.log(low), np.log(high), 41)
    part = lambda u: np.exp(u * (order + 1)) * pdf(np.exp(u)) * factor(np.exp(u))  # noqa: E731
    return sum(integrate.quad(part, a, b, epsabs=0, epsrel=1e-11)[0] for a, b in itertools.pairwise(edges))


# --- Wealth ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [0.0, 1.0, 0.518, -0.7, 2.0])
@pytest.mark.parametrize(("low", "high"), [(1.0, 1e7), (32.0, 2048.0), (1e6, 1e7), (1.0, 1.001)])
def test_moments_are_those_of_quadrature(x64, order, low, high):
    found = wealth.log_partial_moment(LAW, order=order, low=low, high=high)
    assert float(found) == pytest.approx(np.log(integral(order, low, high)), abs=1e-9 if x64 else 5e-3)


def test_no_holder_no_moment():
    assert float(wealth.log_partial_moment(LAW, order=1.0, low=1e7, high=1e8)) == -np.inf
    assert float(wealth.partial_moment(LAW, order=1.0, low=2.0, high=2.0)) == 0.0
    assert float(jax.grad(lambda v: wealth.partial_moment(LAW, order=1.0, low=v, high=1e8))(2e7)) == 0.0


@given(cut=st.floats(0.0, 1.0), order=st.sampled_from([0.0, 0.5, 1.0]))
@settings(max_examples=25, deadline=None)
def test_moments_add_up(cut, order):
    middle = float(np.exp(cut * np.log(1e7)))
    parts = [float(wealth.partial_moment(LAW, order=order, low=a, high=b)) for a, b in ((1.0, middle), (middle, 1e7))]
    whole = float(wealth.partial_moment(LAW, order=order, low=1.0, high=1e7))
    assert sum(parts) == pytest.approx(whole, rel=1e-10 if jax.config.jax_enable_x64 else 1e-4)


@pytest.mark.parametrize("classes", [1, 7, 256])
@pytest.mark.parametrize("low", [None, 17.0])
def test_classes_keep_holders_and_ether(x64, classes, low):
    found = wealth.size_classes(LAW, classes=classes, low=low)
    start = 1.0 if low is None else low
    exact = [float(wealth.partial_moment(LAW, order=m, low=start, high=1e7)) for m in (0.0, 1.0)]
    assert float(jnp.sum(found.holders)) == pytest.approx(exact[0], rel=1e-11 if x64 else 2e-4)
    assert float(jnp.sum(found.holders * found.size_eth)) == pytest.approx(exact[1], rel=1e-11 if x64 else 2e-4)
    edges = start * np.exp(np.arange(classes + 1) * float(found.log_width))
    assert np.all(edges[:-1] * 0.999 <= np.asarray(found.size_eth))
    assert np.all(np.asarray(found.size_eth) <= edges[1:] * 1.001)


def test_classes_above_all_wealth_are_empty():
    found = wealth.size_classes(LAW, classes=4, low=1e9)
    assert float(jnp.sum(found.holders)) == 0.0
    assert np.asarray(found.size_eth) == pytest.approx(1e7, rel=1e-6)


@pytest.mark.parametrize("tilt", [0.0, 0.5, 1.0])
def test_sample_is_of_the_law(x64, tilt):
    drawn = wealth.sample(LAW, key=jax.random.key(3), holders=1_000_000, tilt=tilt)
    size, count = np.asarray(drawn.size_eth, float), np.asarray(drawn.holders, float)
    near = 1e-4 if tilt == 0.5 else 2e-3
    assert np.sum(count[size >= 32.0]) == pytest.approx(1.202e6 * integral(0.0, 32.0, 1e7), rel=near)
    if tilt > 0:
        assert np.sum((count * size)[size >= 1e4]) == pytest.approx(1.202e6 * integral(1.0, 1e4, 1e7), rel=near)
    assert np.all(np.diff(size[::1000]) >= 0)


def test_plain_strata_see_the_ether_badly():
    """Why the sample is tilted: the same size without it is wrong by far more."""
    exact = 1.202e6 * integral(1.0, 1.0, 1e7)
    errors = {}
    for tilt in (0.0, 0.5):
        found = [
            float(jnp.sum(drawn.size_eth * drawn.holders))
            for key in range(5)
            for drawn in [wealth.sample(LAW, key=jax.random.key(key), holders=1_000, tilt=tilt)]
        ]
        errors[tilt] = np.max(np.abs(np.array(found) / exact - 1.0))
    assert errors[0.5] < 0.03
    assert errors[0.0] > 5.0 * errors[0.5]


def test_gradient_of_moments():
    def moment(mean, std, low):
        law = Wealth(log_mean=mean, log_std=std)
        return wealth.log_partial_moment(law, order=0.5, low=low, high=1e6)

    if jax.config.jax_enable_x64:
        check_grads(moment, (-16.0, 5.4, 20.0), order=2, modes=["fwd", "rev"], rtol=1e-4)
    assert np.isfinite(jax.grad(moment)(-16.0, 5.4, 20.0))


# --- Operators ------------------------------------------------------------------------------------------------------


def test_operators_are_leaders_and_zipf():
    law = operators.Operators(first_share=0.3, second_share=0.1, third_share=0.1, zipf_exponent=1.0, number=6)
    expected = [0.3, 0.1, 0.1, *(0.5 * np.array([1, 1 / 2, 1 / 3]) / (11 / 6))]
    np.testing.assert_allclose(operators.delegated_shares(law), expected, rtol=1e-5)


def test_operators_match_the_owner_file(shared):
    """Delegated stake alone is the file of owners with ten validators or more."""
    rows = owners(shared / "data" / "stake_by_owner_2025-10-21.csv")
    stakes = np.array([float(row["effective_balance_eth"]) for row in rows])
    p = jnp.asarray(stakes / stakes.sum())
    q = operators.delegated_shares(operators.Operators())
    assert p.size == q.size
    np.testing.assert_allclose(q[:3], p[:3], atol=1e-4)
    assert float(concentration.herfindahl(q)) == pytest.approx(float(concentration.herfindahl(p)), rel=0.02)
    assert float(concentration.entropy_nats(q)) == pytest.approx(float(concentration.entropy_nats(p)), rel=0.02)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"number": 3}, "number must be at least 4, got 3"),
        ({"first_share": 0.9}, "leaders' shares must add up to less than 1, got 1.08"),
        ({"first_share": -0.1}, "first_share must be in"),
    ],
)
def test_bad_operators(changes, message):
    with pytest.raises(ValueError, match=message):
        operators.delegated_shares(dataclasses.replace(operators.Operators(), **changes))


# --- Supply and equilibrium -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("v", [0.5, 1.0, 8.0, 32.0, 100.0, 1e5])
def test_supply_is_that_of_quadrature(x64, v):
    found = population.supply(PEOPLE, offered=0.03, minimum_stake_eth=v)
    p = PEOPLE.preferences

    def inclined(w):
        return p.solo_share_small * np.minimum(1.0, (w / 32.0) ** -p.solo_decline)

    willing = [stats.norm.cdf(np.log(y / p.median_required_yield)) for y in (0.03, 0.027)]
    low = max(v, 1.0)
    pieces = [(low, 32.0), (32.0, 1e7)] if low < 32.0 else [(low, 1e7)]
    able = 1.202e6 * sum(integral(1.0, a, b, factor=inclined) for a, b in pieces)
    everything = 1.202e6 * integral(1.0, 1.0, 1e7)
    assert float(found.solo_eth) == pytest.approx(willing[0] * able, rel=1e-8 if x64 else 1e-3)
    assert float(found.pooled_eth) == pytest.approx(willing[1] * (everything - able), rel=1e-8 if x64 else 1e-3)
    assert float(found.total_eth) == float(found.solo_eth + found.pooled_eth)


def test_supply_agrees_with_a_million_sampled_holders():
    drawn = wealth.sample(LAW, key=jax.random.key(0), holders=1_000_000)
    several = [wealth.sample(LAW, key=jax.random.key(k), holders=1_000_000) for k in range(1, 5)]
    exact = population.supply(PEOPLE, offered=0.026, minimum_stake_eth=8.0)
    sampled = [population.sampled_supply(PEOPLE, d, offered=0.026, minimum_stake_eth=8.0) for d in (drawn, *several)]
    for name in ("solo_eth", "pooled_eth", "total_eth", "solo_holders"):
        values = np.array([float(getattr(found, name)) for found in sampled])
        error = np.std(values, ddof=1) + 2e-4 * abs(values[0]) * (not jax.config.jax_enable_x64)
        assert abs(np.mean(values) - float(getattr(exact, name))) < 4.0 * error, name


def test_the_hard_rule_is_the_limit_of_classes_above_it(x64):
    exact = population.equilibrium(PEOPLE, minimum_stake_eth=10.0)
    stakes, counts = population.operator_rows(PEOPLE, exact, minimum_stake_eth=10.0)
    solo = stakes[PEOPLE.operators.number :]
    assert float(jnp.sum(solo)) == pytest.approx(float(exact.supply.solo_eth), rel=1e-5)
    number = float(jnp.sum(counts[PEOPLE.operators.number :]))
    assert number == pytest.approx(float(exact.supply.solo_holders), rel=2e-4 if x64 else 2e-3)


def test_equilibrium_is_a_fixed_point(x64):
    for v in (1.0, 32.0):
        found = equilibrium(PEOPLE, v)
        again = population.supply(PEOPLE, offered=found.yield_per_year, minimum_stake_eth=v)
        assert float(again.total_eth) == pytest.approx(float(found.supply.total_eth), rel=1e-10 if x64 else 1e-4)
        offered = population.staking_yield(PEOPLE, total_stake_eth=found.supply.total_eth)
        assert float(offered) == pytest.approx(float(found.yield_per_year), rel=1e-10 if x64 else 1e-4)


@pytest.mark.parametrize(("median", "stake"), [(0.0344, 42_228_608.0), (0.0436, 35_707_847.0)])
def test_defaults_give_the_network_of_both_dates(median, stake):
    """Total stake within a quarter of a percent, the small owners' 4.83 % within a tenth of a point."""
    found = equilibrium(leaves.replace(PEOPLE, {"preferences.median_required_yield": median}), 32.0)
    assert float(found.supply.total_eth) == pytest.approx(stake, rel=2.5e-3)
    assert float(found.solo_share) == pytest.approx(0.0483, abs=1e-3)


def test_defaults_are_as_concentrated_as_the_owner_file(shared):
    """All owners, the tail in its groups: HHI 0.0727, 3 to pass a third, 5.42 nats."""
    rows = owners(shared / "data" / "stake_by_owner_2025-10-21.csv")
    tail = owners(shared / "data" / "stake_by_owner_tail_2025-10-21.csv")
    stakes = jnp.asarray([float(row["effective_balance_eth"]) for row in rows + tail])
    counts = jnp.asarray([1.0] * len(rows) + [float(row["owners"]) for row in tail])
    people = leaves.replace(PEOPLE, {"preferences.median_required_yield": 0.0436})
    found = equilibrium(people, 32.0)
    ours = population.operator_rows(people, found, minimum_stake_eth=32.0)
    assert float(concentration.herfindahl(*ours)) == pytest.approx(
        float(concentration.herfindahl(stakes, counts)), rel=0.02
    )
    assert float(concentration.nakamoto(*ours)) == float(concentration.nakamoto(stakes, counts)) == 3.0
    ratio = float(concentration.entropy_nats(*ours) / concentration.entropy_nats(stakes, counts))
    assert ratio == pytest.approx(1.0, abs=0.03)


def test_three_readings_of_the_number_of_validators():
    found = equilibrium(PEOPLE, 4.0)
    total = float(found.supply.total_eth)
    assert float(found.validators_at_32) == pytest.approx(total / 32.0, rel=1e-6)
    assert float(found.validators_at_minimum) == pytest.approx(total / 4.0, rel=1e-6)
    assert total / 2048.0 < float(found.validators_consolidated) < float(found.validators_at_32)
    assert float(found.validators_consolidated) > float(found.supply.solo_holders) * 0.9


def test_a_minimum_above_all_wealth_leaves_pools_only():
    found = equilibrium(PEOPLE, 1e9)
    assert float(found.supply.solo_eth) == 0.0
    assert float(found.supply.solo_holders) == 0.0
    assert float(found.supply.pooled_eth) > 1e6
    stakes, counts = population.operator_rows(PEOPLE, found, minimum_stake_eth=1e9)
    assert np.isfinite(float(concentration.entropy_nats(stakes, counts)))


def test_a_perfect_network_pays_the_issuance_curve(tolerance):
    people = leaves.replace(PEOPLE, {"market.participation": 1.0, "market.execution_income_eth": 0.0})
    found = population.staking_yield(people, total_stake_eth=30e6)
    assert float(found) == pytest.approx(float(issuance.perfect_apr(people.fork, total_stake_eth=30e6)), rel=tolerance)


def test_the_unit_of_wealth_does_not_matter():
    """Twice the wealth of half the holders, with every size doubled, is the same stake."""
    doubled = leaves.replace(
        PEOPLE,
        {
            "wealth.holders": LAW.holders / 2,
            "wealth.log_mean": LAW.log_mean + float(np.log(2.0)),
            "wealth.smallest_eth": 2.0,
            "wealth.largest_eth": 2e7,
            "preferences.solo_decline": 0.0,
        },
    )
    plain = leaves.replace(PEOPLE, {"preferences.solo_decline": 0.0})
    a, b = equilibrium(plain, 8.0), equilibrium(doubled, 16.0)
    rounding = 1e-9 if jax.config.jax_enable_x64 else 2e-3
    assert float(a.supply.solo_eth) == pytest.approx(float(b.supply.solo_eth), rel=rounding)
    assert float(a.supply.total_eth) == pytest.approx(float(b.supply.total_eth), rel=rounding)


@pytest.mark.usefixtures("only_x64")
@pytest.mark.parametrize(
    "name",
    [
        "wealth.log_std", "preferences.median_required_yield", "preferences.solo_decline", "preferences.fee",
        "market.execution_income_eth", "fork.base_reward_factor",
    ],
)  # fmt: skip
def test_implicit_gradients_are_those_of_solved_points(name):
    base = leaves.get(PEOPLE, name)

    def stake(value):
        return equilibrium(leaves.replace(PEOPLE, {name: value}), 12.0).supply.total_eth

    step = 1e-5 * base
    numeric = (float(stake(base + step)) - float(stake(base - step))) / (2 * step)
    assert float(jax.grad(stake)(float(base))) == pytest.approx(numeric, rel=1e-5)


def test_modes_agree():
    """Eager, compiled and mapped."""
    minima = jnp.asarray([2.0, 32.0])
    eager = [population.equilibrium(PEOPLE, minimum_stake_eth=v) for v in minima]
    mapped = jax.vmap(lambda v: equilibrium(PEOPLE, v))(minima)
    for lane, alone in enumerate(eager):
        compiled = equilibrium(PEOPLE, minima[lane])
        for a, b, c in zip(*(jax.tree.leaves(x) for x in (alone, compiled, mapped)), strict=True):
            assert float(a) == pytest.approx(float(b), rel=1e-9 if jax.config.jax_enable_x64 else 1e-3)
            assert float(c[lane]) == pytest.approx(float(b), rel=1e-9 if jax.config.jax_enable_x64 else 1e-3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: population.equilibrium(PEOPLE, minimum_stake_eth=0.0), "minimum_stake_eth must be greater than 0"),
        (lambda: population.staking_yield(PEOPLE, total_stake_eth=-1.0), "total_stake_eth must be greater than 0"),
        (lambda: preferences.willing_share(PEOPLE.preferences, offered=0.0), "offered must be greater than 0"),
        (lambda: wealth.size_classes(LAW, classes=0), "classes must be at least 1, got 0"),
        (lambda: wealth.sample(LAW, key=jax.random.key(0), holders=0), "holders must be at least 1, got 0"),
        (lambda: wealth.size_classes(Wealth(largest_eth=0.5)), "largest_eth must exceed smallest_eth = 1.0, got 0.5"),
        (
            lambda: population.supply(
                leaves.replace(PEOPLE, {"preferences.fee": 1.0}), offered=0.03, minimum_stake_eth=1.0
            ),
            "preferences.fee must be in",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_bad_lane_is_nan():
    found = jax.vmap(lambda v: equilibrium(PEOPLE, v).supply.total_eth)(jnp.asarray([32.0, -1.0]))
    assert np.isfinite(found[0])
    assert np.isnan(found[1])
