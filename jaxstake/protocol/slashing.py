"""What a slashed validator loses, as smooth functions, coupled to the exit queue it waits in.

Three parts: an initial penalty at once; a correlation penalty halfway to withdrawability, proportional to
all stake slashed in the window around it; and, in every epoch until it may leave, the penalties of a
validator that does not vote. From Electra the first is small (1/4,096) and the last often the largest,
because a long exit queue delays the exit of a slashed validator as of any other.
"""

from __future__ import annotations

import jax.numpy as jnp

from jaxstake.core.checks import require, require_domain
from jaxstake.core.domain import NON_NEGATIVE, POSITIVE
from jaxstake.core.numerics import as_float
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar
from jaxstake.protocol.forks import Fork
from jaxstake.protocol.queues import exit_queue_epochs
from jaxstake.protocol.rewards import Performance, get_base_reward, missed_attestation_penalty


@pytree
class SlashingLoss:
    """Loss of one slashed validator, ETH, every part at least 0; `total` is their sum."""

    initial: Scalar = leaf(unit="ETH")
    correlation: Scalar = leaf(unit="ETH")
    waiting: Scalar = leaf(unit="ETH")
    total: Scalar = leaf(unit="ETH")


def initial_slashing_penalty(fork: Fork, *, effective_balance_eth: Scalar) -> Scalar:
    """Penalty taken in the block that proves the offence, ETH.

    Equation: `EB / MIN_SLASHING_PENALTY_QUOTIENT` (128 phase 0, 64 Altair, 32 Bellatrix, 4,096 Electra).

    Args:
        fork: constants.
        effective_balance_eth: effective balance, ETH, >= 0.

    Raises:
        ValueError: effective_balance_eth is concrete and negative.

    Source: `slash_validator` (phase 0, Altair, Bellatrix, Electra).
    """
    effective_balance_eth = require_domain("effective_balance_eth", effective_balance_eth, NON_NEGATIVE)
    return effective_balance_eth / fork.min_slashing_penalty_quotient


def whistleblower_reward(fork: Fork, *, effective_balance_eth: Scalar) -> Scalar:
    """Reward for including the proof, ETH; all of it goes to the proposer, since no one else is named on chain.

    Equation: `EB / WHISTLEBLOWER_REWARD_QUOTIENT` (512, and 4,096 from Electra).

    Args:
        fork: constants.
        effective_balance_eth: effective balance of the slashed validator, ETH, >= 0.

    Raises:
        ValueError: effective_balance_eth is concrete and negative.

    Source: `slash_validator` (phase 0, Electra).
    """
    effective_balance_eth = require_domain("effective_balance_eth", effective_balance_eth, NON_NEGATIVE)
    return effective_balance_eth / fork.whistleblower_reward_quotient


def correlation_penalty(
    fork: Fork, *, effective_balance_eth: Scalar, total_stake_eth: Scalar, slashed_stake_eth: Scalar
) -> Scalar:
    """Penalty in proportion to everything slashed within the window, ETH.

    Equation: `EB * min(k S, T) / T`, with the multiplier k = 1, 2, 3 (phase 0, Altair, Bellatrix on). Before
    Electra the rule floors to whole ETH, so that below `k S EB < T` nothing was taken; from Electra it floors
    per increment, and this is right to a Gwei per increment.

    Args:
        fork: constants.
        effective_balance_eth: effective balance, ETH, >= 0.
        total_stake_eth: total active balance `T`, ETH, > 0.
        slashed_stake_eth: effective balance `S` slashed in the 8,192 epochs around, this validator included,
            ETH, >= 0.

    Raises:
        ValueError: a concrete argument is out of range.

    Source: `process_slashings` (phase 0, Altair, Bellatrix, Electra).
    """
    effective_balance_eth = require_domain("effective_balance_eth", effective_balance_eth, NON_NEGATIVE)
    total_stake_eth = require_domain("total_stake_eth", total_stake_eth, POSITIVE)
    slashed_stake_eth = require_domain("slashed_stake_eth", slashed_stake_eth, NON_NEGATIVE)
    share = fork.proportional_slashing_multiplier * slashed_stake_eth / total_stake_eth
    return effective_balance_eth * jnp.minimum(as_float(share), 1.0)


