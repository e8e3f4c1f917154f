"""The annual percentage rate of a validator, component by component.

Every component is an expectation per year and per ETH of effective balance, a fraction (0.03, not 3 %).
"""

from __future__ import annotations

import jax.numpy as jnp

from jaxstake.core.checks import established, poison, require_domain
from jaxstake.core.domain import NON_NEGATIVE, POSITIVE
from jaxstake.core.numerics import as_float, keep_where
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar
from jaxstake.economy import block_value
from jaxstake.economy.scenario import Scenario, validate
from jaxstake.protocol import forks, rewards
from jaxstake.protocol.penalties import leak_loss
from jaxstake.protocol.rewards import EpochRewards, Participation, Performance
from jaxstake.protocol.slashing import slashing_loss


@pytree
class Apr:
    """Expected income by source, per year and per ETH of effective balance.

    Earned at this uptime, at least 0: `source`, `target`, `head`, `sync`, `proposer`, `mev`, `tips`. At most 0:
    `missed` (attestation and sync penalties), `slashing`, `leak`, `costs`, `commission`. Sums, exactly and in this
    order: `consensus` = source + target + head + sync + proposer + missed; `execution` = mev + tips; `gross` =
    consensus + execution; `net` = gross + slashing + leak + costs + commission.
    """

    source: Scalar = leaf(unit="1/year", meaning="timely source votes")
    target: Scalar = leaf(unit="1/year", meaning="timely target votes")
    head: Scalar = leaf(unit="1/year", meaning="timely head votes")
    sync: Scalar = leaf(unit="1/year", meaning="sync committee")
    proposer: Scalar = leaf(unit="1/year", meaning="block proposals")
    mev: Scalar = leaf(unit="1/year", meaning="block value: MEV and the tips in it")
    tips: Scalar = leaf(unit="1/year", meaning="tips outside the block value")
    missed: Scalar = leaf(unit="1/year", meaning="penalties for missed duties")
    slashing: Scalar = leaf(unit="1/year", meaning="expected slashing loss")
    leak: Scalar = leaf(unit="1/year", meaning="expected inactivity-leak loss")
    costs: Scalar = leaf(unit="1/year", meaning="running costs")
    commission: Scalar = leaf(unit="1/year", meaning="operator's commission")
    consensus: Scalar = leaf(unit="1/year", meaning="consensus layer in all")
    execution: Scalar = leaf(unit="1/year", meaning="execution layer in all")
    gross: Scalar = leaf(unit="1/year", meaning="before hazards and costs")
    net: Scalar = leaf(unit="1/year", meaning="after all")


def apr(scenario: Scenario) -> Apr:
    """Expected APR of one validator under a scenario.

    Participation p, block rate rho and uptime u map to the duties as `q_source = q_target = q_sync = p`,
    `q_head = p rho` (no block in the next slot, no head vote in time), and for the validator itself
    `u_source = u_target = u_sync = u_proposer = u`, `u_head = u rho`.

    Args:
        scenario: scalars; vmap over a scenario whose leaves are arrays for many.

    Returns:
        `Apr`. Out-of-range values are NaN in every component when traced.

    Raises:
        ValueError: a concrete value is out of range (the message names the leaf, the rule and the value), or the
            fork is phase 0.

    Example:
        >>> result = apr(Scenario())
        >>> print(f"{result.consensus:.4%} {result.execution:.4%} {result.net:.4%}")
        2.5270% 0.0931% 2.6201%
        >>> import jax
        >>> slope = jax.grad(lambda s: apr(s).net)(Scenario()).network.total_stake_eth
        >>> print(f"{slope * 1e6:.3%} per million ETH more at stake")
        -0.032% per million ETH more at stake
    """
    ok = validate(scenario)
    with established():
        epoch = _epoch_rewards(scenario)
        execution = _execution_income(scenario)
        yearly = forks.epochs_per_year(scenario.fork)
        earned = {name: getattr(epoch, name) * yearly for name in ("source", "target", "head", "sync", "proposer")}
        missed = epoch.missed * yearly
        slashing = _slashing(scenario)
        leak = _leak(scenario, epoch, execution["mev"] + execution["tips"])
        costs = -scenario.costs.annual_cost_eth / scenario.validator.effective_balance_eth
    parts = {**earned, **execution, "missed": missed, "slashing": slashing, "leak": leak, "costs": costs}
    return _add_up(scenario, {name: poison(ok, value) for name, value in parts.items()})


def _add_up(scenario: Scenario, parts: dict[str, Scalar]) -> Apr:
    """The sums, and the commission, which is taken on a positive gross reward."""
    attestation = parts["source"] + parts["target"] + parts["head"]
    consensus = attestation + parts["sync"] + parts["proposer"] + parts["missed"]
    execution = parts["mev"] + parts["tips"]
    gross = consensus + execution
    commission = -scenario.costs.commission * keep_where(gross > 0, gross, otherwise=0.0)
    net = gross + parts["slashing"] + parts["leak"] + parts["costs"] + commission
    return Apr(**parts, commission=commission, consensus=consensus, execution=execution, gross=gross, net=net)


