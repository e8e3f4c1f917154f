"""The scenario: everything an APR depends on, with today's network as the default.

Defaults describe mainnet on 2026-08-22 and its average validator; each says where it comes from. Other dated
networks are in `jaxstake.data.mainnet`. Change a value with `jaxstake.core.leaves.replace(scenario, {name: value})`.
"""

from __future__ import annotations

import math
from typing import Any

import jax

from jaxstake.core import checks
from jaxstake.core.domain import FRACTION, NON_NEGATIVE, POSITIVE, POSITIVE_FRACTION
from jaxstake.core.pytree import branch, leaf, pytree
from jaxstake.core.typing import Scalar
from jaxstake.economy.block_value import LogNormal
from jaxstake.protocol import forks
from jaxstake.protocol.forks import Fork


@pytree
class Network:
    """State of the network. Stake and queues: mainnet, 2026-08-22 (validator queue site)."""

    total_stake_eth: Scalar = leaf(
        default=42_228_608.0, unit="ETH", domain=POSITIVE, meaning="total active effective balance"
    )
    # Median over 2023-05 to 2025-05 of the stake that voted over 32 ETH times the active validators.
    participation: Scalar = leaf(default=0.9965, domain=FRACTION, meaning="share of stake that attests in time")
    # 0.94 % of slots had no block between blocks 18,320,000 and 19,619,999 (2023-10 to 2024-04).
    block_rate: Scalar = leaf(default=0.9906, domain=POSITIVE_FRACTION, meaning="share of slots with a block")
    active_validators: Scalar = leaf(default=901_697.0, domain=POSITIVE, meaning="number of active validators")
    entry_queue_eth: Scalar = leaf(default=2_262_825.0, unit="ETH", domain=NON_NEGATIVE, meaning="waiting to enter")
    exit_queue_eth: Scalar = leaf(default=1_728.0, unit="ETH", domain=NON_NEGATIVE, meaning="waiting to exit")
    # Payments reported by relays contain the tips already.
    tips_per_block_eth: Scalar = leaf(
        default=0.0, unit="ETH", domain=NON_NEGATIVE, meaning="priority fees that the block value does not contain"
    )


@pytree
class Validator:
    """One validator."""

    effective_balance_eth: Scalar = leaf(default=32.0, unit="ETH", domain=POSITIVE, meaning="effective balance")
    # As the network's participation: the average validator.
    uptime: Scalar = leaf(default=0.9965, domain=FRACTION, meaning="chance to fulfil a duty")


@pytree
class Hazards:
    """What can go wrong in a year."""

    # 87 slashings in the year to 2025-09-11 (438 to 525 cumulative) among 1.06 million validators.
    slashing_probability: Scalar = leaf(
        default=8.3e-5, unit="1/year", domain=FRACTION, meaning="chance to be slashed in a year"
    )
    # The largest events since 2021 slashed 75, 11, 20 and 39 validators of 32 ETH.
    other_slashed_stake_eth: Scalar = leaf(
        default=1_248.0, unit="ETH", domain=NON_NEGATIVE, meaning="others slashed in the same window"
    )
    # No leak of economic weight on mainnet so far; the length and share are those of a failing client, for what-ifs.
    leak_probability: Scalar = leaf(
        default=0.0, unit="1/year", domain=FRACTION, meaning="chance of an inactivity leak in a year"
    )
    leak_epochs: Scalar = leaf(default=1_575.0, unit="epochs", domain=NON_NEGATIVE, meaning="length of that leak")
    leak_offline_probability: Scalar = leaf(
        default=1 / 3, domain=FRACTION, meaning="chance to be among the offline in that leak"
    )


@pytree
class Costs:
    """What the operator keeps or spends. Defaults: a solo staker who counts no cost."""

    commission: Scalar = leaf(default=0.0, domain=FRACTION, meaning="share of the gross reward kept by the operator")
    annual_cost_eth: Scalar = leaf(
        default=0.0, unit="ETH/year", domain=NON_NEGATIVE, meaning="running cost of the validator"
    )


def _block_value_2026() -> LogNormal:
    """Median 0.011 ETH (payloads of the 30 days to 2026-02-26); a mean of 0.015 ETH, what the reported APR implies."""
    return LogNormal(log_mean=math.log(0.011), log_std=math.sqrt(2.0 * math.log(0.015 / 0.011)))


@pytree
class Scenario:
    """Network, validator, block value, hazards, costs and the fork whose rules hold."""

    network: Network = branch(default_factory=Network)
    validator: Validator = branch(default_factory=Validator)
    block_value: Any = branch(default_factory=_block_value_2026)
    hazards: Hazards = branch(default_factory=Hazards)
    costs: Costs = branch(default_factory=Costs)
    fork: Fork = branch(default_factory=lambda: forks.get(forks.NEWEST_ON_MAINNET))


def validate(scenario: Scenario) -> jax.Array | bool:
    """Check a scenario against the domain of every leaf and the rules that join two of them.

    Returns:
        True, or (traced) the condition that all hold, by which a model poisons its result.

    Raises:
        ValueError: a concrete value breaks a rule; the message gives leaf, rule and value.

    Example:
        >>> from jaxstake.core import leaves
        >>> validate(leaves.replace(Scenario(), {"validator.uptime": 1.2}))
        Traceback (most recent call last):
        ...
        ValueError: validator.uptime must be in [0, 1], got 1.2
    """
    inside = checks.in_domains(scenario)
    balance, stake = scenario.validator.effective_balance_eth, scenario.network.total_stake_eth
    largest = forks.max_effective_balance_eth(scenario.fork, compounding=True)
    covered = checks.confirm(
        stake >= balance,
        "network.total_stake_eth must be at least validator.effective_balance_eth = {balance}, got {stake}",
        stake=stake,
        balance=balance,
    )
    allowed = checks.confirm(
        balance <= largest,
        "validator.effective_balance_eth must be at most {largest}, the largest at this fork, got {balance}",
        balance=balance,
        largest=largest,
    )
    return checks.every(inside, covered, allowed)
