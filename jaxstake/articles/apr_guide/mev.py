"""Section 4.1 of the APR guide: MEV as a lognormal.

`MevModel` holds what the document's class holds; its functions take it first.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtri

from jaxstake.articles.arithmetic import divide
from jaxstake.core.domain import FINITE, NON_NEGATIVE
from jaxstake.core.numerics import as_float
from jaxstake.core.order_statistics import percentiles
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar

SHIFT = 1e-10
"""What the document adds to a payment before it takes the logarithm, ETH."""


@pytree
class MevModel:
    """The attributes of `MEVRewardModel`, with the document's values."""

    mean_log_return: Scalar = leaf(default=-2.5, unit="log ETH", domain=FINITE, meaning="mean of the logarithm")
    std_log_return: Scalar = leaf(default=1.2, unit="log ETH", domain=NON_NEGATIVE, meaning="standard deviation of it")


@pytree
class MevStatistics:
    """Mean, median, standard deviation and percentiles, ETH per block."""

    mean: Scalar = leaf(unit="ETH")
    median: Scalar = leaf(unit="ETH")
    std: Scalar = leaf(unit="ETH")
    p5: Scalar = leaf(unit="ETH")
    p95: Scalar = leaf(unit="ETH")
    p99: Scalar = leaf(unit="ETH")


@pytree
class AnnualMev:
    """What `annual_mev_expectation` returns; the document returns the last number under two names."""

    mev_per_block: Scalar = leaf(unit="ETH")
    blocks_per_year: Scalar = leaf(unit="blocks/year (printed so)")
    proposal_probability: Scalar = leaf()
    annual_mev: Scalar = leaf(unit="ETH/year")


def expected_mev_per_block(model: MevModel) -> Scalar:
    """Expected MEV of one block.

    Printed: `E[X] = exp(mu + sigma^2 / 2)`, with the remark that it was about 0.05 ETH in 2024 and 2025.

    Args:
        model: parameters of the lognormal.

    Returns:
        ETH per block; 0.1686 with the document's parameters.

    Outside: At a standard deviation of 0 it is the median.

    Protocol: The formula is right, its parameters are not those of the remark: a mean of 0.05 ETH needs `mu = -3.716`
        at this sigma. Measured distributions: `jaxstake.economy.block_value.mean` of `jaxstake.data.block_values.get`.

    Source: APR guide, section 4.1, `MEVRewardModel.expected_mev_per_block`.

    Example:
        >>> print(f"{expected_mev_per_block(MevModel()):.6f}")
        0.168638
    """
    return jnp.exp(as_float(model.mean_log_return + model.std_log_return**2 / 2))


def mev_standard_deviation(model: MevModel) -> Scalar:
    """Standard deviation of the MEV of one block, of the distribution itself.

    Printed: `X ~ LogNormal(mu, sigma^2)`; the number only as a sample statistic. `sd = E[X] sqrt(exp(sigma^2) - 1)`.

    Args:
        model: parameters of the lognormal.

    Returns:
        ETH per block.

    Outside: 0 at a standard deviation of 0, where its derivative is not finite.

    Protocol: Real payments have a heavier tail: `jaxstake.economy.block_value.variance`.

    Source: APR guide, section 4.1, `MEVRewardModel`, the assumption of a lognormal.
    """
    return expected_mev_per_block(model) * jnp.sqrt(jnp.expm1(as_float(model.std_log_return) ** 2))


def mev_quantile(model: MevModel, *, level: Scalar) -> Scalar:
    """Quantile of the MEV of one block, of the distribution itself.

    Printed: `X ~ LogNormal(mu, sigma^2)`; the percentiles only as sample statistics. `exp(mu + sigma z(level))`.

    Args:
        model: parameters of the lognormal.
        level: in (0, 1).

    Returns:
        ETH per block.

    Outside: NaN outside [0, 1]; 0 and infinity at its ends.

    Protocol: At 99.9 % real payments lie far above a lognormal fitted to them: `jaxstake.economy.block_value.quantile`.

    Source: APR guide, section 4.1, `MEVRewardModel`, the assumption of a lognormal.
    """
    return jnp.exp(model.mean_log_return + model.std_log_return * ndtri(as_float(level)))


def mev_samples(model: MevModel, *, draws: jax.Array) -> jax.Array:
    """MEV of blocks from draws of the standard normal.

    Printed: `exp(np.random.normal(mu, sigma, n))` after `np.random.seed(42)`.

    Args:
        model: parameters of the lognormal.
        draws: [N] standard normal, such as `jax.random.normal(key, (N,))`, or NumPy's own for its numbers.

    Returns:
        [N] ETH per block.

    Outside: Any numbers are taken as they are.

    Protocol: Payments of successive blocks are correlated and heavier tailed: `jaxstake.economy.block_value.sample`.

    Source: APR guide, section 4.1, `MEVRewardModel.mev_distribution`.
    """
    return jnp.exp(model.mean_log_return + model.std_log_return * draws)