def _epoch_rewards(scenario: Scenario) -> EpochRewards:
    """Expected rewards of one epoch per ETH of effective balance."""
    network, uptime = scenario.network, scenario.validator.uptime
    p = network.participation
    return rewards.expected_epoch_rewards(
        scenario.fork,
        effective_balance_eth=1.0,
        total_stake_eth=network.total_stake_eth,
        performance=Performance(
            source=uptime, target=uptime, head=uptime * network.block_rate, sync=uptime, proposer=uptime
        ),
        participation=Participation(source=p, target=p, head=p * network.block_rate, sync=p),
        block_rate=network.block_rate,
    )


def _execution_income(scenario: Scenario) -> dict[str, Scalar]:
    """Block value and tips per year and ETH: the value of a block times `slots per year * uptime / total stake`."""
    uptime, stake = scenario.validator.uptime, scenario.network.total_stake_eth
    yearly = forks.slots_per_year(scenario.fork)
    return {
        "mev": yearly * uptime * block_value.mean(scenario.block_value) / stake,
        "tips": yearly * uptime * scenario.network.tips_per_block_eth / stake,
    }


def _slashing(scenario: Scenario) -> Scalar:
    """`-P(slashed in a year) * slashing_loss / EB`; the correlated stake is capped by the total stake."""
    hazards, balance = scenario.hazards, scenario.validator.effective_balance_eth
    stake = scenario.network.total_stake_eth
    together = as_float(hazards.other_slashed_stake_eth + balance)
    loss = slashing_loss(
        scenario.fork,
        effective_balance_eth=1.0,
        total_stake_eth=stake,
        slashed_stake_eth=jnp.minimum(together, as_float(stake)),
        exit_queue_eth=scenario.network.exit_queue_eth,
    )
    return -hazards.slashing_probability * loss.total


def _leak(scenario: Scenario, epoch: EpochRewards, execution: Scalar) -> Scalar:
    """`-P(leak in a year)` times the loss in it, per ETH.

    Who stays online loses the attestation rewards, which a leak sets to zero. Who is offline loses all income,
    pays for every attestation and sync duty, and pays the inactivity penalty.
    """
    hazards, fork = scenario.hazards, scenario.fork
    flags = epoch.source + epoch.target + epoch.head
    base = rewards.get_base_reward(fork, effective_balance_eth=1.0, total_stake_eth=scenario.network.total_stake_eth)
    absent = Performance(source=0.0, target=0.0, head=0.0, sync=0.0, proposer=0.0)
    penalties = rewards.missed_attestation_penalty(fork, base_reward_eth=base, performance=absent)
    penalties += rewards.sync_committee_income(fork, base_reward_eth=base, block_rate=scenario.network.block_rate)
    income = flags + epoch.sync + epoch.proposer + epoch.missed + execution / forks.epochs_per_year(fork)
    inactivity = leak_loss(fork, balance_eth=1.0, epochs=hazards.leak_epochs)
    offline = hazards.leak_offline_probability
    loss = hazards.leak_epochs * ((1.0 - offline) * flags + offline * (income + penalties)) + offline * inactivity
    return -hazards.leak_probability * loss


IDLE_COMPOUNDING_ETH = 0.75
"""Average part of a growing compounding balance that is not yet effective: hysteresis keeps 0.25 to 1.25 ETH idle."""


def annual_yield(rate: Apr, *, balance_eth: Scalar, compounding: bool) -> Scalar:
    """Yield after one year per ETH of balance, with what compounding adds (APY).

    Equation, with `c = consensus + slashing + leak` accruing to the balance and `x = execution + costs +
    commission` paid outside it: without compounding (0x01, swept above 32 ETH) `c + x`; with it (0x02, up to 2,048
    ETH) `(1 - idle/B) (exp(c) - 1 + x)`, where on average 0.75 ETH of the balance is idle because the effective
    balance follows in steps of 1 ETH behind a hysteresis.

    Args:
        rate: `apr` of the validator at its effective balance.
        balance_eth: balance at the start of the year, ETH, > 0; above 0.75 for compounding.
        compounding: whether its credentials are 0x02; static.

    Raises:
        ValueError: balance_eth is concrete and out of range.

    Source: `process_effective_balance_updates` (Electra); EIP-8068 for the idle balance.

    Example:
        >>> rate = apr(Scenario())
        >>> print(f"{annual_yield(rate, balance_eth=2000.0, compounding=True):.4%}")
        2.6513%
    """
    balance_eth = require_domain("balance_eth", balance_eth, POSITIVE)
    inside = rate.consensus + rate.slashing + rate.leak
    outside = rate.execution + rate.costs + rate.commission
    if not compounding:
        return inside + outside
    effective = require_domain("balance_eth less the idle 0.75 ETH", balance_eth - IDLE_COMPOUNDING_ETH, NON_NEGATIVE)
    return effective / balance_eth * (jnp.expm1(as_float(inside)) + outside)
