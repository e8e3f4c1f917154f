"""Block values that rise with the base fee: a busy chain pays its proposers more.

The logarithm of the base fee is normal, the payment follows any family, and the normal numbers behind the two are
correlated (a Gaussian copula). With a lognormal payment this is the bivariate lognormal.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtri

from jaxstake.core.checks import require_domain
from jaxstake.core.domain import FINITE, FRACTION, POSITIVE, Domain
from jaxstake.core.numerics import as_float
from jaxstake.core.pytree import branch, leaf, pytree
from jaxstake.core.typing import Scalar
from jaxstake.economy import block_value
from jaxstake.economy.block_value import LogNormal
from jaxstake.economy.memory import chance_of, normal_scores, payment_of

_CORRELATIONS = Domain(-1.0, 1.0, open_low=True, open_high=True)


@pytree
class BaseFeeLink:
    """Payment and base fee of a block together."""

    payment: Any = branch()
    base_fee_log_mean: Scalar = leaf(unit="log gwei", domain=FINITE, meaning="mean of the logarithm of the base fee")
    base_fee_log_std: Scalar = leaf(unit="log gwei", domain=POSITIVE, meaning="its standard deviation")
    correlation: Scalar = leaf(domain=_CORRELATIONS, meaning="of the normal numbers behind payment and base fee")


def _fee_score(link: BaseFeeLink, base_fee_gwei: Scalar) -> jax.Array:
    fee = as_float(require_domain("base_fee_gwei", base_fee_gwei, POSITIVE))
    return (jnp.log(fee) - link.base_fee_log_mean) / link.base_fee_log_std


def conditional_quantile(link: BaseFeeLink, *, level: Scalar, base_fee_gwei: Scalar) -> jax.Array:
    """Payment that a share of the blocks of a given base fee does not exceed, ETH.

    Equation: the quantile of the payment at `Phi(r z + sqrt(1 - r^2) Phi^-1(level))` with z the standardised logarithm
    of the base fee.

    Args:
        link: the model.
        level: in [0, 1].
        base_fee_gwei: base fee, gwei, > 0.

    Raises:
        ValueError: a concrete argument is out of range.

    Example:
        >>> payment = LogNormal(log_mean=-3.0, log_std=0.9)
        >>> link = BaseFeeLink(payment=payment, base_fee_log_mean=3.0, base_fee_log_std=0.7, correlation=0.3)
        >>> calm, busy = (conditional_quantile(link, level=0.5, base_fee_gwei=fee) for fee in (10.0, 100.0))
        >>> print(f"{calm:.4f} {busy:.4f}")
        0.0380 0.0925
    """
    level = as_float(require_domain("level", level, FRACTION))
    r = as_float(link.correlation)
    inside = (level > 0) & (level < 1)
    z = r * _fee_score(link, base_fee_gwei) + jnp.sqrt(1.0 - r**2) * ndtri(jnp.where(inside, level, 0.5))
    return as_float(block_value.quantile(link.payment, level=jnp.where(inside, chance_of(z), level)))


def conditional_log_normal(link: BaseFeeLink, *, base_fee_gwei: Scalar) -> LogNormal:
    """The payment of a block of a given base fee, where payments are lognormal.

    Equation: log mean `mu + r sigma z`, log standard deviation `sigma sqrt(1 - r^2)`.

    Raises:
        TypeError: the payment is of another family.
        ValueError: a concrete base fee is not above 0.
    """
    payment = link.payment
    if not isinstance(payment, LogNormal):
        raise TypeError(f"link.payment must be LogNormal, got {type(payment).__name__}")
    r = as_float(link.correlation)
    return LogNormal(
        log_mean=payment.log_mean + r * payment.log_std * _fee_score(link, base_fee_gwei),
        log_std=payment.log_std * jnp.sqrt(1.0 - r**2),
    )


def log_density(link: BaseFeeLink, *, payment_eth: Scalar, base_fee_gwei: Scalar) -> jax.Array:
    """Logarithm of the joint density at a payment (ETH, > 0) and a base fee (gwei, > 0).

    Equation: `ln f(payment) + ln g(base fee) + ln c`, with the density of the normal copula
    `ln c = -ln(1 - r^2) / 2 - (r^2 (x^2 + z^2) - 2 r x z) / (2 (1 - r^2))` of the normal numbers x and z.
    NaN where the payment is not above 0.

    Raises:
        ValueError: a concrete base fee is not above 0.
    """
    z = _fee_score(link, base_fee_gwei)
    x = normal_scores(link.payment, as_float(payment_eth))
    r = as_float(link.correlation)
    rest = 1.0 - r**2
    copula = -0.5 * jnp.log(rest) - 0.5 * (r**2 * (x**2 + z**2) - 2.0 * r * x * z) / rest
    fee = -0.5 * z**2 - jnp.log(as_float(link.base_fee_log_std)) - jnp.log(as_float(base_fee_gwei))
    alone = as_float(block_value.log_density(link.payment, value=payment_eth))
    return alone + fee - 0.5 * math.log(2.0 * math.pi) + copula


def sample(link: BaseFeeLink, *, key: jax.Array, shape: tuple[int, ...] = ()) -> tuple[jax.Array, jax.Array]:
    """Independent blocks: payments, ETH, and base fees, gwei."""
    r = as_float(link.correlation)
    z, other = jax.random.normal(key, (2, *shape), jnp.result_type(r, float))
    fee = jnp.exp(link.base_fee_log_mean + link.base_fee_log_std * z)
    return payment_of(link.payment, r * z + jnp.sqrt(1.0 - r**2) * other), fee


@pytree
class LinkFit:
    """A fitted link; standard errors take blocks for independent, which they are not, and are too small by that."""

    link: BaseFeeLink = branch()
    correlation_error: Scalar = leaf(meaning="standard error of the correlation")
    independent_log_likelihood: Scalar = leaf(meaning="of the blocks used, at a correlation of 0")
    log_likelihood: Scalar = leaf(meaning="of the blocks used")
    used: Scalar = leaf(meaning="blocks with a payment and a base fee above 0")


def fit_link(distribution: Any, *, payments_eth: jax.Array, base_fees_gwei: jax.Array) -> LinkFit:
    """Link a fitted distribution of payments to the base fee, in closed form.

    The base fee is fitted by maximum likelihood; the correlation is that of the normal scores, with the error
    `(1 - r^2) / sqrt(n)`.

    Args:
        distribution: family of block values fitted to the payments.
        payments_eth: [B] payments, ETH; what is not above 0 is left out.
        base_fees_gwei: [B] base fees, gwei; likewise.

    Returns:
        `LinkFit`.

    Raises:
        ValueError: the vectors differ in shape.
    """
    payments, fees = as_float(payments_eth), as_float(base_fees_gwei)
    if payments.ndim != 1 or payments.shape != fees.shape:
        raise ValueError(f"payments_eth and base_fees_gwei must be vectors alike, got {payments.shape}, {fees.shape}")
    used = (payments > 0) & (fees > 0)
    count = jnp.sum(used).astype(fees.dtype)
    logs = jnp.log(jnp.where(used, fees, 1.0))
    middle = jnp.sum(jnp.where(used, logs, 0.0)) / count
    spread = jnp.sqrt(jnp.sum(jnp.where(used, (logs - middle) ** 2, 0.0)) / count)
    x = normal_scores(distribution, jnp.where(used, payments, 1.0))
    centre = jnp.sum(jnp.where(used, x, 0.0)) / count
    wide = jnp.sqrt(jnp.sum(jnp.where(used, (x - centre) ** 2, 0.0)) / count)
    product = jnp.where(used, (x - centre) * (logs - middle), 0.0)
    r = jnp.sum(product) / (count * wide * spread)
    link = BaseFeeLink(payment=distribution, base_fee_log_mean=middle, base_fee_log_std=spread, correlation=r)
    alone = BaseFeeLink(payment=distribution, base_fee_log_mean=middle, base_fee_log_std=spread, correlation=0.0)
    known, charged = jnp.where(used, payments, 1.0), jnp.where(used, fees, 1.0)
    totals = [
        jnp.sum(jnp.where(used, log_density(each, payment_eth=known, base_fee_gwei=charged), 0.0))
        for each in (link, alone)
    ]
    return LinkFit(
        link=link,
        correlation_error=(1.0 - r**2) / jnp.sqrt(count),
        log_likelihood=totals[0],
        independent_log_likelihood=totals[1],
        used=count,
    )
