"""Every family of block values against SciPy and numerical integration, its limits, gradients and modes."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy import stats

from jaxstake.economy import block_value
from jaxstake.economy.block_value import (
    Empirical,
    LogNormal,
    LogNormalMixture,
    LogNormalPareto,
    SkewLogNormal,
    WithZeros,
    empirical_of,
)
from tests.oracles import block_values as oracle

LEVELS = (0.02, 0.3, 0.5, 0.86, 0.93, 0.999)
VALUES = (0.004, 0.03, 0.1, 0.13, 0.6, 4.0)
_PARETO = {"log_mean": -3.0, "log_std": 0.7, "threshold_eth": 0.12, "tail_share": 0.1, "tail_scale_eth": 0.1}
_KNOTS = ([0.01, 0.02, 0.05, 0.12, 0.3], [0.0, 0.3, 0.6, 0.9, 1.0])


def pareto(shape: float) -> tuple[Any, Any]:
    return LogNormalPareto(**_PARETO, tail_shape=shape), oracle.pareto(-3.0, 0.7, 0.12, 0.1, 0.1, shape)


def cases() -> dict[str, tuple[Any, Any]]:
    first, second = oracle.log_normal(-3.3, 0.5), oracle.log_normal(-1.0, 0.8)
    mixed = LogNormalMixture(
        first_log_mean=-3.3, first_log_std=0.5, second_log_mean=-1.0, second_log_std=0.8, second_share=0.2
    )
    lean = SkewLogNormal(log_location=-3.6, log_scale=1.1, log_shape=2.5)
    heavy = pareto(0.2)
    return {
        "log_normal": (LogNormal(log_mean=-2.8, log_std=0.9), oracle.log_normal(-2.8, 0.9)),
        "mixture": (mixed, oracle.mixture(first, second, 0.2)),
        "skew": (lean, oracle.skew(-3.6, 1.1, 2.5)),
        "skew_left": (SkewLogNormal(log_location=-1.0, log_scale=1.1, log_shape=-1.5), oracle.skew(-1.0, 1.1, -1.5)),
        "pareto": heavy,
        "pareto_short": pareto(-0.3),
        "pareto_exponential": pareto(0.0),
        "zeros": (WithZeros(paid_share=0.8, paid=heavy[0]), oracle.with_zeros(heavy[1], 0.8)),
    }


CASES = cases()


@pytest.fixture(params=CASES, scope="module")
def case(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    return CASES[request.param]


def everything(distribution: Any, value: Any, level: Any) -> dict[str, Any]:
    return {
        "mean": block_value.mean(distribution),
        "variance": block_value.variance(distribution),
        "third": block_value.third_central_moment(distribution),
        "cdf": block_value.cdf(distribution, value=value),
        "survival": block_value.survival(distribution, value=value),
        "log_cdf": block_value.log_cdf(distribution, value=value),
        "log_survival": block_value.log_survival(distribution, value=value),
        "log_density": block_value.log_density(distribution, value=value),
        "limited_mean": block_value.limited_mean(distribution, value=value),
        "quantile": block_value.quantile(distribution, level=level),
        "tail_mean": block_value.tail_mean(distribution, level=level),
    }


def test_moments(case: tuple[Any, Any], x64: bool) -> None:
    distribution, law = case
    rel = 1e-7 if x64 else 5e-4
    assert float(block_value.mean(distribution)) == pytest.approx(law.mean(), rel=rel)
    assert float(block_value.variance(distribution)) == pytest.approx(law.central(2), rel=10 * rel)
    assert float(block_value.third_central_moment(distribution)) == pytest.approx(law.central(3), rel=100 * rel)


def test_chances_densities_and_limited_means(case: tuple[Any, Any], x64: bool) -> None:
    distribution, law = case
    rel, floor = (1e-8, 1e-12) if x64 else (1e-4, 1e-6)
    whole = jax.jit(everything)(distribution, jnp.asarray(VALUES), jnp.full(len(VALUES), 0.5))
    for place, value in enumerate(VALUES):
        found = {name: float(x[place]) for name, x in whole.items() if np.ndim(x)}
        assert found["cdf"] == pytest.approx(law.below(value), rel=rel, abs=rel)
        assert found["survival"] == pytest.approx(law.above(value), rel=rel, abs=floor)
        assert math.exp(found["log_cdf"]) == pytest.approx(law.below(value), rel=rel, abs=rel)
        assert math.exp(found["log_survival"]) == pytest.approx(law.above(value), rel=rel, abs=floor)
        assert math.exp(found["log_density"]) == pytest.approx(law.density(value), rel=10 * rel, abs=1e-12)
        assert found["limited_mean"] == pytest.approx(law.limited_mean(value), rel=rel)


def test_quantiles_and_tail_means(case: tuple[Any, Any], x64: bool) -> None:
    distribution, law = case
    whole = jax.jit(everything)(distribution, jnp.full(len(LEVELS), 0.1), jnp.asarray(LEVELS))
    for place, level in enumerate(LEVELS):
        at, above = float(whole["quantile"][place]), float(whole["tail_mean"][place])
        assert at == pytest.approx(law.quantile(level), rel=1e-9 if x64 else 2e-4, abs=1e-12)
        assert above == pytest.approx(law.tail_mean(level), rel=1e-7 if x64 else 3e-3)


def test_samples_follow_the_law(case: tuple[Any, Any]) -> None:
    distribution, law = case
    drawn = np.asarray(block_value.sample(distribution, key=jax.random.key(4), shape=(8_000,)), float)
    assert abs(np.mean(drawn == 0) - law.zeros) < 5 * math.sqrt(max(law.zeros * (1 - law.zeros), 1e-9) / drawn.size)
    paid = drawn[drawn > 0]
    chance = np.vectorize(lambda x: (law.below(x) - law.zeros) / (1 - law.zeros))
    assert stats.kstest(paid[:3_000], chance).pvalue > 1e-3


def test_gradients_in_parameters_value_and_level(case: tuple[Any, Any], only_x64: None) -> None:
    distribution = jax.tree.map(lambda x: jnp.asarray(x, float), case[0])
    for value, level in ((0.05, 0.4), (0.4, 0.97)):
        point = (distribution, jnp.asarray(value), jnp.asarray(level))
        check_grads(jax.jit(everything), point, order=1, modes=("rev",), eps=1e-6, atol=1e-5, rtol=1e-5)


def test_gradients_are_finite_at_the_edges(case: tuple[Any, Any]) -> None:
    distribution = jax.tree.map(lambda x: jnp.asarray(x, float), case[0])
    functions = ("cdf", "survival", "log_survival", "limited_mean", "quantile", "tail_mean")

    def total(distribution: Any, value: Any, level: Any) -> Any:
        found = everything(distribution, value, level)
        return sum(found[name] for name in functions)

    slopes = jax.jit(jax.grad(total, argnums=(0, 1, 2)))
    for value, level in ((0.0, 0.0), (-1.0, 0.0), (0.12, 0.9)):
        found = slopes(distribution, jnp.asarray(value), jnp.asarray(level))
        assert all(np.all(np.isfinite(slope)) for slope in jax.tree.leaves(found))


def test_eager_jit_vmap_and_arrays_agree(case: tuple[Any, Any], x64: bool) -> None:
    distribution = case[0]
    values, levels = jnp.asarray(VALUES), jnp.asarray(LEVELS)
    whole = everything(distribution, values, levels)
    each = jax.jit(jax.vmap(everything, in_axes=(None, 0, 0)))(distribution, values, levels)
    for name, found in whole.items():
        wanted = np.asarray(each[name])
        scale = 1e-9 if x64 else 2e-3
        np.testing.assert_allclose(np.broadcast_to(found, wanted.shape), wanted, rtol=scale, atol=1e-12, err_msg=name)


def test_heavy_tails_have_no_moments() -> None:
    moments = (block_value.mean, block_value.variance, block_value.third_central_moment)
    for shape, finite in ((0.3, 3), (0.4, 2), (0.7, 1), (1.0, 0), (1.4, 0)):
        distribution = pareto(shape)[0]
        found = [float(moment(distribution)) for moment in moments]
        assert [math.isfinite(x) for x in found] == [place < finite for place in range(3)]
        assert not any(math.isnan(x) for x in found)
        assert math.isinf(float(block_value.tail_mean(distribution, level=0.5))) == (shape >= 1.0)
        assert math.isfinite(float(block_value.limited_mean(distribution, value=50.0)))
    wrapped = WithZeros(paid_share=0.5, paid=pareto(1.2)[0])
    assert math.isinf(float(block_value.mean(wrapped)))


def test_families_meet_the_lognormal(tolerance: float) -> None:
    plain = LogNormal(log_mean=-2.8, log_std=0.9)
    same = [
        SkewLogNormal(log_location=-2.8, log_scale=0.9, log_shape=0.0),
        LogNormalMixture(
            first_log_mean=-2.8, first_log_std=0.9, second_log_mean=1.0, second_log_std=2.0, second_share=0.0
        ),
        WithZeros(paid_share=1.0, paid=plain),
    ]
    wanted = everything(plain, 0.2, 0.7)
    for distribution in same:
        for name, value in everything(distribution, 0.2, 0.7).items():
            assert float(value) == pytest.approx(float(wanted[name]), rel=50 * tolerance), name
    nothing = WithZeros(paid_share=0.0, paid=plain)
    assert float(block_value.mean(nothing)) == float(block_value.quantile(nothing, level=0.9)) == 0.0


def test_empirical_is_its_quantiles(x64: bool) -> None:
    values, levels = _KNOTS
    distribution = Empirical(value_eth=jnp.asarray(values), level=jnp.asarray(levels))
    law = oracle.log_linear(values, levels)
    rel = 1e-9 if x64 else 1e-4
    assert float(block_value.mean(distribution)) == pytest.approx(law.mean(), rel=rel)
    assert float(block_value.variance(distribution)) == pytest.approx(law.central(2), rel=100 * rel)
    for value in (0.013, 0.03, 0.2):
        assert float(block_value.cdf(distribution, value=value)) == pytest.approx(law.below(value), rel=rel)
        limited = float(block_value.limited_mean(distribution, value=value))
        assert limited == pytest.approx(law.limited_mean(value), rel=rel)
        density = math.exp(float(block_value.log_density(distribution, value=value)))
        assert density == pytest.approx(law.density(value), rel=rel)
    np.testing.assert_allclose(block_value.quantile(distribution, level=jnp.asarray(levels)), values, rtol=rel)
    assert float(block_value.tail_mean(distribution, level=0.9)) == pytest.approx(law.tail_mean(0.9), rel=10 * rel)
    assert math.isinf(float(block_value.log_density(distribution, value=0.4)))


def test_empirical_of_payments(rng: np.random.Generator) -> None:
    payments = rng.lognormal(-3.0, 0.9, 4_001)
    whole, few = (empirical_of(jnp.asarray(payments, float), knots=knots) for knots in (None, 256))
    assert whole.value_eth.size == 4_001
    assert few.value_eth.size == 256
    for distribution in (whole, few):
        assert float(block_value.quantile(distribution, level=0.5)) == pytest.approx(np.median(payments), rel=2e-3)
        assert float(block_value.mean(distribution)) == pytest.approx(payments.mean(), rel=3e-3)
        assert float(block_value.quantile(distribution, level=1.0)) == pytest.approx(payments.max(), rel=1e-5)
    counts = rng.integers(1, 4, 300)
    repeated = empirical_of(jnp.asarray(np.repeat(payments[:300], counts), float))
    weighted = empirical_of(jnp.asarray(payments[:300], float), weights=jnp.asarray(counts, float))
    points = jnp.asarray(np.quantile(payments[:300], [0.1, 0.5, 0.9]), float)
    gaps = block_value.cdf(repeated, value=points) - block_value.cdf(weighted, value=points)
    assert float(jnp.max(jnp.abs(gaps))) < 2 / 300
    with pytest.raises(ValueError, match="knots must be at least 8, got 3"):
        empirical_of(jnp.asarray(payments, float), knots=3)
    with pytest.raises(ValueError, match="vector of two payments or more"):
        empirical_of(jnp.ones(1))


@pytest.mark.parametrize("name", CASES)
def test_bad_levels_are_refused_or_poison(name: str) -> None:
    distribution = CASES[name][0]
    with pytest.raises(ValueError, match=r"level must be in \[0, 1\], got 1\.5"):
        block_value.quantile(distribution, level=1.5)
    with pytest.raises(ValueError, match=r"level must be in \[0, 1\), got 1\.0"):
        block_value.tail_mean(distribution, level=1.0)
    for function in (block_value.quantile, block_value.tail_mean):
        found = jax.jit(jax.value_and_grad(lambda x, f=function: f(distribution, level=x)))(1.5)
        assert np.all(np.isnan(found))
