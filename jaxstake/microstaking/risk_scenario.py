"""What risk warnings look at: operators, queues, the staking token's market, and the thresholds, with dated defaults.

The defaults describe mainnet on 2026-08-22 where that day was recorded; every other number says its own day, or that
it is a judgement. Stakes of operators are `ModelledOperators` (three leaders, a tail, small owners) or, from a list,
`ListedOperators`; `stakes` turns either into rows for `concentration`.
"""

from __future__ import annotations

import functools
from types import MappingProxyType
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np

from jaxstake.core.checks import confirm, every, in_domains, poison
from jaxstake.core.domain import FRACTION, NON_NEGATIVE, POSITIVE, POSITIVE_FRACTION, PROPER_FRACTION
from jaxstake.core.numerics import as_float
from jaxstake.core.pytree import branch, leaf, pytree, static
from jaxstake.core.typing import Scalar
from jaxstake.microstaking.assessment import SecurityScenario
from jaxstake.microstaking.pools import StableSwap
from jaxstake.microstaking.security import FINALISES_ALONE, STOPS_FINALITY, WINS_FORK_CHOICE

ORIGINS = MappingProxyType(
    {
        "queues": "2026-08-22, validatorqueue.com",
        "security.total_stake_eth": "2026-08-22, validatorqueue.com",
        "security.price_usd": "2025-12-31, Binance close",
        "security.daily_volatility": "2021 to 2025, median over windows of 30 days, daily closes",
        "operators": "2025-10-21, withdrawal addresses, CiMillan/stacking-game-academic (MIT)",
        "client_share": "2025-12-07 to 13, proposers seen by the Flashbots relay, published 2025-12-16",
        "market.pool": "2022-02-28, Curve stETH/ETH, Sravanthgithub/Curve-depeg (Apache-2.0)",
        "thresholds.finality, fork_choice, finalises": "consensus rules",
        "all others": "judgement",
    }
)
"""Day and source of the default numbers, by leaf."""

LEADERS = 3
"""Operators that have a leaf of their own."""


@pytree
class ModelledOperators:
    """Three leaders and a Zipf tail share what owners of 10 validators or more stake; small owners share the rest.

    The defaults are the shares of withdrawal addresses on 2025-10-21, and a tail that matches their entropy and
    Herfindahl index together. An address is not an operator: the first is the common vault of one protocol.
    """

    largest: Scalar = leaf(default=0.2487, domain=FRACTION, meaning="share of the largest, of what small owners leave")
    # A bucket of unclassified validators, not one owner.
    second: Scalar = leaf(default=0.1000, domain=FRACTION, meaning="share of the second")
    third: Scalar = leaf(default=0.0836, domain=FRACTION, meaning="share of the third")
    zipf_exponent: Scalar = leaf(default=0.868, domain=NON_NEGATIVE, meaning="steepness of the tail, share ~ rank^-z")
    small_share: Scalar = leaf(default=0.0483, domain=PROPER_FRACTION, meaning="share of the stake with small owners")
    small_owners: Scalar = leaf(default=43_853.0, domain=POSITIVE, meaning="owners of fewer than 10 validators")
    tail: int = static(default=3_799, meaning="operators in the tail")


@pytree
class ListedOperators:
    """Operators from a list, the largest first, by stake per operator; `list_operators` builds it."""

    largest: Scalar = leaf(unit="ETH", domain=NON_NEGATIVE, meaning="stake of the first row")
    second: Scalar = leaf(unit="ETH", domain=NON_NEGATIVE, meaning="stake of the second row")
    third: Scalar = leaf(unit="ETH", domain=NON_NEGATIVE, meaning="stake of the third row")
    others: Any = leaf(unit="ETH", meaning="[O - 3] stake of the other rows")
    counts: Any = leaf(meaning="[O] equal operators that share each row")


@pytree
class Queues:
    """Stake at the doors of the validator set. Mainnet, 2026-08-22 (validator queue site)."""

    exit_eth: Scalar = leaf(default=1_728.0, unit="ETH", domain=NON_NEGATIVE, meaning="stake waiting to exit")
    entry_eth: Scalar = leaf(default=2_262_825.0, unit="ETH", domain=NON_NEGATIVE, meaning="stake waiting to enter")


