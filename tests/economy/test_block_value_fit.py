"""The closed-form lognormal fit against NumPy, scipy and simulation, and on real payments."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxstake.core import leaves
from jaxstake.economy import block_value
from jaxstake.economy.block_value import LogNormal, fit_log_normal


def scipy_of(log_mean: float, log_std: float) -> Any:
    return stats.lognorm(s=log_std, scale=math.exp(log_mean))


def test_fit_equals_numpy_and_scipy(rng: np.random.Generator, x64: bool) -> None:
    payments = rng.lognormal(-2.8, 0.9, 5_000)
    fit = jax.jit(fit_log_normal)(jnp.asarray(payments, float))
    rel = 1e-10 if x64 else 1e-4
    assert fit.distribution.log_mean == pytest.approx(np.log(payments).mean(), rel=rel)
    assert fit.distribution.log_std == pytest.approx(np.log(payments).std(), rel=rel)
    shape, _, scale = stats.lognorm.fit(payments, floc=0)
    assert fit.distribution.log_mean == pytest.approx(math.log(scale), rel=max(rel, 1e-6))
    assert fit.distribution.log_std == pytest.approx(shape, rel=max(rel, 1e-4))
    fitted = scipy_of(float(fit.distribution.log_mean), float(fit.distribution.log_std))
    assert fit.log_likelihood == pytest.approx(float(np.sum(fitted.logpdf(payments))), rel=rel)
    assert fit.ks_distance == pytest.approx(stats.kstest(payments, fitted.cdf).statistic, rel=max(1e-9, 10 * rel))
    assert fit.sample_mean == pytest.approx(payments.mean(), rel=rel)
    assert (float(fit.paid), float(fit.zero), float(fit.missing)) == (5_000, 0, 0)


def test_fit_maximises_the_likelihood(rng: np.random.Generator, only_x64: None) -> None:
    payments = jnp.asarray(rng.lognormal(-2.8, 0.9, 500))
    fit = fit_log_normal(payments)

    def log_likelihood(log_mean: Any, log_std: Any) -> Any:
        value = LogNormal(log_mean=log_mean, log_std=log_std)
        return jnp.sum(jax.vmap(lambda x: block_value.log_density(value, value=x))(payments))

    at = (fit.distribution.log_mean, fit.distribution.log_std)
    np.testing.assert_allclose(jax.jit(jax.grad(log_likelihood, argnums=(0, 1)))(*at), 0.0, atol=1e-9)
    # Standard errors are the inverse of the observed information.
    information = -np.asarray(jax.jit(jax.hessian(log_likelihood, argnums=(0, 1)))(*at))
    errors = np.sqrt(np.diag(np.linalg.inv(information)))
    np.testing.assert_allclose([fit.log_mean_error, fit.log_std_error], errors, rtol=1e-9)


def test_standard_errors_cover_in_repeated_samples() -> None:
    repeats, count = 2_000, 400
    drawn = block_value.sample(LogNormal(log_mean=-2.8, log_std=0.9), key=jax.random.key(3), shape=(repeats, count))
    fits = jax.jit(jax.vmap(fit_log_normal))(drawn)
    for found, error, truth in (
        (fits.distribution.log_mean, fits.log_mean_error, -2.8),
        (fits.distribution.log_std, fits.log_std_error, 0.9),
    ):
        z = (np.asarray(found) - truth) / np.asarray(error)
        assert abs(np.mean(np.abs(z) < 1.96) - 0.95) < 4 * math.sqrt(0.95 * 0.05 / repeats) + 0.005
        assert np.std(z) == pytest.approx(1.0, abs=0.06)


def test_fit_counts_what_it_leaves_out_and_is_not_moved_by_it(rng: np.random.Generator, tolerance: float) -> None:
    payments = rng.lognormal(-2.8, 0.9, 300)
    mixed = np.concatenate([payments, np.zeros(7), [-1e-9], np.full(11, np.nan)])
    rng.shuffle(mixed)
    plain, fit = (jax.jit(fit_log_normal)(jnp.asarray(x, float)) for x in (payments, mixed))
    assert (float(fit.paid), float(fit.zero), float(fit.missing)) == (300, 8, 11)
    for name in ("distribution.log_mean", "distribution.log_std", "log_likelihood", "ks_distance", "sample_mean"):
        assert float(leaves.get(fit, name)) == pytest.approx(float(leaves.get(plain, name)), rel=50 * tolerance), name


def test_ks_distance_with_ties(x64: bool) -> None:
    payments = np.repeat([0.01, 0.02, 0.05, 0.3], [3, 1, 5, 2])
    fit = fit_log_normal(jnp.asarray(payments, float))
    fitted = scipy_of(float(fit.distribution.log_mean), float(fit.distribution.log_std))
    assert fit.ks_distance == pytest.approx(stats.kstest(payments, fitted.cdf).statistic, rel=1e-10 if x64 else 1e-5)


@pytest.mark.parametrize(
    ("payments", "counts"),
    [([], (0, 0, 0)), ([math.nan] * 3, (0, 0, 3)), ([0.0, 0.0], (0, 2, 0)), ([0.1, 0.0, math.nan], (1, 1, 1))],
)
def test_fit_of_fewer_than_two_payments_is_nan(payments: list[float], counts: tuple[int, int, int]) -> None:
    fit = fit_log_normal(jnp.asarray(payments, float))
    assert (float(fit.paid), float(fit.zero), float(fit.missing)) == counts
    estimates = leaves.as_dict(fit)
    for name in set(estimates) - {"paid", "zero", "missing"}:
        assert np.isnan(estimates[name]), name


def test_fit_of_equal_payments_has_no_spread() -> None:
    fit = fit_log_normal(jnp.full(4, 0.25))
    assert float(fit.distribution.log_mean) == pytest.approx(math.log(0.25), rel=1e-6)
    assert float(fit.distribution.log_std) == 0
    gradient = jax.jit(jax.grad(lambda x: fit_log_normal(x).distribution.log_std))(jnp.full(4, 0.25))
    assert np.all(np.isfinite(gradient))


def test_fit_needs_a_vector() -> None:
    with pytest.raises(ValueError, match=r"payments_eth must be a vector \[B\], got shape \(2, 2\)"):
        fit_log_normal(jnp.ones((2, 2)))


def test_fit_of_real_payments(shared: Path, x64: bool) -> None:
    with (shared / "data" / "mev_blocks_sample.csv").open(newline="") as file:
        texts = [row["payment_eth"] for row in csv.DictReader(file)]
    payments = np.array([float(text) if text else math.nan for text in texts])
    fit = jax.jit(fit_log_normal)(jnp.asarray(payments, float))
    assert (int(fit.paid), int(fit.zero), int(fit.missing)) == (46_278, 0, 4_552)
    logs = np.log(payments[payments > 0])
    rel = 1e-10 if x64 else 1e-4
    assert fit.distribution.log_mean == pytest.approx(logs.mean(), rel=rel)
    assert fit.distribution.log_std == pytest.approx(logs.std(), rel=rel)
    fitted = scipy_of(logs.mean(), logs.std())
    assert fit.ks_distance == pytest.approx(stats.kstest(payments[payments > 0], fitted.cdf).statistic, rel=1e2 * rel)
    # The tail is heavier than lognormal: the payments average half as much again as the fit says.
    assert float(fit.sample_mean) == pytest.approx(0.1373, abs=1e-4)
    assert float(block_value.mean(fit.distribution)) == pytest.approx(0.0884, abs=1e-4)
    assert float(fit.ks_distance) > 1.63 / math.sqrt(46_278)  # the 1 % critical value
