"""Chapter 6 of the APR guide: how much to stake, in what form, and when to leave.

`Optimizer` holds what the document's class holds; its functions take it first.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from jaxstake.articles.arithmetic import divide
from jaxstake.core.domain import FRACTION, NON_NEGATIVE, POSITIVE
from jaxstake.core.numerics import as_float
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar


@pytree
class Optimizer:
    """The attributes of `StakingOptimizer` but its capital, with the document's values."""

    validator_stake: Scalar = leaf(default=32.0, unit="ETH", domain=POSITIVE)
    risk_tolerance: Scalar = leaf(default=0.01, domain=FRACTION)
    base_apr: Scalar = leaf(default=4.5, unit="%/year", domain=NON_NEGATIVE)
    slash_probability: Scalar = leaf(default=0.001, domain=FRACTION)
    slash_penalty: Scalar = leaf(default=0.5, domain=FRACTION)


@pytree
class Allocation:
    """One row of what `optimize_validator_count` returns."""

    n: Scalar = leaf(unit="validators")
    stake: Scalar = leaf(unit="ETH")
    apr: Scalar = leaf(unit="%/year")
    net_apr: Scalar = leaf(unit="%/year")
    annual_return: Scalar = leaf(unit="ETH/year")
    risk_adjusted_return: Scalar = leaf(unit="ETH/year")


@pytree
class StrategyReturn:
    """Columns of the table of strategies; the document prints the net rate under two headings."""

    stake: Scalar = leaf(unit="ETH")
    net_apr: Scalar = leaf(unit="%/year")
    annual_return: Scalar = leaf(unit="ETH/year")


@pytree
class Exit:
    """What section 6.2 prints about the exit."""

    exit_delay_epochs: Scalar = leaf(unit="epochs")
    hours: Scalar = leaf(unit="hours")
    delay_days: Scalar = leaf(unit="days")
    opportunity_cost: Scalar = leaf(unit="ETH")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Advice:
    """One row of the table of advice, which nothing computes."""

    apr: float
    outlook: str
    advice: str


ADVICE = (
    Advice(apr=4.5, outlook="stable", advice="no gain in leaving now"),
    Advice(apr=3.0, outlook="falling", advice="consider leaving or moving"),
    Advice(apr=2.0, outlook="falling sharply", advice="leave"),
    Advice(apr=6.0, outlook="rising", advice="stake more"),
)
"""The advice of section 6.2, rates in percent."""

STRATEGIES = {
    "full stake": (1.0, 0.0),
    "95% stake": (0.95, 0.0),
    "pool (LSD)": (1.0, 0.10),
    "pool (ETH2x)": (2.0, 0.20),
}
"""The four strategies of section 6.1: share of the capital that is staked, management fee."""


def optimal_validator_count(optimizer: Optimizer, *, total_capital: Scalar) -> Scalar:
    """Number of validators that maximises the printed objective.

    Printed: `n* = floor(TotalCapital / 32)`.

    Args:
        optimizer: constants.
        total_capital: ETH, >= 0.

    Returns:
        A whole number; its derivative is 0.

    Outside: Rounded down below 0 too. NaN for a stake of 0 per validator.

    Protocol: Since Electra one validator may hold any stake from 32 to 2,048 ETH, so that a rest of less than 32 ETH
        can be staked too: `jaxstake.protocol.forks.max_effective_balance_eth`.

    Source: APR guide, section 6.1, `StakingOptimizer.optimize_validator_count`.

    Example:
        >>> print(f"{optimal_validator_count(Optimizer(), total_capital=1000.0):.0f}")
        31
    """
    return jnp.floor(divide(total_capital, optimizer.validator_stake))


def allocation(optimizer: Optimizer, *, n: Scalar) -> Allocation:
    """Yearly return of a number of validators: one turn of the document's loop.

    Printed: `net_apr = apr * (1 - P_slash * L_slash)`, `return = n * 32 * net_apr / 100`, and "risk-adjusted" the same
        times `1 - risk_tolerance`.

    Args:
        optimizer: constants.
        n: number of validators, >= 0.

    Returns:
        `Allocation`.

    Outside: Any number is multiplied as it is.

    Protocol: Slashing takes stake, not reward: the expected loss is `P * L` of the stake, 0.05 percentage points a year
        here, printed 0.00225. A tolerance of risk is no discount on the return. The objective is linear, so that there
        is nothing to optimise: `jaxstake.economy.apr.apr`.

    Source: APR guide, section 6.1, `StakingOptimizer.optimize_validator_count`.

    Example:
        >>> print(f"{allocation(Optimizer(), n=31.0).annual_return:.5f}")
        44.61768
    """
    stake = n * optimizer.validator_stake
    net_apr = optimizer.base_apr * (1 - optimizer.slash_probability * optimizer.slash_penalty)
    annual_return = stake * net_apr / 100
    return Allocation(
        n=n,
        stake=stake,
        apr=optimizer.base_apr,
        net_apr=net_apr,
        annual_return=annual_return,
        risk_adjusted_return=annual_return * (1 - optimizer.risk_tolerance),
    )


