"""The operators to whom holders delegate: three leaders and a Zipf tail.

The leaders alone cannot match the Herfindahl index and the entropy of real stake together, nor can a Zipf law; both
together do.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxstake.core.checks import confirm, every, in_domains, poison
from jaxstake.core.domain import FRACTION, NON_NEGATIVE
from jaxstake.core.numerics import as_float
from jaxstake.core.pytree import leaf, pytree, static
from jaxstake.core.typing import Scalar


@pytree
class Operators:
    """How delegated stake is spread. The defaults are shares of mainnet's 3,799 owners of ten validators or more.

    2025-10-21, owners by withdrawal address: 35.7 million ETH, of which 4.8 % belong to 43,853 smaller owners. The
    second is a bucket of unclassified compounding validators, not one owner.
    """

    first_share: Scalar = leaf(default=0.2487, domain=FRACTION, meaning="delegated stake of the largest operator")
    second_share: Scalar = leaf(default=0.1000, domain=FRACTION, meaning="delegated stake of the second")
    third_share: Scalar = leaf(default=0.0836, domain=FRACTION, meaning="delegated stake of the third")
    zipf_exponent: Scalar = leaf(default=0.868, domain=NON_NEGATIVE, meaning="decline of the others with their rank")
    number: int = static(default=3_799, meaning="operators in all")


def validate(operators: Operators) -> jax.Array | bool:
    """Check that every share is in its domain and that the leaders leave something for the others.

    Raises:
        ValueError: a concrete number breaks a rule, or there are fewer than four operators.
    """
    if operators.number < 4:
        raise ValueError(f"number must be at least 4, got {operators.number}")
    led = as_float(operators.first_share) + operators.second_share + operators.third_share
    return every(
        in_domains(operators),
        confirm(led < 1.0, "the three leaders' shares must add up to less than 1, got {led}", led=led),
    )


def delegated_shares(operators: Operators) -> jax.Array:
    """Share of each operator in the delegated stake.

    Equation: the three leaders' as given; `p_k = (1 - leaders) k^-s / sum(j^-s)` for the others, k = 1, 2, ...

    Args:
        operators: the law, K operators.

    Returns:
        [K] shares, which add up to 1.

    Raises:
        ValueError: a number is out of range.

    Example:
        >>> p = delegated_shares(Operators())
        >>> print(f"{p.size} {jnp.sum(p * p):.4f}")
        3799 0.0815
    """
    ok = validate(operators)
    leaders = jnp.stack([as_float(x) for x in (operators.first_share, operators.second_share, operators.third_share)])
    rank = jnp.arange(1, operators.number - 2, dtype=leaders.dtype)
    tail = jnp.exp(-operators.zipf_exponent * jnp.log(rank))
    others = (1.0 - jnp.sum(leaders)) * tail / jnp.sum(tail)
    return poison(ok, jnp.concatenate([leaders, others]))  # type: ignore[return-value]