def _recorded_pool() -> StableSwap:
    return StableSwap(reserve_x=576_444.26, reserve_y=613_061.58, amplification=50.0)


@pytree
class Market:
    """Where a staking token is sold. Curve's stETH/ETH pool of 2022-02-28, the last day on record: set it anew."""

    pool: StableSwap = branch(default_factory=_recorded_pool)
    redemption_price: Scalar = leaf(default=1.0, unit="ETH", domain=POSITIVE, meaning="what a token is redeemed for")
    # Judgement: everybody who waits to exit would rather sell.
    sold_share: Scalar = leaf(default=1.0, domain=NON_NEGATIVE, meaning="sold through the pool, over the exit queue")


@pytree
class Thresholds:
    """Where each quantity turns critical. Those of consensus are the protocol's; all others are judgement."""

    finality: Scalar = leaf(default=STOPS_FINALITY, domain=POSITIVE_FRACTION, meaning="share that stops finality")
    fork_choice: Scalar = leaf(default=WINS_FORK_CHOICE, domain=POSITIVE_FRACTION, meaning="wins the fork choice")
    finalises: Scalar = leaf(default=FINALISES_ALONE, domain=POSITIVE_FRACTION, meaning="share that finalises alone")
    nakamoto_finality: Scalar = leaf(default=2.0, domain=POSITIVE, meaning="fewest operators to stop finality")
    nakamoto_fork_choice: Scalar = leaf(default=4.0, domain=POSITIVE, meaning="fewest operators to win the fork choice")
    level: Scalar = leaf(default=3.0, domain=POSITIVE, meaning="least decimal places of security, per day")
    economic_security: Scalar = leaf(default=10.0, domain=POSITIVE, meaning="least cost of an attack over its reward")
    exit_days: Scalar = leaf(default=14.0, unit="days", domain=POSITIVE, meaning="longest wait to exit")
    entry_days: Scalar = leaf(default=30.0, unit="days", domain=POSITIVE, meaning="longest wait to enter")
    discount: Scalar = leaf(default=0.01, domain=POSITIVE_FRACTION, meaning="largest discount of the token")
    impact: Scalar = leaf(default=0.05, domain=POSITIVE_FRACTION, meaning="largest fall of the price, queue sold")
    pool_share: Scalar = leaf(default=0.7, domain=POSITIVE_FRACTION, meaning="largest share of the token in its pool")
    volatility: Scalar = leaf(default=1.0, unit="1/sqrt(year)", domain=POSITIVE, meaning="largest volatility of ETH")


@pytree
class WarningScenario:
    """Everything that the warnings depend on, but for the protocol's constants."""

    security: SecurityScenario = branch(default_factory=SecurityScenario)
    operators: Any = branch(default_factory=ModelledOperators)
    queues: Queues = branch(default_factory=Queues)
    market: Market = branch(default_factory=Market)
    thresholds: Thresholds = branch(default_factory=Thresholds)
    # Mainnet votes with 0.99 of its stake.
    corrupt_share: Scalar = leaf(default=0.01, domain=FRACTION, meaning="share of the stake that is corrupt or offline")
    # Lighthouse on 2025-12-07 to 13, among proposers seen by one relay (Flashbots, 2025-12-16).
    client_share: Scalar = leaf(default=0.45, domain=FRACTION, meaning="share of the most used consensus client")


@functools.singledispatch
def stakes(operators: Any) -> tuple[jax.Array, jax.Array]:
    """Rows of operators: stake `[O]`, and how many equal operators share it `[O]`.

    Equation of `ModelledOperators`: leaders `(1 - s) p_i`, the tail `(1 - s) (1 - p_1 - p_2 - p_3) r^-z / sum(r^-z)`
    over the ranks r from 1, and one row of `s` for the small owners.

    Returns:
        Stakes in any one unit, and counts.

    Raises:
        ValueError: the leaders' shares add up to more than 1, or a concrete leaf is out of its domain.
        TypeError: the argument holds no operators.

    Example:
        >>> rows, counts = stakes(ModelledOperators(tail=2))
        >>> [f"{share:.3f}" for share in rows], float(counts[-1])
        (['0.237', '0.095', '0.080', '0.349', '0.191', '0.048'], 43853.0)
    """
    _no_operators(operators)


