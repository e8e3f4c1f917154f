"""Expected consensus rewards of one validator, from Altair on, as smooth functions.

Notation of the docstrings: `b` base reward of one increment per epoch, `m` increments of this validator,
`M` increments of all active ones, `w_f` the weight of a duty of 64, `u_f` the chance that this validator
fulfils it, `q_f` the share of active stake that does, `rho` the share of slots with a block. All amounts
are ETH, all functions take scalars (the caller vmaps) and every argument is differentiable, the constants
of the fork included. The exact rules floor each term to whole Gwei; these do not.
"""

from __future__ import annotations

import dataclasses
from typing import TypeVar

import jax.numpy as jnp

from jaxstake.core.checks import established, require_domain
from jaxstake.core.domain import FRACTION, NON_NEGATIVE, POSITIVE, POSITIVE_FRACTION
from jaxstake.core.numerics import as_float
from jaxstake.core.pytree import data_fields, leaf, pytree
from jaxstake.core.typing import Scalar
from jaxstake.core.units import GWEI_PER_ETH
from jaxstake.protocol.forks import Fork, increment_eth, require_defined

T = TypeVar("T")


@pytree
class Participation:
    """Shares `q` of the active stake that earn each flag in an epoch, and of sync seats that sign."""

    source: Scalar = leaf(default=1.0, domain=FRACTION)
    target: Scalar = leaf(default=1.0, domain=FRACTION)
    head: Scalar = leaf(default=1.0, domain=FRACTION)
    sync: Scalar = leaf(default=1.0, domain=FRACTION)


@pytree
class Performance:
    """Chances `u` that one validator earns each flag, signs its sync duties and proposes its blocks."""

    source: Scalar = leaf(default=1.0, domain=FRACTION)
    target: Scalar = leaf(default=1.0, domain=FRACTION)
    head: Scalar = leaf(default=1.0, domain=FRACTION)
    sync: Scalar = leaf(default=1.0, domain=FRACTION)
    proposer: Scalar = leaf(default=1.0, domain=FRACTION)


@pytree
class EpochRewards:
    """Expected income of one validator in one epoch by duty, ETH; all but `missed` are at least 0."""

    source: Scalar = leaf(unit="ETH/epoch")
    target: Scalar = leaf(unit="ETH/epoch")
    head: Scalar = leaf(unit="ETH/epoch")
    sync: Scalar = leaf(unit="ETH/epoch")
    proposer: Scalar = leaf(unit="ETH/epoch")
    missed: Scalar = leaf(unit="ETH/epoch")


def get_base_reward_per_increment(fork: Fork, *, total_stake_eth: Scalar) -> Scalar:
    """Base reward of one increment of effective balance per epoch, ETH.

    Equation: `b = EFFECTIVE_BALANCE_INCREMENT * BASE_REWARD_FACTOR / sqrt(total active balance)`, in Gwei.

    Args:
        fork: constants, Altair or later; a base reward of phase 0 is a fourth of it, of which there are four.
        total_stake_eth: total active effective balance, ETH, > 0.

    Raises:
        ValueError: total_stake_eth is concrete and not positive, or the fork is phase 0.

    Source: `get_base_reward_per_increment` (Altair).

    Example:
        >>> from jaxstake.protocol import forks
        >>> print(f"{get_base_reward_per_increment(forks.get('fulu'), total_stake_eth=16e6) * 1e9:.2f} Gwei")
        505.96 Gwei
    """
    require_defined(fork, "weight_denominator")
    total_stake_eth = require_domain("total_stake_eth", total_stake_eth, POSITIVE)
    root_gwei = jnp.sqrt(as_float(total_stake_eth)) * GWEI_PER_ETH**0.5
    return increment_eth(fork) * fork.base_reward_factor / root_gwei


def get_base_reward(fork: Fork, *, effective_balance_eth: Scalar, total_stake_eth: Scalar) -> Scalar:
    """Base reward of a validator per epoch, ETH: `m * b`, what it earns when everything is perfect.

    Args:
        fork: constants, Altair or later.
        effective_balance_eth: effective balance of the validator, ETH, >= 0.
        total_stake_eth: total active effective balance, ETH, > 0.

    Raises:
        ValueError: a concrete argument is out of range, or the fork is phase 0.

    Source: `get_base_reward` (Altair).
    """
    effective_balance_eth = require_domain("effective_balance_eth", effective_balance_eth, NON_NEGATIVE)
    increments = effective_balance_eth / increment_eth(fork)
    return increments * get_base_reward_per_increment(fork, total_stake_eth=total_stake_eth)


