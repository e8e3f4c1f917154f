"""Likelihood of payments: weights, bounds, and what does not count."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxstake.economy.block_value import Censoring, LogNormal, log_likelihood, negative_log_likelihood

VALUE = LogNormal(log_mean=-2.8, log_std=0.9)
LAW = stats.lognorm(s=0.9, scale=np.exp(-2.8))


def test_each_kind_of_payment(rng: np.random.Generator, x64: bool) -> None:
    payments = rng.lognormal(-2.8, 0.9, 60)
    kinds = rng.integers(-1, 2, 60)
    wanted = np.select([kinds == -1, kinds == 0], [LAW.logcdf(payments), LAW.logpdf(payments)], LAW.logsf(payments))
    found = log_likelihood(VALUE, jnp.asarray(payments, float), censoring=jnp.asarray(kinds))
    np.testing.assert_allclose(found, wanted, rtol=1e-9 if x64 else 2e-4, atol=1e-10 if x64 else 1e-4)
    assert [int(kind) for kind in Censoring] == [0, -1, 1]


def test_weights_repeat_payments(rng: np.random.Generator, tolerance: float) -> None:
    payments, counts = rng.lognormal(-2.8, 0.9, 40), rng.integers(0, 4, 40)
    repeated = negative_log_likelihood(VALUE, jnp.asarray(np.repeat(payments, counts), float))
    weighted = negative_log_likelihood(VALUE, jnp.asarray(payments, float), jnp.asarray(counts, float))
    assert float(weighted) == pytest.approx(float(repeated), rel=20 * tolerance)
    assert float(repeated) == pytest.approx(-np.repeat(LAW.logpdf(payments), counts).mean(), rel=20 * tolerance)


def test_what_has_no_weight_does_not_matter() -> None:
    payments = jnp.asarray([0.1, jnp.nan, 0.0, 0.2])
    weights = jnp.asarray([1.0, 0.0, 0.0, 1.0])
    of = lambda value: negative_log_likelihood(value, payments, weights)  # noqa: E731
    found, slope = jax.value_and_grad(of)(VALUE)
    alone = negative_log_likelihood(VALUE, jnp.asarray([0.1, 0.2]))
    assert float(found) == pytest.approx(float(alone), rel=1e-5)
    assert np.all(np.isfinite(jax.tree.leaves(slope)))
