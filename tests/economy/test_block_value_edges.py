"""Families of block values at the edges of their parameters, with ties, and with zeros around them."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from jaxstake.economy import block_value
from jaxstake.economy.block_value import LogNormalPareto, SkewLogNormal, WithZeros, empirical_of
from tests.economy.block_value_cases import (
    PAID,
    WITH_TIES,
    arrays,
    at_levels,
    at_values,
    mixture,
    pareto,
    slopes_at_levels,
    slopes_at_values,
)

EDGES = {
    "mixture of the first": mixture(0.0),
    "mixture of the second": mixture(1.0),
    "pareto of no tail": pareto(tail_share=0.0),
    "pareto of tail alone": pareto(tail_share=1.0),
    "pareto exponential": pareto(tail_shape=0.0),
    "pareto short": pareto(tail_shape=-0.25),
    "pareto without mean": pareto(tail_shape=1.0),
    "pareto far beyond": pareto(tail_shape=1.5),
    "skew of no lean": arrays(SkewLogNormal(log_location=-3.6, log_scale=1.2, log_shape=0.0)),
    "empirical with ties": WITH_TIES,
    "no zeros": WithZeros(paid_share=jnp.asarray(1.0), paid=pareto()),
    "zeros alone": WithZeros(paid_share=jnp.asarray(0.0), paid=pareto()),
}


@pytest.mark.parametrize("name", EDGES)
def test_values_and_slopes_at_the_edges(name: str) -> None:
    """No NaN anywhere, and no slope that is infinite: at 0, below it, at the threshold, past the end, at steps."""
    values = jnp.asarray([-1.0, 0.0, 1e-12, 0.01, 0.02, 0.05, 0.12, 0.3, 0.52, 5.0, 1e6])
    levels = jnp.asarray([0.0, 1e-6, 0.1, 0.3, 0.5, 0.9, 0.95, 0.999])
    distribution = EDGES[name]
    for at, slopes, points in ((at_values, slopes_at_values, values), (at_levels, slopes_at_levels, levels)):
        found = at(distribution, points)
        for function, value in found.items():
            assert not np.any(np.isnan(value)), function
        for path, slope in jax.tree_util.tree_leaves_with_path(slopes(distribution, points)):
            assert np.all(np.isfinite(slope)), jax.tree_util.keystr(path)


def test_mixtures_of_one_kind_are_lognormal(x64: bool) -> None:
    points, levels = jnp.asarray([0.01, 0.1, 1.0]), jnp.asarray([0.01, 0.5, 0.99])
    for share, log_mean, log_std in ((0.0, -3.3, 0.5), (1.0, -1.0, 0.8)):
        law, found = stats.lognorm(s=log_std, scale=math.exp(log_mean)), at_values(mixture(share), points)
        rel = 1e-9 if x64 else 1e-3
        np.testing.assert_allclose(found["log_survival"], law.logsf(points), rtol=rel, atol=rel * 1e-3)
        np.testing.assert_allclose(found["log_density"], law.logpdf(points), rtol=rel)
        np.testing.assert_allclose(at_levels(mixture(share), levels)["quantile"], law.ppf(levels), rtol=rel)


def test_far_tails_keep_their_digits(x64: bool) -> None:
    """Where the chances themselves are below the smallest number."""
    found = at_values(mixture(0.25), jnp.asarray([1e-15, 1e25]))
    first, second = (stats.lognorm(s=s, scale=math.exp(m)) for m, s in ((-3.3, 0.5), (-1.0, 0.8)))
    rel = 1e-10 if x64 else 1e-4
    below = np.logaddexp(math.log(0.75) + first.logcdf(1e-15), math.log(0.25) + second.logcdf(1e-15))
    assert float(found["log_cdf"][0]) == pytest.approx(below, rel=rel)
    assert float(found["log_survival"][1]) == pytest.approx(math.log(0.25) + second.logsf(1e25), rel=rel)
    beyond = at_values(pareto(tail_shape=0.02), jnp.asarray([500.0]))
    law = stats.genpareto(0.02, loc=0.12, scale=0.1)
    assert float(beyond["log_survival"][0]) == pytest.approx(math.log(0.1) + law.logsf(500.0), rel=rel)


def test_pareto_tail_of_shape_one_by_hand(x64: bool) -> None:
    """`E[min(Y, y)] = beta ln(1 + y / beta)` of the excess, and its slope in the shape by differences."""
    rel = 1e-10 if x64 else 1e-4
    capped = lambda at: block_value.limited_mean(_shaped(at), value=2.12)  # noqa: E731
    law = stats.truncnorm(-np.inf, (math.log(0.12) + 3.0) / 0.7, loc=-3.0, scale=0.7)
    low = integrate.quad(lambda y: math.exp(y) * law.pdf(y), -12.0, math.log(0.12), epsabs=1e-15)[0]
    wanted = 0.9 * low + 0.1 * (0.12 + 0.1 * math.log(21.0))
    assert float(capped(1.0)) == pytest.approx(wanted, rel=rel)
    differences = float(capped(1.001) - capped(0.999)) / 0.002
    assert float(jax.grad(capped)(1.0)) == pytest.approx(differences, rel=1e-5 if x64 else 0.05)


def _shaped(shape: Any) -> Any:
    return LogNormalPareto(
        log_mean=-3.0, log_std=0.7, threshold_eth=0.12, tail_share=0.1, tail_scale_eth=0.1, tail_shape=shape
    )


def test_infinite_values() -> None:
    end = jnp.asarray([jnp.inf])
    for shape in (-0.25, 0.0, 0.25, 1.0, 1.5):
        found = {name: float(value[0]) for name, value in at_values(pareto(tail_shape=shape), end).items()}
        assert (found["cdf"], found["survival"], found["log_cdf"]) == (1.0, 0.0, 0.0)
        assert found["log_survival"] == found["log_density"] == -math.inf
        wanted = float(block_value.mean(pareto(tail_shape=shape)))
        assert found["limited_mean"] == pytest.approx(wanted, rel=1e-6)
    for distribution in (*PAID.values(), WithZeros(paid_share=jnp.asarray(0.5), paid=pareto())):
        found = at_values(distribution, end)
        assert float(found["limited_mean"][0]) == pytest.approx(float(block_value.mean(distribution)), rel=1e-6)
        assert float(found["cdf"][0]) == 1.0
        assert float(found["survival"][0]) == 0.0


def test_a_short_tail_ends(tolerance: float) -> None:
    """At the threshold plus scale over minus shape."""
    distribution = pareto(tail_shape=-0.25)
    top = block_value.quantile(distribution, level=1.0)
    assert float(top) == pytest.approx(0.12 + 0.1 / 0.25, rel=10 * tolerance)
    found = at_values(distribution, jnp.asarray([0.5201, 3.0]))
    assert found["cdf"].tolist() == [1.0, 1.0]
    assert found["survival"].tolist() == [0.0, 0.0]
    assert found["log_density"].tolist() == [-math.inf, -math.inf]
    np.testing.assert_allclose(found["limited_mean"], block_value.mean(distribution), rtol=20 * tolerance)


def test_threshold_and_shares(x64: bool) -> None:
    rel = 1e-11 if x64 else 1e-4
    body, tail = stats.lognorm(s=0.7, scale=math.exp(-3.0)), stats.genpareto(0.25, loc=0.12, scale=0.1)
    found = at_values(pareto(), jnp.asarray([0.12]))
    assert float(found["cdf"][0]) == pytest.approx(0.9, rel=rel)
    assert float(found["log_density"][0]) == pytest.approx(math.log(0.9 * body.pdf(0.12) / body.cdf(0.12)), rel=rel)
    assert float(at_levels(pareto(), jnp.asarray([0.9]))["quantile"][0]) == pytest.approx(0.12, rel=rel)
    whole = at_levels(pareto(tail_share=1.0), jnp.asarray([0.2, 0.9]))
    np.testing.assert_allclose(whole["quantile"], tail.ppf([0.2, 0.9]), rtol=rel)
    np.testing.assert_allclose(at_values(pareto(tail_share=1.0), jnp.asarray([0.1, 0.3]))["cdf"], tail.cdf([0.1, 0.3]))
    none = pareto(tail_share=0.0)
    np.testing.assert_allclose(
        at_levels(none, jnp.asarray([0.3, 0.8]))["quantile"],
        body.ppf(np.array([0.3, 0.8]) * body.cdf(0.12)),
        rtol=10 * rel,
    )
    assert float(block_value.quantile(none, level=1.0)) == pytest.approx(0.12, rel=rel)
    assert math.isfinite(block_value.mean(pareto(tail_share=0.0, tail_shape=1.5)))


# --- The data themselves --------------------------------------------------------------------------------------------


def test_ties_are_steps(x64: bool) -> None:
    """The chance jumps at a tied value to all that is at most as large, at the largest to 1."""
    found = at_values(WITH_TIES, jnp.asarray([0.00999, 0.01, 0.02, 0.05, 0.2999, 0.3, 0.31]))
    wanted = [0.0, 0.0, 0.3, 0.35, 0.7 + 0.25 * math.log(0.2999 / 0.12) / math.log(2.5), 1.0, 1.0]
    np.testing.assert_allclose(found["cdf"], wanted, rtol=1e-9 if x64 else 1e-4, atol=1e-6)
    assert found["survival"][-2:].tolist() == [0.0, 0.0]
    inside = at_levels(WITH_TIES, jnp.asarray([0.12, 0.2, 0.29, 0.96]))
    np.testing.assert_allclose(inside["quantile"], [0.02, 0.02, 0.02, 0.3], rtol=1e-6)
    values, levels = np.asarray(WITH_TIES.value_eth, float), np.asarray(WITH_TIES.level, float)
    quantile = lambda p: math.exp(np.interp(p, levels, np.log(values)))  # noqa: E731
    integral = lambda a, b: integrate.quad(quantile, a, b, points=levels[(levels > a) & (levels < b)])[0]  # noqa: E731
    rel = 1e-9 if x64 else 1e-4
    assert float(block_value.mean(WITH_TIES)) == pytest.approx(integral(0, 1), rel=rel)
    for level, above in zip((0.12, 0.2, 0.29, 0.96), inside["tail_mean"], strict=True):
        assert float(above) == pytest.approx(integral(level, 1) / (1 - level), rel=rel)
    capped = integrate.quad(lambda p: min(quantile(p), 0.02), 0, 1, points=levels[1:-1])[0]
    assert float(block_value.limited_mean(WITH_TIES, value=0.02)) == pytest.approx(capped, rel=rel)
    centre = integral(0, 1)
    for order, moment in ((2, block_value.variance), (3, block_value.third_central_moment)):
        power = integrate.quad(lambda p, k=order: (quantile(p) - centre) ** k, 0, 1, points=levels[1:-1])[0]
        assert float(moment(WITH_TIES)) == pytest.approx(power, rel=1e-8 if x64 else 1e-2)


def test_levels_of_weighted_payments_by_hand(rng: np.random.Generator, tolerance: float) -> None:
    payments, weights = rng.lognormal(-3.0, 0.9, 9), rng.integers(1, 5, 9)
    order = np.argsort(payments)
    share = weights[order] / weights.sum()
    middle = np.cumsum(share) - share / 2
    found = empirical_of(jnp.asarray(payments, float), weights=jnp.asarray(weights))
    np.testing.assert_allclose(found.level, (middle - middle[0]) / (middle[-1] - middle[0]), atol=10 * tolerance)
    np.testing.assert_allclose(found.value_eth, payments[order], rtol=tolerance)
    equal = empirical_of(jnp.asarray(payments, float))
    np.testing.assert_allclose(equal.level, np.arange(9) / 8, atol=10 * tolerance)


def test_knots_keep_the_largest_payments(rng: np.random.Generator, x64: bool) -> None:
    payments = np.sort(rng.lognormal(-3.0, 1.3, 1_000))
    found = empirical_of(jnp.asarray(payments, float), knots=40)
    assert found.value_eth.shape == found.level.shape == (40,)
    np.testing.assert_allclose(found.value_eth[-10:], payments[-10:], rtol=1e-6)
    assert float(found.value_eth[0]) == pytest.approx(payments[0], rel=1e-6)
    assert bool(jnp.all(jnp.diff(found.level) > 0) & jnp.all(jnp.diff(found.value_eth) > 0))
    whole = empirical_of(jnp.asarray(payments, float))
    np.testing.assert_allclose(
        block_value.quantile(found, level=found.level),
        block_value.quantile(whole, level=found.level),
        rtol=1e-9 if x64 else 1e-3,
    )


# --- Zeros ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAID)
def test_zeros_around_every_family(name: str, x64: bool) -> None:
    """Chances, quantiles and moments by the rules for a payment that happens with a chance."""
    paid, share, rel = PAID[name], 0.75, 1e-9 if x64 else 1e-3
    whole = WithZeros(paid_share=jnp.asarray(share), paid=paid)
    points, levels = jnp.asarray([-1.0, 0.0, 0.02, 0.3]), jnp.asarray([0.1, 0.25, 0.625, 0.8125])
    inner, found = at_values(paid, points), at_values(whole, points)
    wanted = np.where(np.asarray(points) < 0, 0.0, 1 - share + share * np.asarray(inner["cdf"]))
    np.testing.assert_allclose(found["cdf"], wanted, rtol=rel)
    np.testing.assert_allclose(found["log_cdf"][1:], np.log(wanted[1:]), rtol=rel)
    np.testing.assert_allclose(found["survival"], 1 - wanted, rtol=rel, atol=1e-7)
    np.testing.assert_allclose(np.exp(found["log_survival"]), 1 - wanted, rtol=rel, atol=1e-7)
    assert float(found["log_density"][1]) == pytest.approx(math.log(0.25), rel=1e-6)
    np.testing.assert_allclose(found["log_density"][2:], inner["log_density"][2:] + math.log(0.75), rtol=rel)
    np.testing.assert_allclose(found["limited_mean"][1:], share * inner["limited_mean"][1:], rtol=rel)
    below, above = at_levels(whole, levels), at_levels(paid, jnp.asarray([0.0, 0.0, 0.5, 0.75]))
    np.testing.assert_allclose(below["quantile"][2:], above["quantile"][2:], rtol=rel)
    assert below["quantile"][:2].tolist() == [0.0, 0.0]
    moments = (block_value.mean, block_value.variance, block_value.third_central_moment)
    mean, spread, lean = (float(moment(paid)) for moment in moments)
    second, third = spread + mean**2, lean + 3 * mean * spread + mean**3
    np.testing.assert_allclose(below["tail_mean"][:2], share * mean / np.array([0.9, 0.75]), rtol=10 * rel)
    np.testing.assert_allclose(below["tail_mean"][2:], above["tail_mean"][2:], rtol=10 * rel)
    assert float(block_value.mean(whole)) == pytest.approx(share * mean, rel=rel)
    assert float(block_value.variance(whole)) == pytest.approx(share * second - (share * mean) ** 2, rel=10 * rel)
    central = share * third - 3 * share * mean * share * second + 2 * (share * mean) ** 3
    assert float(block_value.third_central_moment(whole)) == pytest.approx(central, rel=100 * rel)


def test_nothing_but_zeros_and_no_zeros() -> None:
    nothing = WithZeros(paid_share=jnp.asarray(0.0), paid=pareto(tail_shape=1.5))
    for moment in (block_value.mean, block_value.variance, block_value.third_central_moment):
        assert float(moment(nothing)) == 0.0
    assert at_levels(nothing, jnp.asarray([0.0, 0.5, 0.99]))["quantile"].tolist() == [0.0, 0.0, 0.0]
    assert at_levels(nothing, jnp.asarray([0.0, 0.5, 0.99]))["tail_mean"].tolist() == [0.0, 0.0, 0.0]
    assert not np.any(block_value.sample(nothing, key=jax.random.key(0), shape=(50,)))
    paying = WithZeros(paid_share=jnp.asarray(1.0), paid=pareto(tail_shape=0.6))
    assert math.isfinite(block_value.mean(paying))
    assert math.isinf(block_value.variance(paying))
    assert math.isinf(block_value.third_central_moment(paying))
    assert np.all(block_value.sample(paying, key=jax.random.key(0), shape=(50,)) > 0)
    top = jnp.nextafter(jnp.asarray(1.0), jnp.asarray(0.0))  # 1 by rounding, once the zeros are taken off
    high = WithZeros(paid_share=jnp.asarray(0.3), paid=PAID["log_normal"])
    assert float(block_value.tail_mean(high, level=top)) > float(block_value.tail_mean(high, level=0.99))