def mev_distribution(model: MevModel, *, draws: jax.Array) -> MevStatistics:
    """Statistics of simulated MEV: the document's Monte Carlo.

    Printed: mean, median, standard deviation (of the sample, by N) and the 5, 95 and 99 % percentiles (between order
        statistics, linearly) of 10,000 draws.

    Args:
        model: parameters of the lognormal.
        draws: [N] standard normal, N > 0.

    Returns:
        `MevStatistics`, ETH per block; differentiable in the parameters at fixed draws.

    Outside: All numbers are equal at a standard deviation of 0.

    Protocol: No simulation is needed: `expected_mev_per_block`, `mev_standard_deviation` and `mev_quantile` are exact,
        and for real payments `jaxstake.economy.block_value.quantile`.

    Source: APR guide, section 4.1, `MEVRewardModel.mev_distribution`.

    Example:
        >>> found = mev_distribution(MevModel(), draws=jax.random.normal(jax.random.key(0), (1000,)))
        >>> bool(found.p5 < found.median < found.mean < found.p95 < found.p99)
        True
    """
    samples = mev_samples(model, draws=draws)
    median, p5, p95, p99 = percentiles(samples, levels=(50.0, 5.0, 95.0, 99.0))
    return MevStatistics(mean=jnp.mean(samples), median=median, std=jnp.std(samples), p5=p5, p95=p95, p99=p99)


def fit_mev_model(*, payments: jax.Array) -> MevModel:
    """Parameters of the lognormal from payments.

    Printed: mean and standard deviation of `log(payments + 1e-10)`. As printed it never runs on more than one payment:
        `if historical_data` has no truth value for an array, and a list cannot be added to a number. An array of one
        zero, or an empty list, silently keeps the default parameters.

    Args:
        payments: [N] ETH per block, >= 0, N > 0.

    Returns:
        `MevModel`.

    Outside: NaN for a payment below -1e-10. A payment of 0 counts as 1e-10 ETH, 20 units of the logarithm below a
        typical one, and one in a hundred of them more than doubles the variance.

    Protocol: For positive payments it is the maximum likelihood fit: `jaxstake.economy.block_value.fit_log_normal`,
        which counts zeros apart.

    Source: APR guide, section 4.1, `MEVRewardModel.__init__`.

    Example:
        >>> found = fit_mev_model(payments=jnp.asarray([0.01, 0.04]))
        >>> print(f"{found.mean_log_return:.4f} {found.std_log_return:.4f}")
        -3.9120 0.6931
    """
    log_payments = jnp.log(as_float(payments) + SHIFT)
    return MevModel(mean_log_return=jnp.mean(log_payments), std_log_return=jnp.std(log_payments))


def annual_mev_expectation(
    model: MevModel, *, validator_count: Scalar, blocks_per_year: Scalar = 225 * 365
) -> AnnualMev:
    """Expected MEV of one validator in a year.

    Printed: `E[MEV/block] * 225 * 365 / n`, where `225 * 365` are the epochs of a year, called blocks. The column
        beside it multiplies by the 32 slots of an epoch.

    Args:
        model: parameters of the lognormal.
        validator_count: `n`, > 0.
        blocks_per_year: what the code calls so.

    Returns:
        `AnnualMev`.

    Outside: NaN for no validators, where the document's code stops with a division by zero.

    Protocol: A factor of 32 short: an epoch has 32 blocks: `jaxstake.protocol.forks.slots_per_year`,
        `jaxstake.economy.apr.apr`.

    Source: APR guide, section 4.1, `MEVRewardModel.annual_mev_expectation`.

    Example:
        >>> print(f"{annual_mev_expectation(MevModel(), validator_count=500_000).annual_mev:.6f}")
        0.027699
    """
    per_block = expected_mev_per_block(model)
    probability = divide(1.0, validator_count)
    return AnnualMev(
        mev_per_block=per_block,
        blocks_per_year=blocks_per_year,
        proposal_probability=probability,
        annual_mev=per_block * blocks_per_year * probability,
    )


def annual_mev_formula(model: MevModel, *, validator_count: Scalar) -> Scalar:
    """Expected MEV of one validator in a year, as the docstring states it and the code does not compute it.

    Printed: `E[MEV/block] * Blocks/year * P(selected)` with `P(selected) = 1/n * Slots_per_day`; the comment gives
        blocks a year as epochs a year times slots an epoch.

    Args:
        model: parameters of the lognormal.
        validator_count: `n`, > 0.

    Returns:
        ETH per year.

    Outside: NaN for no validators.

    Protocol: 7,200 times too much: the expected proposals of a day are multiplied by the blocks of a year:
        `jaxstake.protocol.duties.proposal_probability`.

    Source: APR guide, section 4.1, docstring of `MEVRewardModel.annual_mev_expectation`.
    """
    return expected_mev_per_block(model) * (225 * 365 * 32) * divide(7200.0, validator_count)