def allocations(optimizer: Optimizer, *, max_validators: int) -> Allocation:
    """Yearly returns of 1, 2, ... validators: the document's loop.

    Printed: `for n in range(1, max_validators + 1)`, the row of `allocation`.

    Args:
        optimizer: constants.
        max_validators: the largest number, static, from `optimal_validator_count`.

    Returns:
        `Allocation`, every leaf [max_validators].

    Outside: No rows for less than one.

    Protocol: As `allocation`: `jaxstake.economy.apr.apr`.

    Source: APR guide, section 6.1, `StakingOptimizer.optimize_validator_count`.
    """
    counts = jnp.arange(1, max_validators + 1).astype(jnp.result_type(float, *jax.tree.leaves(optimizer)))
    return jax.vmap(lambda n: jax.tree.map(as_float, allocation(optimizer, n=n)))(counts)


def portfolio_objective(*, returns: jax.Array, loss_probabilities: jax.Array, losses: jax.Array) -> Scalar:
    """The objective that the optimiser names and does not use.

    Printed: `max sum_i R_i * (1 - P_i * L_i)`.

    Args:
        returns: [A] returns `R`.
        loss_probabilities: [A] chances `P`, fractions.
        losses: [A] losses `L`, fractions.

    Returns:
        In the unit of the returns.

    Outside: 0 for no assets; any number is multiplied as it is.

    Protocol: A loss of stake is not a share of the return; correlated slashing couples the terms:
        `jaxstake.protocol.slashing.correlation_penalty`.

    Source: APR guide, section 6.1, docstring of `StakingOptimizer`.
    """
    return jnp.sum(as_float(returns) * (1.0 - as_float(loss_probabilities) * as_float(losses)))


def strategy_return(
    optimizer: Optimizer, *, stake_fraction: Scalar, management_fee: Scalar, capital: Scalar = 100.0
) -> StrategyReturn:
    """Yearly return of a strategy.

    Printed: `stake = capital * fraction`, `net = 4.5 * fraction * (1 - fee)`, `return = stake * net / 100`: the
        fraction enters twice. The capital is 100 ETH whatever the optimiser was given, and its risk tolerance plays no
        part.

    Args:
        optimizer: constants.
        stake_fraction: staked share of the capital, 2 with a leverage of two, >= 0.
        management_fee: share of the reward, a fraction.
        capital: ETH, >= 0.

    Returns:
        `StrategyReturn`.

    Outside: Any number is multiplied as it is.

    Protocol: Twofold leverage earns twice the rate on the capital, less the fee and the interest on what was borrowed,
        not four times; 95 % of the capital earns 95 % of the return, not 90.25 %. The rate of what is staked does not
        change: `jaxstake.economy.apr.apr`.

    Source: APR guide, section 6.1, `StakingOptimizer.find_optimal_strategy`.

    Example:
        >>> print(f"{strategy_return(Optimizer(), stake_fraction=2.0, management_fee=0.2).annual_return:.1f}")
        14.4
    """
    stake = capital * stake_fraction
    net_apr = optimizer.base_apr * stake_fraction * (1 - management_fee)
    return StrategyReturn(stake=stake, net_apr=net_apr, annual_return=stake * net_apr / 100)


def exit_analysis(
    *, exit_delay_epochs: Scalar = 27 * 225, validator_balance: Scalar = 32 + 2, apr: Scalar = 4.5
) -> Exit:
    """Delay and opportunity cost of leaving.

    Printed: a delay of `27 * 225` epochs ("about 27 hours, at 27 seconds an epoch"), `hours = epochs * 32 * 12 / 3600`,
        `days = epochs / 225`, `cost = 34 * 4.5 % * days / 365`.

    Args:
        exit_delay_epochs: epochs, >= 0.
        validator_balance: ETH, >= 0; "32 staked and 2 earned in a year".
        apr: percent per year.

    Returns:
        `Exit`: 648 hours, 27 days.

    Outside: Any number is multiplied as it is.

    Protocol: An epoch takes 6.4 minutes. The least delay is 5 epochs of lookahead and 256 to withdrawability, 27.8
        hours; the exit queue and the withdrawal sweep come on top. Two ETH a year on 32 would be 6.25 %:
        `jaxstake.protocol.queues.exit_wait`.

    Source: APR guide, section 6.2, `exit_strategy_analysis`.

    Example:
        >>> print(f"{exit_analysis().hours:.0f} hours, {exit_analysis().opportunity_cost:.4f} ETH")
        648 hours, 0.1132 ETH
    """
    delay_days = exit_delay_epochs / 225
    return Exit(
        exit_delay_epochs=exit_delay_epochs,
        hours=exit_delay_epochs * 32 * 12 / 3600,
        delay_days=delay_days,
        opportunity_cost=validator_balance * (apr / 100) * (delay_days / 365),
    )


def exit_advice(*, outlook: str) -> Advice:
    """The advice for an outlook: a lookup, since the document derives it from nothing.

    Printed: four rows of rate, outlook and advice.

    Args:
        outlook: "stable", "falling", "falling sharply" or "rising".

    Returns:
        `Advice`.

    Outside: An unknown outlook is a `KeyError`.

    Protocol: The rate beside each advice plays no part in it. Leaving has a cost and a delay, to be held against the
        rate expected elsewhere: `jaxstake.protocol.queues.exit_wait`.

    Source: APR guide, section 6.2, `exit_strategy_analysis`.
    """
    return {row.outlook: row for row in ADVICE}[outlook]
