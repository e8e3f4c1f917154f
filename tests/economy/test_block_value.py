"""The lognormal block value against scipy, its limits, its fit, and the door for other families."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy import integrate, stats

from jaxstake.core import leaves
from jaxstake.core.domain import POSITIVE
from jaxstake.core.pytree import leaf, pytree
from jaxstake.economy import block_value
from jaxstake.economy.apr import apr
from jaxstake.economy.block_value import LogNormal, log_normal_from_median
from jaxstake.economy.scenario import Scenario

PARAMETERS = [(-4.51, 0.7876), (-2.5, 1.2), (-2.836, 0.906), (0.3, 0.05), (-3.0, 2.0)]
LEVELS = [1e-6, 0.01, 0.25, 0.5, 0.9, 0.99, 0.9999]


def scipy_of(log_mean: float, log_std: float) -> Any:
    return stats.lognorm(s=log_std, scale=math.exp(log_mean))


def moments(value: LogNormal) -> dict[str, Any]:
    return {
        "mean": block_value.mean(value),
        "variance": block_value.variance(value),
        "third_central_moment": block_value.third_central_moment(value),
    }


def interface(value: LogNormal, point: Any, level: Any) -> dict[str, Any]:
    return {
        **moments(value),
        "cdf": block_value.cdf(value, value=point),
        "quantile": block_value.quantile(value, level=level),
        "log_density": block_value.log_density(value, value=point),
        "tail_mean": block_value.tail_mean(value, level=level),
    }


@pytest.mark.parametrize(("log_mean", "log_std"), PARAMETERS)
def test_moments_equal_scipy(log_mean: float, log_std: float, tolerance: float) -> None:
    found, wanted = moments(LogNormal(log_mean=log_mean, log_std=log_std)), scipy_of(log_mean, log_std)
    assert found["mean"] == pytest.approx(wanted.mean(), rel=tolerance)
    assert found["variance"] == pytest.approx(wanted.var(), rel=4 * tolerance)
    # scipy's skewness loses digits where sigma is small; growth (e^s^2 - 1)^2 (e^s^2 + 2) does not.
    growth = math.expm1(log_std**2)
    third = (growth + 3) * growth**2 * math.exp(3 * log_mean + 1.5 * log_std**2)
    assert found["third_central_moment"] == pytest.approx(third, rel=8 * tolerance)
    skewness = float(found["third_central_moment"]) / float(found["variance"]) ** 1.5
    assert skewness == pytest.approx(float(wanted.stats(moments="s")), rel=1e-4)


@pytest.mark.parametrize(("log_mean", "log_std"), PARAMETERS)
def test_distribution_equals_scipy(log_mean: float, log_std: float, tolerance: float) -> None:
    value, wanted = LogNormal(log_mean=log_mean, log_std=log_std), scipy_of(log_mean, log_std)
    for level in LEVELS:
        point = float(wanted.ppf(level))
        z = abs(stats.norm.ppf(level))
        assert block_value.quantile(value, level=level) == pytest.approx(point, rel=20 * (1 + z) * tolerance)
        # The logarithm of a point is known to rounding; over sigma, that is an error in z.
        slack = tolerance * (1 + abs(log_mean)) / log_std * (1 + z)
        assert block_value.cdf(value, value=point) == pytest.approx(level, rel=20 * slack)
        assert block_value.log_density(value, value=point) == pytest.approx(
            float(wanted.logpdf(point)), abs=20 * slack * (1 + z)
        )


@pytest.mark.parametrize(("log_mean", "log_std"), PARAMETERS)
@pytest.mark.parametrize("level", [0.0, 0.25, 0.9, 0.99])
def test_tail_mean_equals_the_integral_of_quantiles(
    log_mean: float, log_std: float, level: float, tolerance: float
) -> None:
    low = stats.norm.ppf(level) if level else -40.0
    integrand = lambda z: math.exp(log_mean + log_std * z - 0.5 * z * z) / math.sqrt(2 * math.pi)  # noqa: E731
    wanted = integrate.quad(integrand, low, log_std + 12, epsabs=0, epsrel=1e-11)[0] / (1 - level)
    found = block_value.tail_mean(LogNormal(log_mean=log_mean, log_std=log_std), level=level)
    assert found == pytest.approx(wanted, rel=max(1e-9, 20 * tolerance))


def test_quantile_inverts_the_distribution_function(tolerance: float) -> None:
    value = LogNormal(log_mean=-2.8, log_std=0.9)
    for level in (0.05, 0.5, 0.95):
        assert block_value.cdf(value, value=block_value.quantile(value, level=level)) == pytest.approx(
            level, rel=20 * tolerance
        )


def test_scaling_the_unit_scales_every_amount(tolerance: float) -> None:
    one, thousand = LogNormal(log_mean=-2.8, log_std=0.9), LogNormal(log_mean=-2.8 + math.log(1e3), log_std=0.9)
    small, large = interface(one, 0.07, 0.3), interface(thousand, 70.0, 0.3)
    powers = {"mean": 1, "variance": 2, "third_central_moment": 3, "quantile": 1, "tail_mean": 1, "cdf": 0}
    for name, power in powers.items():
        assert float(large[name]) == pytest.approx(float(small[name]) * 1e3**power, rel=20 * tolerance), name
    assert float(large["log_density"]) == pytest.approx(float(small["log_density"]) - math.log(1e3), rel=20 * tolerance)


def test_limits() -> None:
    value = LogNormal(log_mean=-2.8, log_std=0.9)
    assert block_value.quantile(value, level=0.0) == 0
    assert block_value.quantile(value, level=1.0) == math.inf
    assert block_value.tail_mean(value, level=0.0) == block_value.mean(value)
    for point in (0.0, -1.0, -math.inf):
        assert block_value.cdf(value, value=point) == 0
        assert block_value.log_density(value, value=point) == -math.inf
    assert block_value.cdf(value, value=math.inf) == 1
    assert np.isnan(block_value.cdf(value, value=math.nan))
    assert np.isnan(block_value.log_density(value, value=math.nan))


def test_no_spread_is_a_point_mass(tolerance: float) -> None:
    value = LogNormal(log_mean=0.0, log_std=0.0)
    assert block_value.mean(value) == 1
    assert block_value.variance(value) == block_value.third_central_moment(value) == 0
    assert [float(block_value.cdf(value, value=point)) for point in (0.999, 1.0, 1.001)] == [0, 1, 1]
    assert [float(block_value.log_density(value, value=x)) for x in (0.999, 1.0, 1.001)] == [
        -math.inf,
        math.inf,
        -math.inf,
    ]
    assert block_value.quantile(value, level=0.9) == 1
    assert block_value.tail_mean(value, level=0.9) == pytest.approx(1, rel=100 * tolerance)
    drawn = block_value.sample(value, key=jax.random.key(0), shape=(5,))
    np.testing.assert_array_equal(drawn, np.ones(5))


def test_small_spread_tends_to_the_point_mass() -> None:
    for log_std in (1e-2, 1e-4):
        value = LogNormal(log_mean=-3.0, log_std=log_std)
        assert block_value.mean(value) == pytest.approx(math.exp(-3.0), rel=2 * log_std**2 + 1e-6)
        # To leading order the standard deviation is the median times log_std, without loss of digits.
        deviation = math.sqrt(float(block_value.variance(value)))
        assert deviation == pytest.approx(math.exp(-3.0) * log_std, rel=2 * log_std**2 + 1e-5)


@pytest.mark.parametrize("level", [-0.1, 1.1, math.nan])
def test_levels_outside_are_refused_and_traced_become_nan(level: float) -> None:
    value = LogNormal(log_mean=-2.8, log_std=0.9)
    for function, rule in ((block_value.quantile, r"in \[0, 1\]"), (block_value.tail_mean, r"in \[0, 1\)")):
        with pytest.raises(ValueError, match=f"level must be {rule}, got {level}"):
            function(value, level=level)
        found = jax.jit(jax.value_and_grad(lambda x, f=function: f(value, level=x)))(level)
        assert np.all(np.isnan(found))
    with pytest.raises(ValueError, match=r"level must be in \[0, 1\), got 1\.0"):
        block_value.tail_mean(value, level=1.0)


def test_gradients(only_x64: None) -> None:
    def of(x: Any) -> Any:
        found = interface(LogNormal(log_mean=x[0], log_std=x[1]), x[2], x[3])
        return jnp.stack([jnp.asarray(value) for value in found.values()])

    check_grads(jax.jit(of), (jnp.asarray([-1.2, 0.9, 0.4, 0.3]),), order=1, modes=("fwd", "rev"), atol=1e-6, rtol=1e-6)


def test_density_is_the_slope_of_the_distribution_function(tolerance: float) -> None:
    value = LogNormal(log_mean=-2.8, log_std=0.9)
    for point in (0.01, 0.06, 0.5):
        slope = jax.grad(lambda x: block_value.cdf(value, value=x))(point)
        density = math.exp(float(block_value.log_density(value, value=point)))
        assert float(slope) == pytest.approx(density, rel=50 * tolerance)


@pytest.mark.parametrize(
    ("name", "log_std", "argument"),
    [
        ("cdf", 0.9, 0.0),
        ("cdf", 0.9, -1.0),
        ("cdf", 0.0, 0.4),
        ("quantile", 0.9, 0.0),
        ("quantile", 0.0, 0.4),
        ("log_density", 0.9, 1e-300),
        ("tail_mean", 0.9, 0.0),
        ("tail_mean", 0.0, 0.4),
        ("variance", 0.0, 0.4),
        ("third_central_moment", 0.0, 0.4),
    ],
)
def test_gradients_are_finite_at_the_edges(name: str, log_std: float, argument: float, x64: bool) -> None:
    argument = max(argument, 1e-30) if argument == 1e-300 and not x64 else argument

    def of(log_mean: Any, log_std: Any, argument: Any) -> Any:
        return interface(LogNormal(log_mean=log_mean, log_std=log_std), argument, argument)[name]

    assert np.all(np.isfinite(jax.jit(jax.grad(of, argnums=(0, 1, 2)))(-1.2, log_std, argument)))


def test_slope_of_the_tail_mean_where_the_tail_is_everything(only_x64: None) -> None:
    value = LogNormal(log_mean=-1.2, log_std=0.9)
    slope = jax.grad(lambda level: block_value.tail_mean(value, level=level))(0.0)
    assert slope == pytest.approx(float(block_value.mean(value)), rel=1e-12)


def test_eager_jit_and_vmap_agree(tolerance: float) -> None:
    log_means, log_stds = jnp.asarray([p[0] for p in PARAMETERS]), jnp.asarray([p[1] for p in PARAMETERS])
    points, levels = jnp.asarray([0.01, 0.5, 0.1, 1.0, 3.0]), jnp.asarray(LEVELS[1:6])

    def of(log_mean: Any, log_std: Any, point: Any, level: Any) -> dict[str, Any]:
        return interface(LogNormal(log_mean=log_mean, log_std=log_std), point, level)

    batch = jax.jit(jax.vmap(of))(log_means, log_stds, points, levels)
    compiled = jax.jit(of)
    for i in range(len(PARAMETERS)):
        arguments = (log_means[i], log_stds[i], points[i], levels[i])
        eager, single = of(*arguments), compiled(*arguments)
        for name, wanted in eager.items():
            # In the far tail a chance or a variance inherits the rounding of its logarithm many times over.
            slack = 200 * tolerance
            np.testing.assert_allclose(single[name], wanted, rtol=slack, err_msg=name)
            np.testing.assert_allclose(batch[name][i], wanted, rtol=slack, err_msg=name)


def test_sample_moments_within_their_standard_errors() -> None:
    value = LogNormal(log_mean=-2.8, log_std=0.6)
    count = 200_000
    drawn = np.asarray(block_value.sample(value, key=jax.random.key(7), shape=(count,)), np.float64)
    logs = np.log(drawn)
    assert abs(logs.mean() + 2.8) < 4 * 0.6 / math.sqrt(count)
    assert abs(logs.std() - 0.6) < 4 * 0.6 / math.sqrt(2 * count)
    exact = scipy_of(-2.8, 0.6)
    assert abs(drawn.mean() - exact.mean()) < 4 * exact.std() / math.sqrt(count)
    fourth = float(exact.moment(4) - 4 * exact.moment(3) * exact.mean() + 6 * exact.moment(2) * exact.mean() ** 2)
    fourth -= 3 * exact.mean() ** 4
    spread = math.sqrt((fourth - exact.var() ** 2) / count)
    assert abs(drawn.var() - exact.var()) < 4 * spread
    assert stats.kstest(drawn[:20_000], exact.cdf).pvalue > 1e-3


def test_samples_follow_the_key_and_move_with_the_parameters() -> None:
    value = LogNormal(log_mean=-2.8, log_std=0.6)
    draw = lambda value, seed: block_value.sample(value, key=jax.random.key(seed), shape=(3, 4))  # noqa: E731
    assert draw(value, 1).shape == (3, 4)
    assert block_value.sample(value, key=jax.random.key(1)).shape == ()
    np.testing.assert_array_equal(draw(value, 1), draw(value, 1))
    assert not np.any(draw(value, 1) == draw(value, 2))
    slope = jax.grad(lambda x: jnp.sum(draw(LogNormal(log_mean=x, log_std=0.6), 1)))(-2.8)
    np.testing.assert_allclose(slope, jnp.sum(draw(value, 1)), rtol=1e-5)


@pytest.mark.parametrize(("median", "mean"), [(0.011, 0.015), (0.011, 0.05), (2.0, 2.0)])
def test_from_median_and_mean(median: float, mean: float, tolerance: float) -> None:
    value = log_normal_from_median(median_eth=median, mean_eth=mean)
    assert block_value.quantile(value, level=0.5) == pytest.approx(median, rel=10 * tolerance)
    assert block_value.mean(value) == pytest.approx(mean, rel=10 * tolerance)
    assert isinstance(value.log_mean, float)


@pytest.mark.parametrize(("median", "mean"), [(0.0, 1.0), (-1.0, 1.0), (0.02, 0.01), (math.nan, 1.0)])
def test_from_median_refuses_what_no_lognormal_has(median: float, mean: float) -> None:
    with pytest.raises(ValueError, match=f"need 0 < median_eth <= mean_eth, got {median} and {mean}"):
        log_normal_from_median(median_eth=median, mean_eth=mean)


@pytest.mark.parametrize(
    "call",
    [
        block_value.mean,
        block_value.variance,
        block_value.third_central_moment,
        lambda x: block_value.cdf(x, value=1.0),
        lambda x: block_value.quantile(x, level=0.5),
        lambda x: block_value.log_density(x, value=1.0),
        lambda x: block_value.tail_mean(x, level=0.5),
        lambda x: block_value.sample(x, key=jax.random.key(0)),
    ],
)
def test_other_types_are_refused(call: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match="not a block-value distribution: str"):
        call("lognormal")


@pytree
class Exponential:
    """A family that the package does not know."""

    scale_eth: Any = leaf(default=0.02, unit="ETH", domain=POSITIVE)


@block_value.mean.register
def _(distribution: Exponential) -> Any:
    return distribution.scale_eth


def test_a_new_family_works_in_the_apr_as_soon_as_it_registers(tolerance: float) -> None:
    scenario = Scenario(block_value=Exponential())
    known = Scenario(block_value=log_normal_from_median(median_eth=0.02, mean_eth=0.02))
    assert float(apr(scenario).net) == pytest.approx(float(apr(known).net), rel=10 * tolerance)
    assert "block_value.scale_eth" in leaves.names(scenario)
    slope = jax.jit(jax.grad(lambda s: apr(s).mev))(scenario).block_value.scale_eth
    assert float(slope) == pytest.approx(float(apr(scenario).mev) / 0.02, rel=10 * tolerance)
    with pytest.raises(ValueError, match=r"block_value\.scale_eth must be greater than 0"):
        apr(Scenario(block_value=Exponential(scale_eth=-1.0)))