@stakes.register
def _(operators: ModelledOperators) -> tuple[jax.Array, jax.Array]:
    if operators.tail < 1:
        raise ValueError(f"operators.tail must be at least 1, got {operators.tail}")
    leaders = jnp.stack([as_float(share) for share in (operators.largest, operators.second, operators.third)])
    led = jnp.sum(leaders)
    order = confirm(led <= 1, "operators.largest, second and third must add up to at most 1, got {led}", led=led)
    ok = every(in_domains({"operators": operators}), order)
    log_ranks = jnp.asarray(np.log(np.arange(1, operators.tail + 1)), leaders.dtype)
    tail = jax.nn.softmax(-operators.zipf_exponent * log_ranks)
    large = jnp.concatenate([leaders, (1.0 - led) * tail])
    small = as_float(operators.small_share)
    rows = jnp.append((1.0 - small) * large, small)
    counts = jnp.append(jnp.ones_like(large), as_float(operators.small_owners))
    return jnp.asarray(poison(ok, rows)), jnp.asarray(poison(ok, counts))


@stakes.register
def _(operators: ListedOperators) -> tuple[jax.Array, jax.Array]:
    ok = in_domains({"operators": operators})
    leaders = jnp.stack([as_float(stake) for stake in (operators.largest, operators.second, operators.third)])
    rows = jnp.concatenate([leaders, as_float(operators.others)])
    return jnp.asarray(poison(ok, rows)), as_float(operators.counts)


def list_operators(stakes: Any, counts: Any = None) -> ListedOperators:
    """Operators from concrete stakes, sorted by stake per operator.

    Args:
        stakes: [O] stake of each row, ETH, >= 0, not all 0; rows of no stake fill up a list of fewer than three.
        counts: [O] equal operators that share it, > 0; default 1 each.

    Raises:
        ValueError: a shape is wrong, there is no row, or a value is out of range.

    Example:
        >>> found = list_operators([32.0, 640.0, 96.0, 64.0], [1.0, 20.0, 1.0, 1.0])
        >>> found.largest, found.second, found.third, found.others.tolist()
        (96.0, 64.0, 32.0, [640.0])
    """
    rows = np.asarray(stakes, np.float64)
    numbers = np.ones_like(rows) if counts is None else np.asarray(counts, np.float64)
    if rows.ndim != 1 or not rows.size:
        raise ValueError(f"stakes must be a vector [O] of at least one row, got shape {rows.shape}")
    if numbers.shape != rows.shape:
        raise ValueError(f"counts must have the shape of stakes {rows.shape}, got shape {numbers.shape}")
    confirm(NON_NEGATIVE.contains(rows), f"stakes must be {NON_NEGATIVE.rule}, got {{stake}}", stake=rows)  # type: ignore[arg-type]
    confirm(POSITIVE.contains(numbers), f"counts must be {POSITIVE.rule}, got {{count}}", count=numbers)  # type: ignore[arg-type]
    confirm(rows.sum() > 0, "stakes must have a positive sum, got {total}", total=float(rows.sum()))
    missing = max(LEADERS - rows.size, 0)
    rows, numbers = np.pad(rows, (0, missing)), np.pad(numbers, (0, missing), constant_values=1.0)
    order = np.argsort(-rows / numbers, kind="stable")
    rows, numbers = rows[order], numbers[order]
    leaders = dict(zip(("largest", "second", "third"), map(float, rows), strict=False))
    return ListedOperators(**leaders, others=jnp.asarray(rows[LEADERS:], float), counts=jnp.asarray(numbers, float))


def _no_operators(operators: Any) -> NoReturn:
    raise TypeError(f"operators must be ModelledOperators or ListedOperators, got {type(operators).__name__}")
