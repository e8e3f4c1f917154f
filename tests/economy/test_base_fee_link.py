"""Payments that rise with the base fee: scipy's bivariate normal, integrals, coverage, and real blocks."""

from __future__ import annotations

import csv
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy import stats

from jaxstake.economy import base_fee_link, block_value
from jaxstake.economy.base_fee_link import BaseFeeLink, fit_link
from jaxstake.economy.block_value import LogNormal, LogNormalMixture, LogNormalPareto

PAYMENT = LogNormal(log_mean=-3.0, log_std=0.9)
PARETO = LogNormalPareto(
    log_mean=-3.06, log_std=0.68, threshold_eth=0.12, tail_share=0.2, tail_scale_eth=0.09, tail_shape=0.3
)
MIXTURE = LogNormalMixture(
    first_log_mean=-3.1, first_log_std=0.6, second_log_mean=-1.5, second_log_std=0.8, second_share=0.1
)


def link(payment=PAYMENT, correlation=0.3):
    return BaseFeeLink(payment=payment, base_fee_log_mean=3.0, base_fee_log_std=0.7, correlation=correlation)


def bivariate(correlation):
    """The logarithms of payment and base fee."""
    both = correlation * 0.9 * 0.7
    return stats.multivariate_normal([-3.0, 3.0], [[0.81, both], [both, 0.49]])


@pytest.mark.parametrize("correlation", [-0.9, 0.0, 0.3, 0.99])
def test_density_of_a_lognormal_payment_is_bivariate_normal(correlation, rng, x64):
    logs = rng.multivariate_normal([-3.0, 3.0], [[2.0, 0.3], [0.3, 1.0]], size=50)
    wanted = bivariate(correlation).logpdf(logs) - logs.sum(1)
    payments, fees = jnp.asarray(np.exp(logs).T, float)
    found = base_fee_link.log_density(link(correlation=correlation), payment_eth=payments, base_fee_gwei=fees)
    np.testing.assert_allclose(found, wanted, rtol=1e-8 if x64 else 2e-3, atol=1e-8 if x64 else 2e-3)


@pytest.mark.parametrize("payment", [PARETO, MIXTURE], ids=["pareto", "mixture"])
def test_density_adds_up_to_one(payment):
    """Over the logarithms of both, by the trapezium rule; and over the fee alone it is the payment's own density."""
    x = jnp.linspace(math.log(1e-4), math.log(1e4), 1_500)
    z = jnp.linspace(3.0 - 6.0, 3.0 + 6.0, 400)

    def at(log_payment, log_fee):
        logarithm = base_fee_link.log_density(
            link(payment, 0.5), payment_eth=jnp.exp(log_payment), base_fee_gwei=jnp.exp(log_fee)
        )
        return jnp.exp(logarithm + log_payment + log_fee)

    density = jax.jit(jax.vmap(jax.vmap(at, (None, 0)), (0, None)))(x, z)
    of_payment = jax.vmap(jnp.trapezoid, (0, None))(density, z)
    own = jnp.exp(block_value.log_density(payment, value=jnp.exp(x)) + x)
    inside = (x > -6.0) & (x < 1.0)
    np.testing.assert_allclose(of_payment[inside], own[inside], rtol=1e-3)
    assert float(jnp.trapezoid(of_payment, x)) == pytest.approx(1.0, abs=2e-3)


def test_no_correlation_leaves_both_alone(tolerance):
    found = base_fee_link.log_density(link(PARETO, 0.0), payment_eth=0.3, base_fee_gwei=15.0)
    fee = stats.lognorm.logpdf(15.0, 0.7, scale=math.exp(3.0))
    wanted = float(block_value.log_density(PARETO, value=0.3)) + fee
    assert float(found) == pytest.approx(wanted, rel=20 * tolerance)


def test_conditional_quantiles_are_those_of_the_conditional_lognormal(x64):
    levels = jnp.asarray([0.0, 0.01, 0.3, 0.5, 0.9, 0.999, 1.0])
    for fee in (3.0, 20.0, 150.0):
        for correlation in (-0.4, 0.0, 0.3, 0.95):
            one = link(correlation=correlation)
            conditional = base_fee_link.conditional_log_normal(one, base_fee_gwei=fee)
            found = base_fee_link.conditional_quantile(one, level=levels, base_fee_gwei=fee)
            wanted = block_value.quantile(conditional, level=levels)
            np.testing.assert_allclose(found, wanted, rtol=1e-7 if x64 else 1e-2)
            z = (math.log(fee) - 3.0) / 0.7
            assert float(conditional.log_mean) == pytest.approx(-3.0 + correlation * 0.9 * z, rel=1e-5)
            assert float(conditional.log_std) == pytest.approx(0.9 * math.sqrt(1 - correlation**2), rel=1e-5)