def attestation_reward(
    fork: Fork, *, base_reward_eth: Scalar, weight: Scalar, own: Scalar, network: Scalar, leak_share: Scalar = 0.0
) -> Scalar:
    """Expected reward of one attestation flag in one epoch, ETH.

    Equation: `m b * w_f/64 * u_f * q_f * (1 - leak_share)`; in an inactivity leak the reward is zero.

    Args:
        fork: constants.
        base_reward_eth: `get_base_reward`, ETH per epoch, >= 0.
        weight: weight of the flag, such as `fork.timely_target_weight`.
        own: `u_f`, the chance that this validator earns the flag, in [0, 1].
        network: `q_f`, the share of active stake that earns it, in [0, 1].
        leak_share: share of the time that the chain is in a leak, in [0, 1].

    Raises:
        ValueError: a concrete argument is out of range.

    Source: `get_flag_index_deltas` (Altair).
    """
    base_reward_eth = require_domain("base_reward_eth", base_reward_eth, NON_NEGATIVE)
    own = require_domain("own", own, FRACTION)
    network = require_domain("network", network, FRACTION)
    leak_share = require_domain("leak_share", leak_share, FRACTION)
    require_defined(fork, "weight_denominator")
    return base_reward_eth * (weight / fork.weight_denominator) * own * network * (1.0 - leak_share)


def get_sync_participant_reward(fork: Fork, *, total_stake_eth: Scalar) -> Scalar:
    """Reward, or penalty, of one sync-committee seat in one slot that has a block, ETH.

    Equation: `M b * w_sync/64 / SLOTS_PER_EPOCH / SYNC_COMMITTEE_SIZE`.

    Args:
        fork: constants.
        total_stake_eth: total active effective balance, ETH, > 0.

    Raises:
        ValueError: total_stake_eth is concrete and not positive, or the fork has no sync committee.

    Source: `process_sync_aggregate` (Altair).
    """
    require_defined(fork, "sync_reward_weight", "sync_committee_size")
    total_stake_eth = require_domain("total_stake_eth", total_stake_eth, POSITIVE)
    total_reward = get_base_reward(fork, effective_balance_eth=total_stake_eth, total_stake_eth=total_stake_eth)
    share = fork.sync_reward_weight / fork.weight_denominator
    return total_reward * share / (fork.slots_per_epoch * fork.sync_committee_size)


def sync_committee_income(fork: Fork, *, base_reward_eth: Scalar, block_rate: Scalar) -> Scalar:
    """What the sync committee's seats move per epoch for one validator in expectation, ETH.

    Equation: `m b * w_sync/64 * rho`. A validator holds `512 m/M` seats in expectation; it earns this times
    the share of duties that it signs and pays this times the share that it misses.

    Args:
        fork: constants.
        base_reward_eth: `get_base_reward`, ETH per epoch, >= 0.
        block_rate: share of slots with a block, in [0, 1]; a slot without one moves nothing.

    Raises:
        ValueError: a concrete argument is out of range, or the fork has no sync committee.

    Source: `process_sync_aggregate`, `get_next_sync_committee_indices` (Altair).
    """
    require_defined(fork, "sync_reward_weight")
    base_reward_eth = require_domain("base_reward_eth", base_reward_eth, NON_NEGATIVE)
    block_rate = require_domain("block_rate", block_rate, FRACTION)
    return base_reward_eth * (fork.sync_reward_weight / fork.weight_denominator) * block_rate


def proposer_reward(
    fork: Fork, *, base_reward_eth: Scalar, own: Scalar, participation: Participation, block_rate: Scalar
) -> Scalar:
    """Expected reward for proposing blocks, spread over epochs, ETH per epoch.

    Equation: `m b * 8/56 * u_p * (sum_f q_f w_f/64 / rho + q_sync w_sync/64)`. Attestations of a missed block
    are included by a later one, so the blocks that exist share them; sync aggregates of a missed block are lost.

    Args:
        fork: constants.
        base_reward_eth: `get_base_reward`, ETH per epoch, >= 0; pass that of the whole network and divide by
            `slots_per_epoch` for the reward of one slot.
        own: chance that this validator publishes the block it is due, in [0, 1].
        participation: shares of stake whose flags and signatures are there to be included.
        block_rate: share of slots with a block, in (0, 1].

    Raises:
        ValueError: a concrete argument is out of range.

    Source: `process_attestation`, `process_sync_aggregate` (Altair).
    """
    require_defined(fork, "proposer_weight")
    base_reward_eth = require_domain("base_reward_eth", base_reward_eth, NON_NEGATIVE)
    own = require_domain("own", own, FRACTION)
    block_rate = require_domain("block_rate", block_rate, POSITIVE_FRACTION)
    participation = _require_shares("participation", participation)
    flags = (
        participation.source * fork.timely_source_weight
        + participation.target * fork.timely_target_weight
        + participation.head * fork.timely_head_weight
    )
    included = (flags / block_rate + participation.sync * fork.sync_reward_weight) / fork.weight_denominator
    return base_reward_eth * own * included * _proposer_share(fork)


