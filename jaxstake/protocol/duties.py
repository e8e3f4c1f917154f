"""Luck: how often a validator proposes and serves in the sync committee, and what spread of income follows.

Proposals in n slots are Binomial(n, p) with p the validator's share of the effective stake. A sync committee
of 512 seats is drawn every 256 epochs by effective balance. Income is then a compound binomial whose moments
have closed forms; its whole distribution is for `economy`.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from jaxstake.core.checks import require, require_domain
from jaxstake.core.domain import FRACTION, NON_NEGATIVE, POSITIVE, Domain
from jaxstake.core.numerics import as_float, safe_divide, safe_sqrt
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar
from jaxstake.protocol.forks import Fork, epochs_per_year, require_defined, slots_per_year


@pytree
class Moments:
    """Mean, variance and third central moment of a random amount; those of independent amounts add up."""

    mean: Scalar = leaf()
    variance: Scalar = leaf(domain=NON_NEGATIVE)
    third_central: Scalar = leaf(default=0.0)


def standard_deviation(moments: Moments) -> Scalar:
    """Square root of the variance; 0, with gradient 0, where there is none."""
    return safe_sqrt(moments.variance)


def skewness(moments: Moments) -> Scalar:
    """Third central moment over the cube of the standard deviation; 0 where there is no spread."""
    return safe_divide(moments.third_central, safe_sqrt(moments.variance) ** 3)


def proposal_probability(*, effective_balance_eth: Scalar, total_stake_eth: Scalar) -> Scalar:
    """Chance to be the proposer of a given slot: `EB / T`.

    Args:
        effective_balance_eth: effective balance of the validator, or of an operator's validators together, ETH, >= 0.
        total_stake_eth: total active effective balance, ETH, > 0 and at least the former.

    Raises:
        ValueError: a concrete argument is out of range.

    Source: `compute_proposer_index` (phase 0, Electra), which accepts a candidate in proportion to its balance.
    """
    effective_balance_eth = require_domain("effective_balance_eth", effective_balance_eth, NON_NEGATIVE)
    total_stake_eth = require_domain("total_stake_eth", total_stake_eth, POSITIVE)
    factor = require(
        effective_balance_eth <= total_stake_eth,
        "effective_balance_eth must be at most total_stake_eth = {total}, got {effective}",
        total=total_stake_eth,
        effective=effective_balance_eth,
    )
    return factor * (effective_balance_eth / total_stake_eth)


def proposal_distribution(*, slots: Scalar, probability: Scalar, max_proposals: int) -> jax.Array:
    """Probabilities of 0, 1, ..., max_proposals proposals in a number of slots: Binomial(slots, probability).

    Equation: `P(k) = C(n, k) p^k (1-p)^(n-k)`, by the ratios of successive terms. In float32 the relative error is
    about `2^-22` for a validator, whatever the number of slots (where differences of log-gamma lose everything), and
    grows with the expected number `n p`: 3e-5 at 300 proposals, 1e-2 at 30,000.

    Args:
        slots: number of slots `n`, >= 0; need not be whole (the ratio stays defined) but is a distribution only if so.
        probability: chance per slot `p`, in [0, 1).
        max_proposals: largest count, >= 0; sets the shape.

    Returns:
        [max_proposals + 1] probabilities; what is missing to 1 is the chance of more.

    Raises:
        ValueError: a concrete argument is out of range.

    Example:
        >>> p = proposal_distribution(slots=2, probability=0.5, max_proposals=2)
        >>> [round(float(x), 4) for x in p]
        [0.25, 0.5, 0.25]
    """
    if max_proposals < 0:
        raise ValueError(f"max_proposals must be at least 0, got {max_proposals}")
    slots = require_domain("slots", slots, NON_NEGATIVE)
    probability = require_domain("probability", probability, Domain(0.0, 1.0, open_high=True))
    count = jnp.arange(max_proposals)
    slots, probability = as_float(slots), as_float(probability)
    dtype = jnp.result_type(slots, probability)
    never = probability == 0
    chance = jnp.where(never, 0.5, probability)
    ratio = (slots - count.astype(dtype)) / (count + 1).astype(dtype) * chance / (1.0 - chance)
    possible = ~(ratio <= 0)
    log_ratio = jnp.where(possible, jnp.log(jnp.where(possible, ratio, 1.0)), -jnp.inf)
    steps = jnp.concatenate([jnp.zeros(1, log_ratio.dtype), log_ratio])
    chances = jnp.exp(slots * jnp.log1p(-chance) + jnp.cumsum(steps))
    # At p = 0 the ratio has no logarithm, so take the tangent there: P(0) = 1 - n p, P(1) = n p, else 0.
    expected, place = slots * probability, jnp.arange(max_proposals + 1)
    tangent = jnp.where(place == 0, 1.0 - expected, jnp.where(place == 1, expected, 0.0 * expected))
    return jnp.where(never, tangent, chances)


def proposal_quantile(*, level: Scalar, slots: Scalar, probability: Scalar, max_proposals: int) -> jax.Array:
    """Smallest number of proposals that is not exceeded with at least the given probability (to rounding).

    Args:
        level: the probability, in [0, 1].
        slots: number of slots, >= 0.
        probability: chance per slot, in [0, 1).
        max_proposals: largest count looked at; the answer max_proposals + 1 says that the quantile lies above.

    Raises:
        ValueError: a concrete argument is out of range.

    Example:
        >>> year = 31_556_952 // 12
        >>> [int(proposal_quantile(level=q, slots=year, probability=1 / 500_000, max_proposals=50))
        ...  for q in (0.01, 0.5, 0.99)]
        [1, 5, 11]
    """
    level = require_domain("level", level, FRACTION)
    chances = proposal_distribution(slots=slots, probability=probability, max_proposals=max_proposals)
    # NaN compares as reached, so poison the sum through the probabilities themselves.
    rounding = 16.0 * jnp.finfo(chances.dtype).eps
    below = jnp.sum(jnp.where(jnp.cumsum(chances) < level * (1.0 - rounding), 1.0, 0.0))
    return below + 0.0 * (chances[0] + level)


def binomial_income(*, trials: Scalar, probability: Scalar, amount: Moments) -> Moments:
    """Moments of the income from a binomial number of independent payments.

    Equation, with mean `m`, variance `v` and third central moment `t` of one payment and q = 1 - p: mean `n p m`,
    variance `n p (v + q m^2)`, third central moment `n p (t + 3 q m v + q (q - p) m^3)`.

    Args:
        trials: number of chances `n`, >= 0 (slots, or sync-committee periods).
        probability: chance `p` of a payment at each, in [0, 1].
        amount: moments of one payment; a variance, >= 0, of 0 for a fixed amount.

    Raises:
        ValueError: a concrete argument is out of range.

    Source: cumulants of a sum of n independent terms, each the payment with probability p and else 0.
    """
    trials = require_domain("trials", trials, NON_NEGATIVE)
    probability = require_domain("probability", probability, FRACTION)
    amount = _require_spread("amount", amount)
    mean, spread, miss = amount.mean, amount.variance, 1.0 - probability
    expected = trials * probability
    third = amount.third_central + miss * mean * (3.0 * spread + (miss - probability) * mean**2)
    return Moments(mean=expected * mean, variance=expected * (spread + miss * mean**2), third_central=expected * third)


def add_moments(*parts: Moments) -> Moments:
    """Moments of a sum of independent amounts."""
    return jax.tree.map(lambda *values: sum(values), *parts)


def scale_moments(moments: Moments, *, factor: Scalar) -> Moments:
    """Moments of an amount times a constant."""
    return Moments(
        mean=factor * moments.mean,
        variance=factor**2 * moments.variance,
        third_central=factor**3 * moments.third_central,
    )


def sync_committee_periods_per_year(fork: Fork) -> Scalar:
    """Sync-committee periods in a year of 365.25 days (321.02 on mainnet)."""
    require_defined(fork, "epochs_per_sync_committee_period")
    return epochs_per_year(fork) / fork.epochs_per_sync_committee_period


def expected_sync_seats(fork: Fork, *, effective_balance_eth: Scalar, total_stake_eth: Scalar) -> Scalar:
    """Expected number of seats in one sync committee: `SYNC_COMMITTEE_SIZE * EB / T`.

    Args:
        fork: constants, Altair or later.
        effective_balance_eth: effective balance, ETH, >= 0.
        total_stake_eth: total active effective balance, ETH, > 0 and at least the former.

    Raises:
        ValueError: a concrete argument is out of range, or the fork has no sync committee.

    Source: `get_next_sync_committee_indices` (Altair, Electra).
    """
    require_defined(fork, "sync_committee_size")
    share = proposal_probability(effective_balance_eth=effective_balance_eth, total_stake_eth=total_stake_eth)
    return fork.sync_committee_size * share


def sync_seat_probability(fork: Fork, *, effective_balance_eth: Scalar, total_stake_eth: Scalar) -> Scalar:
    """Chance to hold a seat in one sync committee: `min(1, SYNC_COMMITTEE_SIZE * EB / T)`.

    The committee is drawn without replacement within a pass over the shuffled set, so that seats are 0 or 1
    while one pass is enough; a second pass, in small sets, can give more than one.

    Args:
        fork: constants, Altair or later.
        effective_balance_eth: effective balance, ETH, >= 0.
        total_stake_eth: total active effective balance, ETH, > 0 and at least the former.

    Raises:
        ValueError: a concrete argument is out of range, or the fork has no sync committee.
    """
    seats = as_float(
        expected_sync_seats(fork, effective_balance_eth=effective_balance_eth, total_stake_eth=total_stake_eth)
    )
    return jnp.where(seats > 1.0, jnp.ones_like(seats), seats)


def expected_years_between_sync_duties(fork: Fork, *, effective_balance_eth: Scalar, total_stake_eth: Scalar) -> Scalar:
    """Mean time between two sync-committee duties of a validator, years.

    Args:
        fork: constants, Altair or later.
        effective_balance_eth: effective balance, ETH, > 0.
        total_stake_eth: total active effective balance, ETH, > 0.

    Raises:
        ValueError: a concrete argument is out of range, or the fork has no sync committee.
    """
    effective_balance_eth = require_domain("effective_balance_eth", effective_balance_eth, POSITIVE)
    chance = sync_seat_probability(fork, effective_balance_eth=effective_balance_eth, total_stake_eth=total_stake_eth)
    return 1.0 / (chance * sync_committee_periods_per_year(fork))


def yearly_income_moments(
    fork: Fork,
    *,
    validators: Scalar,
    effective_balance_eth: Scalar,
    total_stake_eth: Scalar,
    steady_eth: Scalar,
    proposal: Moments,
    sync_period_eth: Scalar,
) -> Moments:
    """Moments of the yearly income of an operator with k equal validators, ETH.

    Equation: steady income, plus a compound binomial over the year's slots (chance `k EB/T`, since a slot has one
    proposer), plus k independent binomials over the year's sync periods. Proposals of different slots are
    independent; the seats of different validators in one period are taken as independent too, which overstates
    the variance by a share of the order of `k EB/T`.

    Args:
        fork: constants, Altair or later.
        validators: number of validators k, >= 1.
        effective_balance_eth: effective balance of each, ETH, >= 0.
        total_stake_eth: total active effective balance, ETH, >= k EB.
        steady_eth: income of one validator per year that does not depend on luck, ETH.
        proposal: moments of the income from one slot in which it is the proposer, ETH.
        sync_period_eth: income of one seat over one sync-committee period, ETH.

    Raises:
        ValueError: a concrete argument is out of range, or the fork has no sync committee.
    """
    validators = require_domain("validators", validators, Domain(1.0))
    effective_balance_eth = require_domain("effective_balance_eth", effective_balance_eth, NON_NEGATIVE)
    proposal = _require_spread("proposal", proposal)
    operator_eth = validators * effective_balance_eth
    chance = proposal_probability(effective_balance_eth=operator_eth, total_stake_eth=total_stake_eth)
    seat = sync_seat_probability(fork, effective_balance_eth=effective_balance_eth, total_stake_eth=total_stake_eth)
    proposals = binomial_income(trials=slots_per_year(fork), probability=chance, amount=proposal)
    seats = binomial_income(
        trials=validators * sync_committee_periods_per_year(fork),
        probability=seat,
        amount=Moments(mean=sync_period_eth, variance=0.0),
    )
    steady = Moments(mean=validators * steady_eth, variance=0.0, third_central=0.0)
    return add_moments(steady, proposals, seats)


def _require_spread(name: str, amount: Moments) -> Moments:
    """The moments, with a variance checked not to be negative."""
    return dataclasses.replace(amount, variance=require_domain(f"{name}.variance", amount.variance, NON_NEGATIVE))