def test_conditional_quantiles_of_other_families_against_the_density():
    """The density given the fee, added up to the quantile, is the level."""
    one, fee, level = link(PARETO, 0.5), 60.0, 0.8
    end = base_fee_link.conditional_quantile(one, level=level, base_fee_gwei=fee)
    x = jnp.linspace(math.log(1e-5), jnp.log(end), 4_000)
    logs = base_fee_link.log_density(one, payment_eth=jnp.exp(x), base_fee_gwei=jnp.full(4_000, fee))
    below = jnp.trapezoid(jnp.exp(logs + x - stats.lognorm.logpdf(fee, 0.7, scale=math.exp(3.0))), x)
    assert float(below) == pytest.approx(level, abs=2e-3)


def test_a_level_inside_pays_something_finite_at_any_fee():
    found = base_fee_link.conditional_quantile(link(correlation=0.9), level=0.999, base_fee_gwei=1e30)
    assert np.isfinite(found)


@pytest.mark.parametrize("payment", [PAYMENT, PARETO], ids=["lognormal", "pareto"])
def test_samples_have_the_marginals_and_the_correlation(payment):
    count = 40_000
    payments, fees = base_fee_link.sample(link(payment, -0.4), key=jax.random.key(2), shape=(count,))
    chances = np.asarray(block_value.cdf(payment, value=payments), np.float64)
    z = (np.log(np.asarray(fees, np.float64)) - 3.0) / 0.7
    assert stats.kstest(chances, "uniform").pvalue > 1e-3
    assert stats.kstest(z, "norm").pvalue > 1e-3
    x = stats.norm.ppf(np.clip(chances, 1e-7, 1 - 1e-7))
    assert abs(np.corrcoef(x, z)[0, 1] + 0.4) < 4 * (1 - 0.4**2) / math.sqrt(count)
    again, _ = base_fee_link.sample(link(payment, -0.4), key=jax.random.key(2), shape=(count,))
    np.testing.assert_array_equal(payments, again)
    assert base_fee_link.sample(link(payment), key=jax.random.key(0))[0].shape == ()


def test_gradients(only_x64):
    def of(at):
        one = BaseFeeLink(
            payment=LogNormal(log_mean=at[0], log_std=at[1]),
            base_fee_log_mean=at[2],
            base_fee_log_std=at[3],
            correlation=at[4],
        )
        return jnp.stack(
            [
                base_fee_link.log_density(one, payment_eth=at[5], base_fee_gwei=at[6]),
                base_fee_link.conditional_quantile(one, level=0.7, base_fee_gwei=at[6]),
            ]
        )

    check_grads(jax.jit(of), (jnp.asarray([-3.0, 0.9, 3.0, 0.7, 0.3, 0.1, 12.0]),), order=1, atol=1e-5, rtol=1e-5)
    for level in (0.0, 1.0):
        slope = jax.grad(
            lambda r, x=level: base_fee_link.conditional_quantile(link(correlation=r), level=x, base_fee_gwei=9.0)
        )
        assert float(slope(0.3)) == 0


def test_bad_arguments_are_refused_and_traced_become_nan():
    calls = {
        "quantile": lambda fee: base_fee_link.conditional_quantile(link(), level=0.5, base_fee_gwei=fee),
        "lognormal": lambda fee: base_fee_link.conditional_log_normal(link(), base_fee_gwei=fee).log_mean,
        "density": lambda fee: base_fee_link.log_density(link(), payment_eth=0.1, base_fee_gwei=fee),
    }
    for call in calls.values():
        with pytest.raises(ValueError, match="base_fee_gwei must be greater than 0 and finite, got 0"):
            call(0.0)
        assert np.isnan(jax.jit(call)(-1.0))
    with pytest.raises(ValueError, match=r"level must be in \[0, 1\], got 1\.5"):
        base_fee_link.conditional_quantile(link(), level=1.5, base_fee_gwei=10.0)
    with pytest.raises(TypeError, match=r"link\.payment must be LogNormal, got LogNormalPareto"):
        base_fee_link.conditional_log_normal(link(PARETO), base_fee_gwei=10.0)
    assert np.isnan(base_fee_link.log_density(link(), payment_eth=0.0, base_fee_gwei=10.0))


# --- Fit ------------------------------------------------------------------------------------------------------------


def fitted(payments, fees, distribution=PAYMENT):
    payments, fees = jnp.asarray(payments, float), jnp.asarray(fees, float)
    return jax.jit(lambda p, f: fit_link(distribution, payments_eth=p, base_fees_gwei=f))(payments, fees)