def withdrawability_delay_epochs(fork: Fork, *, exit_queue_eth: Scalar, total_stake_eth: Scalar) -> Scalar:
    """Epochs from the slashing to withdrawability: at least 8,192, longer behind a long exit queue.

    Equation: `max(EPOCHS_PER_SLASHINGS_VECTOR, exit queue + MIN_VALIDATOR_WITHDRAWABILITY_DELAY)`.

    Args:
        fork: constants.
        exit_queue_eth: stake ahead in the exit queue, ETH, >= 0.
        total_stake_eth: total active balance, ETH, > 0.

    Raises:
        ValueError: a concrete argument is out of range.

    Source: `slash_validator`, `initiate_validator_exit` (phase 0, Electra).
    """
    exit_queue_eth = require_domain("exit_queue_eth", exit_queue_eth, NON_NEGATIVE)
    total_stake_eth = require_domain("total_stake_eth", total_stake_eth, POSITIVE)
    waiting = exit_queue_epochs(fork, queue_eth=exit_queue_eth, total_stake_eth=total_stake_eth)
    behind_queue = as_float(waiting + fork.min_validator_withdrawability_delay)
    return jnp.maximum(behind_queue, as_float(fork.epochs_per_slashings_vector))


def waiting_penalty(
    fork: Fork, *, effective_balance_eth: Scalar, total_stake_eth: Scalar, waiting_epochs: Scalar
) -> Scalar:
    """Source and target penalties while a slashed validator waits to become withdrawable, ETH.

    Equation: `waiting_epochs * m b * 40/64`; the flags of a slashed validator never count. Outside a leak.

    Args:
        fork: constants, Altair or later.
        effective_balance_eth: effective balance, ETH, >= 0.
        total_stake_eth: total active balance, ETH, > 0.
        waiting_epochs: epochs until withdrawability, >= 0.

    Raises:
        ValueError: a concrete argument is out of range, or the fork is phase 0.

    Source: `get_flag_index_deltas`, `get_eligible_validator_indices` (Altair, phase 0).
    """
    waiting_epochs = require_domain("waiting_epochs", waiting_epochs, NON_NEGATIVE)
    base = get_base_reward(fork, effective_balance_eth=effective_balance_eth, total_stake_eth=total_stake_eth)
    absent = Performance(source=0.0, target=0.0, head=0.0, sync=0.0, proposer=0.0)
    return waiting_epochs * missed_attestation_penalty(fork, base_reward_eth=base, performance=absent)


def slashing_loss(
    fork: Fork,
    *,
    effective_balance_eth: Scalar,
    total_stake_eth: Scalar,
    slashed_stake_eth: Scalar,
    exit_queue_eth: Scalar = 0.0,
) -> SlashingLoss:
    """Everything a slashed validator loses, ETH, and its parts, outside a leak.

    Equation: `initial_slashing_penalty + correlation_penalty + waiting_penalty`, the last over
    `withdrawability_delay_epochs`. Rewards forgone meanwhile are not a loss here; they are what it does not earn.

    Args:
        fork: constants, Altair or later.
        effective_balance_eth: effective balance, ETH, >= 0.
        total_stake_eth: total active balance, ETH, > 0 and at least `slashed_stake_eth`.
        slashed_stake_eth: effective balance slashed in the window, this validator included, ETH, >= 0.
        exit_queue_eth: stake ahead in the exit queue, ETH, >= 0.

    Raises:
        ValueError: a concrete argument is out of range, or the fork is phase 0.

    Example:
        >>> from jaxstake.protocol import forks
        >>> loss = slashing_loss(forks.get("fulu"), effective_balance_eth=32.0, total_stake_eth=42e6,
        ...                      slashed_stake_eth=32.0)
        >>> print(f"{loss.initial:.4f} {loss.correlation:.6f} {loss.waiting:.4f} {loss.total:.4f}")
        0.0078 0.000073 0.0512 0.0591
    """
    total_stake_eth = require_domain("total_stake_eth", total_stake_eth, POSITIVE)
    slashed_stake_eth = require_domain("slashed_stake_eth", slashed_stake_eth, NON_NEGATIVE)
    factor = require(
        slashed_stake_eth <= total_stake_eth,
        "slashed_stake_eth must be at most total_stake_eth = {total}, got {slashed}",
        total=total_stake_eth,
        slashed=slashed_stake_eth,
    )
    effective_balance_eth = factor * effective_balance_eth
    initial = initial_slashing_penalty(fork, effective_balance_eth=effective_balance_eth)
    correlation = correlation_penalty(
        fork,
        effective_balance_eth=effective_balance_eth,
        total_stake_eth=total_stake_eth,
        slashed_stake_eth=factor * slashed_stake_eth,  # here too: beyond the cap it would leave no trace
    )
    delay = withdrawability_delay_epochs(fork, exit_queue_eth=exit_queue_eth, total_stake_eth=total_stake_eth)
    waiting = waiting_penalty(
        fork,
        effective_balance_eth=effective_balance_eth,
        total_stake_eth=total_stake_eth,
        waiting_epochs=delay,
    )
    return SlashingLoss(
        initial=initial, correlation=correlation, waiting=waiting, total=initial + correlation + waiting
    )