def expected_epoch_rewards(
    fork: Fork,
    *,
    effective_balance_eth: Scalar,
    total_stake_eth: Scalar,
    performance: Performance,
    participation: Participation,
    block_rate: Scalar = 1.0,
    leak_share: Scalar = 0.0,
) -> EpochRewards:
    """Expected income of one validator per epoch, by duty, with the penalties for what it misses.

    Equation: the sum of `attestation_reward` over the three flags, `u_s` times `sync_committee_income`,
    `proposer_reward`, and as `missed` the negative of `m b ((1-u_source) 14/64 + (1-u_target) 26/64)` and of
    `1-u_s` times `sync_committee_income`. A missed head costs nothing but its reward.

    Args:
        fork: constants, Altair or later.
        effective_balance_eth: effective balance of the validator, ETH, >= 0.
        total_stake_eth: total active effective balance, ETH, > 0.
        performance: chances that this validator fulfils each duty.
        participation: shares of the active stake that do.
        block_rate: share of slots with a block, in (0, 1].
        leak_share: share of the time that the chain is in a leak, in [0, 1].

    Returns:
        `EpochRewards`, ETH per epoch. Their sum is `m b` when every share is 1.

    Raises:
        ValueError: a concrete argument is out of range, or the fork is phase 0.

    Source: `process_rewards_and_penalties`, `process_sync_aggregate`, `process_attestation` (Altair).

    Example:
        >>> from jaxstake.protocol import forks
        >>> perfect = expected_epoch_rewards(
        ...     forks.get("fulu"), effective_balance_eth=32.0, total_stake_eth=16e6,
        ...     performance=Performance(), participation=Participation())
        >>> import jax
        >>> print(f"{sum(jax.tree.leaves(perfect)) * 1e9:.1f} Gwei")
        16190.9 Gwei
    """
    require_defined(fork, "timely_source_weight")
    base = get_base_reward(fork, effective_balance_eth=effective_balance_eth, total_stake_eth=total_stake_eth)
    performance = _require_shares("performance", performance)
    participation = _require_shares("participation", participation)
    block_rate = require_domain("block_rate", block_rate, POSITIVE_FRACTION)
    leak_share = require_domain("leak_share", leak_share, FRACTION)

    def flag(weight: Scalar, own: Scalar, network: Scalar) -> Scalar:
        return attestation_reward(
            fork, base_reward_eth=base, weight=weight, own=own, network=network, leak_share=leak_share
        )

    with established():
        sync = sync_committee_income(fork, base_reward_eth=base, block_rate=block_rate)
        lost = missed_attestation_penalty(fork, base_reward_eth=base, performance=performance)
        proposer = proposer_reward(
            fork, base_reward_eth=base, own=performance.proposer, participation=participation, block_rate=block_rate
        )
        return EpochRewards(
            source=flag(fork.timely_source_weight, performance.source, participation.source),
            target=flag(fork.timely_target_weight, performance.target, participation.target),
            head=flag(fork.timely_head_weight, performance.head, participation.head),
            sync=sync * performance.sync,
            proposer=proposer,
            missed=-(lost + sync * (1.0 - performance.sync)),
        )


def missed_attestation_penalty(fork: Fork, *, base_reward_eth: Scalar, performance: Performance) -> Scalar:
    """Expected penalty for missed source and target votes in one epoch, ETH, positive.

    Equation: `m b ((1-u_source) 14/64 + (1-u_target) 26/64)`.

    Args:
        fork: constants.
        base_reward_eth: `get_base_reward`, ETH per epoch, >= 0.
        performance: chances that this validator earns each flag.

    Raises:
        ValueError: a concrete argument is out of range.

    Source: `get_flag_index_deltas` (Altair).
    """
    require_defined(fork, "timely_source_weight")
    base_reward_eth = require_domain("base_reward_eth", base_reward_eth, NON_NEGATIVE)
    source = require_domain("performance.source", performance.source, FRACTION)
    target = require_domain("performance.target", performance.target, FRACTION)
    lost = (1.0 - source) * fork.timely_source_weight + (1.0 - target) * fork.timely_target_weight
    return base_reward_eth * lost / fork.weight_denominator


def _require_shares(name: str, shares: T) -> T:
    """The container with every leaf required to be a fraction, under its dotted name."""
    values = {
        field: require_domain(f"{name}.{field}", getattr(shares, field), FRACTION) for field in data_fields(shares)
    }
    return dataclasses.replace(shares, **values)  # type: ignore[type-var]


def _proposer_share(fork: Fork) -> Scalar:
    """8/56: what the proposer receives for each unit of reward that it lets others earn."""
    return fork.proposer_weight / (fork.weight_denominator - fork.proposer_weight)