def drawn(rng, count, correlation=0.3):
    logs = bivariate(correlation).rvs(count, random_state=rng)
    return np.exp(logs[:, 0]), np.exp(logs[:, 1])


def test_fit_equals_numpy(rng, x64):
    payments, fees = drawn(rng, 2_000)
    found, rel = fitted(payments, fees), 1e-9 if x64 else 2e-3
    logs = np.log(fees)
    assert float(found.link.base_fee_log_mean) == pytest.approx(logs.mean(), rel=rel)
    assert float(found.link.base_fee_log_std) == pytest.approx(logs.std(), rel=rel)
    r = np.corrcoef(np.log(payments), logs)[0, 1]
    assert float(found.link.correlation) == pytest.approx(r, rel=rel)
    assert float(found.correlation_error) == pytest.approx((1 - r**2) / math.sqrt(2_000), rel=rel)
    spread = logs.std()
    alone = stats.lognorm.logpdf(payments, 0.9, scale=math.exp(-3.0)).sum()
    alone += stats.lognorm.logpdf(fees, spread, scale=math.exp(logs.mean())).sum()
    assert float(found.independent_log_likelihood) == pytest.approx(alone, rel=rel)
    both = stats.multivariate_normal(
        [-3.0, logs.mean()], [[0.81, r * 0.9 * spread], [r * 0.9 * spread, spread**2]]
    ).logpdf(np.column_stack([np.log(payments), logs]))
    assert float(found.log_likelihood) == pytest.approx(both.sum() - np.log(payments).sum() - logs.sum(), rel=rel)
    assert float(found.used) == 2_000


def test_what_is_no_payment_does_not_matter(rng, x64):
    payments, fees = drawn(rng, 400)
    plain = fitted(payments, fees)
    nothing = [0.0, np.nan, 0.1, 0.1, -1.0, np.nan]
    mixed = fitted(np.concatenate([nothing, payments]), np.concatenate([[10.0, 10.0, 0.0, np.nan, 10.0, np.nan], fees]))
    assert float(mixed.used) == 400
    for one, two in zip(jax.tree.leaves(plain), jax.tree.leaves(mixed), strict=True):
        np.testing.assert_allclose(two, one, rtol=1e-10 if x64 else 1e-4)


@pytest.mark.parametrize("correlation", [0.0, 0.3, -0.8])
def test_errors_cover_in_repeated_samples(correlation):
    repeats, count = 600, 400

    @jax.jit
    @jax.vmap
    def once(key):
        payments, fees = base_fee_link.sample(link(PARETO, correlation), key=key, shape=(count,))
        return fit_link(PARETO, payments_eth=payments, base_fees_gwei=fees)

    found = once(jax.random.split(jax.random.key(4), repeats))
    z = (np.asarray(found.link.correlation) - correlation) / np.asarray(found.correlation_error)
    assert abs(np.mean(np.abs(z) < 1.96) - 0.95) < 4 * math.sqrt(0.95 * 0.05 / repeats)
    assert abs(z.mean()) < 0.25
    fee = (np.asarray(found.link.base_fee_log_mean) - 3.0) * math.sqrt(count) / 0.7
    assert abs(fee.mean()) < 4 / math.sqrt(repeats)


def test_fit_needs_vectors_alike():
    for payments, fees in (
        (jnp.ones(3), jnp.ones(4)),
        (jnp.ones((2, 2)), jnp.ones((2, 2))),
        (jnp.ones(()), jnp.ones(())),
    ):
        with pytest.raises(ValueError, match="payments_eth and base_fees_gwei must be vectors alike, got"):
            fit_link(PAYMENT, payments_eth=payments, base_fees_gwei=fees)


def test_real_blocks_pay_more_when_the_chain_is_busy(shared):
    with (shared / "data" / "mev_blocks_sample.csv").open(newline="") as file:
        rows = [(row["payment_eth"] or "nan", row["base_fee_gwei"] or "nan") for row in csv.DictReader(file)]
    payments, fees = np.array(rows, float).T
    logs = np.log(payments[payments > 0])
    fit = fitted(payments, fees, LogNormal(log_mean=logs.mean(), log_std=logs.std()))
    used = (payments > 0) & (fees > 0)
    wanted = np.corrcoef(np.log(payments[used]), np.log(fees[used]))[0, 1]
    assert wanted == pytest.approx(0.286, abs=1e-3)
    assert float(fit.link.correlation) == pytest.approx(wanted, rel=2e-3)
    assert float(fit.used) == used.sum()
    assert float(fit.correlation_error) < 0.005
    gain = float(fit.log_likelihood - fit.independent_log_likelihood)
    assert gain == pytest.approx(-0.5 * used.sum() * math.log(1 - wanted**2), rel=0.02)
    assert gain > 1_900
