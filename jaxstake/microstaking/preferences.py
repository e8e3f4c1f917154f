"""What a holder wants: whether a yield is enough to stake, and whether to run validators alone."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtr

from jaxstake.core.checks import in_domains, poison, require_domain
from jaxstake.core.domain import FRACTION, NON_NEGATIVE, POSITIVE, PROPER_FRACTION
from jaxstake.core.numerics import as_float
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar


@pytree
class Preferences:
    """What makes a holder stake, and stake himself."""

    # Set so that 42.2 million ETH are staked (mainnet, 2026-08-22); 0.0436 gives the 35.7 million of 2025-10-21.
    median_required_yield: Scalar = leaf(
        default=0.0344, unit="1/year", domain=POSITIVE, meaning="yield at which half of the holders stake"
    )
    # Judgement: supply curves of the last years trace the issuance curve, and cannot tell.
    log_std_required_yield: Scalar = leaf(default=1.0, domain=POSITIVE, meaning="deviation of ln(required yield)")
    # Judgement.
    solo_share_small: Scalar = leaf(
        default=0.5, domain=FRACTION, meaning="willing holders who run validators themselves, up to 32 ETH"
    )
    # Set by the stake of owners of fewer than ten validators, 4.8 % on 2025-10-21.
    solo_decline: Scalar = leaf(
        default=0.482, domain=NON_NEGATIVE, meaning="decline of that share, per e-fold of wealth"
    )
    fee: Scalar = leaf(default=0.10, domain=PROPER_FRACTION, meaning="part of the yield that a pool keeps")


def willing_share(preferences: Preferences, *, offered: Scalar) -> jax.Array:
    """Share of the holders whose required yield is at most the one that is offered.

    Equation: `A(y) = Phi((ln y - ln r_median) / s_r)`.

    Args:
        preferences: the law of the required yield.
        offered: y, per year, > 0.

    Raises:
        ValueError: a concrete value is out of range.

    Example:
        >>> print(f"{willing_share(Preferences(), offered=0.0344):.2f}")
        0.50
    """
    ok = in_domains(preferences)
    offered = as_float(require_domain("offered", offered, POSITIVE))
    excess = jnp.log(offered) - jnp.log(as_float(preferences.median_required_yield))
    return poison(ok, ndtr(excess / preferences.log_std_required_yield))  # type: ignore[return-value]


def solo_inclination(preferences: Preferences, *, size_eth: Scalar) -> jax.Array:
    """Share of the willing holders of a size who would run validators themselves if the minimum allowed it.

    Equation: `pi(w) = pi_0 min(1, (w/32)^-kappa)`.

    Args:
        preferences: `pi_0` and `kappa`.
        size_eth: wealth w, ETH, > 0.

    Raises:
        ValueError: a concrete value is out of range.

    Example:
        >>> [f"{solo_inclination(Preferences(), size_eth=w):.3f}" for w in (10.0, 3200.0)]
        ['0.500', '0.054']
    """
    ok = in_domains(preferences)
    size = as_float(require_domain("size_eth", size_eth, POSITIVE))
    excess = jnp.maximum(jnp.log(size / 32.0), 0.0)
    return poison(ok, preferences.solo_share_small * jnp.exp(-preferences.solo_decline * excess))  # type: ignore[return-value]
