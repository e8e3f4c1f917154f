"""Entry, exit and withdrawal queues: how long stake waits at the doors of the validator set.

Churn limits are ETH per epoch and smooth: the exact rules round them down to whole ETH (or, before Electra,
whole validators). Waits are days, split into their causes, for stake that joins the end of the queue.
`exit_epochs` is the exact rule from Electra on, request by request.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxstake.core.checks import require_domain
from jaxstake.core.domain import NON_NEGATIVE, POSITIVE, POSITIVE_FRACTION
from jaxstake.core.numerics import as_float
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar
from jaxstake.core.units import GWEI_PER_ETH
from jaxstake.protocol.forks import Fork, epochs_per_day, max_effective_balance_eth, require_defined

EPOCHS_TO_FINALITY = 2.0
"""Epochs from an event to its finality when every epoch is justified (phase 0)."""


@pytree
class Wait:
    """Waiting time by cause, days; `total` is the sum of the others. Causes that do not apply are 0."""

    queue: Scalar = leaf(unit="days", meaning="behind others, under the churn limit")
    finality: Scalar = leaf(unit="days", meaning="until the request and the eligibility are final")
    lookahead: Scalar = leaf(unit="days", meaning="between the decision and its effect")
    withdrawability: Scalar = leaf(unit="days", meaning="fixed delay between exit and withdrawability")
    sweep: Scalar = leaf(unit="days", meaning="until the withdrawal sweep comes by, on average")
    total: Scalar = leaf(unit="days")


def activation_churn_limit(fork: Fork, *, total_stake_eth: Scalar) -> Scalar:
    """Stake that may enter per epoch, ETH.

    Equation, `T` the total: to Capella `max(4 validators, T/32/65,536) * 32 ETH`, in Deneb at most 8 validators;
    Electra and Fulu `min(256, max(128, T/65,536))`; Gloas `min(256, max(128, T/32,768))`.

    Args:
        fork: constants.
        total_stake_eth: total active balance, ETH, > 0. Before Electra the number of validators is taken as T/32.

    Raises:
        ValueError: total_stake_eth is concrete and not positive.

    Source: `get_validator_churn_limit` (phase 0), `get_validator_activation_churn_limit` (Deneb),
    `get_activation_exit_churn_limit` (Electra), `get_activation_churn_limit` (Gloas).
    """
    base = _base_churn(fork, total_stake_eth)
    if fork.churn_rule == "validators":
        if fork.max_per_epoch_activation_churn_limit is None:
            return base
        return _smaller(base, fork.max_per_epoch_activation_churn_limit * max_effective_balance_eth(fork))
    if fork.churn_rule == "shared":
        return _smaller(base, fork.max_per_epoch_activation_exit_churn_limit_gwei / GWEI_PER_ETH)
    return _smaller(base, fork.max_per_epoch_activation_churn_limit_gwei / GWEI_PER_ETH)


def exit_churn_limit(fork: Fork, *, total_stake_eth: Scalar) -> Scalar:
    """Stake that may exit per epoch, ETH.

    Equation, `T` the total: to Deneb `max(4 validators, T/32/65,536) * 32 ETH`; Electra and Fulu
    `min(256, max(128, T/65,536))`, counted apart from entries; Gloas `max(128, T/32,768)`, without a cap.

    Args:
        fork: constants.
        total_stake_eth: total active balance, ETH, > 0.

    Raises:
        ValueError: total_stake_eth is concrete and not positive.

    Source: `get_validator_churn_limit` (phase 0), `get_activation_exit_churn_limit` (Electra),
    `get_exit_churn_limit` (Gloas).

    Example:
        >>> from jaxstake.protocol import forks
        >>> [float(exit_churn_limit(forks.get(name), total_stake_eth=42e6)) // 1 for name in ("fulu", "gloas")]
        [256.0, 1281.0]
    """
    base = _base_churn(fork, total_stake_eth)
    if fork.churn_rule == "shared":
        return _smaller(base, fork.max_per_epoch_activation_exit_churn_limit_gwei / GWEI_PER_ETH)
    return base


def consolidation_churn_limit(fork: Fork, *, total_stake_eth: Scalar) -> Scalar:
    """Stake that may be consolidated per epoch, ETH, Electra or later.

    Equation, `T` the total: Electra and Fulu `max(128, T/65,536)` less the exit limit; Gloas `T/65,536`.

    Args:
        fork: constants, Electra or later.
        total_stake_eth: total active balance, ETH, > 0.

    Raises:
        ValueError: total_stake_eth is concrete and not positive, or the fork has no consolidations.

    Source: `get_consolidation_churn_limit` (Electra, Gloas).
    """
    require_defined(fork, "max_consolidation_requests_per_payload")
    if fork.churn_rule == "separate":
        total_stake_eth = require_domain("total_stake_eth", total_stake_eth, POSITIVE)
        return total_stake_eth / fork.consolidation_churn_limit_quotient
    base = _base_churn(fork, total_stake_eth)
    return base - exit_churn_limit(fork, total_stake_eth=total_stake_eth)


def lookahead_epochs(fork: Fork) -> Scalar:
    """Epochs between a decision to activate or exit and its effect: `1 + MAX_SEED_LOOKAHEAD`, 5.

    Source: `compute_activation_exit_epoch` (phase 0).
    """
    return 1.0 + fork.max_seed_lookahead


def exit_queue_epochs(fork: Fork, *, queue_eth: Scalar, total_stake_eth: Scalar) -> Scalar:
    """Epochs from an exit request to the exit epoch: the queue over the churn limit, and the lookahead.

    Args:
        fork: constants.
        queue_eth: stake ahead in the exit queue, one's own included, ETH, >= 0.
        total_stake_eth: total active balance, ETH, > 0.

    Raises:
        ValueError: a concrete argument is out of range.

    Source: `initiate_validator_exit` (phase 0), `compute_exit_epoch_and_update_churn` (Electra).
    """
    queue_eth = require_domain("queue_eth", queue_eth, NON_NEGATIVE)
    return queue_eth / exit_churn_limit(fork, total_stake_eth=total_stake_eth) + lookahead_epochs(fork)


def entry_wait(fork: Fork, *, queue_eth: Scalar, total_stake_eth: Scalar, deposit_eth: Scalar | None = None) -> Wait:
    """Days from a deposit to activation for who joins the end of the entry queue.

    Equation, in epochs: `max(queue / churn, queue / deposit / MAX_PENDING_DEPOSITS_PER_EPOCH)`, two to the finality
    of the deposit, two to that of the eligibility, and the lookahead. The number of deposits binds, from Electra,
    when they are smaller than churn/16 = 16 ETH on average: it is the limit of micro-staking.

    Args:
        fork: constants.
        queue_eth: stake in the entry queue, one's own included, ETH, >= 0.
        total_stake_eth: total active balance, ETH, > 0.
        deposit_eth: average size of the queued deposits, ETH, > 0; default 32.

    Returns:
        `Wait`, days. Before Electra the time until the deposit contract was voted on is not included.

    Raises:
        ValueError: a concrete argument is out of range.

    Source: `process_pending_deposits` (Electra), `process_registry_updates` (phase 0).

    Example:
        >>> from jaxstake.protocol import forks
        >>> wait = entry_wait(forks.get("fulu"), queue_eth=2_262_825.0, total_stake_eth=42_228_608.0)
        >>> print(f"{wait.queue:.2f} {wait.total:.2f}")
        39.29 39.33
    """
    deposit_eth = max_effective_balance_eth(fork) if deposit_eth is None else deposit_eth
    queue_eth = require_domain("queue_eth", queue_eth, NON_NEGATIVE)
    deposit_eth = require_domain("deposit_eth", deposit_eth, POSITIVE)
    epochs = queue_eth / activation_churn_limit(fork, total_stake_eth=total_stake_eth)
    if fork.max_pending_deposits_per_epoch is not None:
        epochs = jnp.maximum(as_float(epochs), as_float(queue_eth / deposit_eth / fork.max_pending_deposits_per_epoch))
    return _wait(fork, queue=epochs, finality=2.0 * EPOCHS_TO_FINALITY, lookahead=lookahead_epochs(fork))


def exit_wait(
    fork: Fork,
    *,
    queue_eth: Scalar,
    total_stake_eth: Scalar,
    validators: Scalar,
    block_rate: Scalar = 1.0,
) -> Wait:
    """Days from an exit request to the ETH on the withdrawal address for who joins the end of the exit queue.

    Equation, in epochs: `queue / churn + lookahead + MIN_VALIDATOR_WITHDRAWABILITY_DELAY + sweep / 2`, with the
    sweep of `withdrawal_sweep_epochs`.

    Args:
        fork: constants, Capella or later.
        queue_eth: stake in the exit queue, one's own included, ETH, >= 0.
        total_stake_eth: total active balance, ETH, > 0.
        validators: validators with a withdrawable balance in the set, >= 0.
        block_rate: share of slots with a block, in (0, 1].

    Returns:
        `Wait`, days.

    Raises:
        ValueError: a concrete argument is out of range, or the fork has no withdrawals.

    Source: `initiate_validator_exit` (phase 0, Electra), `get_expected_withdrawals` (Capella).
    """
    epochs = exit_queue_epochs(fork, queue_eth=queue_eth, total_stake_eth=total_stake_eth)
    sweep = withdrawal_sweep_epochs(fork, validators=validators, block_rate=block_rate)
    return _wait(
        fork,
        queue=epochs - lookahead_epochs(fork),
        lookahead=lookahead_epochs(fork),
        withdrawability=fork.min_validator_withdrawability_delay,
        sweep=0.5 * sweep,
    )


def withdrawal_sweep_epochs(
    fork: Fork, *, validators: Scalar, withdrawable_share: Scalar = 1.0, block_rate: Scalar = 1.0
) -> Scalar:
    """Epochs in which the withdrawal sweep goes once around the validator set.

    Equation: `max(n s / MAX_WITHDRAWALS_PER_PAYLOAD, n / MAX_VALIDATORS_PER_WITHDRAWALS_SWEEP)` blocks, over the
    blocks of an epoch: a block stops after 16 withdrawals or 16,384 validators looked at.

    Args:
        fork: constants, Capella or later.
        validators: validators in the set `n`, >= 0.
        withdrawable_share: share `s` of them that has something to withdraw, in (0, 1].
        block_rate: share of slots with a block, in (0, 1].

    Raises:
        ValueError: a concrete argument is out of range, or the fork has no withdrawals.

    Source: `get_expected_withdrawals` (Capella).
    """
    require_defined(fork, "max_withdrawals_per_payload", "max_validators_per_withdrawals_sweep")
    validators = require_domain("validators", validators, NON_NEGATIVE)
    withdrawable_share = require_domain("withdrawable_share", withdrawable_share, POSITIVE_FRACTION)
    block_rate = require_domain("block_rate", block_rate, POSITIVE_FRACTION)
    by_withdrawals = as_float(validators * withdrawable_share / fork.max_withdrawals_per_payload)
    by_validators = as_float(validators / fork.max_validators_per_withdrawals_sweep)
    return jnp.maximum(by_withdrawals, by_validators) / (fork.slots_per_epoch * block_rate)


def exit_epochs(
    fork: Fork,
    *,
    amounts_gwei: jax.Array,
    total_stake_gwei: Scalar,
    current_epoch: Scalar,
    earliest_exit_epoch: Scalar = 0.0,
    exit_balance_to_consume_gwei: Scalar = 0.0,
) -> jax.Array:
    """Exit epoch of each of a sequence of requests, by the rule of the specification.

    Args:
        fork: constants, Electra or later.
        amounts_gwei: [E] effective balances that ask to exit, in order, Gwei, >= 0.
        total_stake_gwei: total active balance, Gwei, > 0.
        current_epoch: epoch in which the requests arrive, >= 0.
        earliest_exit_epoch: head of the queue before the first request, >= 0.
        exit_balance_to_consume_gwei: churn left at the head, Gwei, >= 0.

    Returns:
        [E] exit epochs as floats; exact in x64 up to 2^53 Gwei, a step function without useful gradient
        (`exit_queue_epochs` is the smooth one).

    Raises:
        ValueError: amounts_gwei is not a vector, a concrete argument is out of range, or the fork is before Electra.

    Source: `compute_exit_epoch_and_update_churn` (Electra).
    """
    amounts = as_float(amounts_gwei)
    if amounts.ndim != 1:
        raise ValueError(f"amounts_gwei must be a vector [E], got shape {amounts.shape}")
    require_defined(fork, "min_per_epoch_churn_limit_gwei")
    amounts = as_float(require_domain("amounts_gwei", amounts, NON_NEGATIVE))
    total_stake_gwei = require_domain("total_stake_gwei", total_stake_gwei, POSITIVE)
    current_epoch = require_domain("current_epoch", current_epoch, NON_NEGATIVE)
    earliest_exit_epoch = require_domain("earliest_exit_epoch", earliest_exit_epoch, NON_NEGATIVE)
    balance_left = require_domain("exit_balance_to_consume_gwei", exit_balance_to_consume_gwei, NON_NEGATIVE)
    limit = exit_churn_limit(fork, total_stake_eth=total_stake_gwei / GWEI_PER_ETH) * GWEI_PER_ETH
    increment = fork.effective_balance_increment_gwei
    churn = jnp.floor(limit / increment) * increment
    first = jnp.asarray(current_epoch + lookahead_epochs(fork), amounts.dtype)

    def request(queue: tuple[jax.Array, jax.Array], amount: jax.Array) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        earliest, left = queue
        left = jnp.where(earliest < first, churn, left)
        earliest = jnp.maximum(earliest, first)
        more = jnp.ceil(jnp.maximum(amount - left, 0.0) / churn)  # below 2^53 Gwei a rest of 1 Gwei shows
        earliest, left = earliest + more, left + more * churn - amount
        return (earliest, left), earliest

    start = (
        jnp.asarray(earliest_exit_epoch, amounts.dtype),
        jnp.asarray(balance_left, amounts.dtype),
    )
    return jax.lax.scan(request, start, amounts)[1]


def _base_churn(fork: Fork, total_stake_eth: Scalar) -> Scalar:
    """`max(minimum, T / CHURN_LIMIT_QUOTIENT)`, ETH per epoch."""
    total_stake_eth = require_domain("total_stake_eth", total_stake_eth, POSITIVE)
    if fork.churn_rule == "validators":
        minimum = fork.min_per_epoch_churn_limit * max_effective_balance_eth(fork)
    else:
        minimum = fork.min_per_epoch_churn_limit_gwei / GWEI_PER_ETH
    return jnp.maximum(as_float(total_stake_eth / fork.churn_limit_quotient), as_float(minimum))


def _smaller(limit: Scalar, cap: Scalar) -> Scalar:
    return jnp.minimum(as_float(limit), as_float(cap))


def _wait(
    fork: Fork,
    *,
    queue: Scalar,
    finality: Scalar = 0.0,
    lookahead: Scalar = 0.0,
    withdrawability: Scalar = 0.0,
    sweep: Scalar = 0.0,
) -> Wait:
    """Epochs by cause, as days."""
    per_day = epochs_per_day(fork)
    days = [epochs / per_day for epochs in (queue, finality, lookahead, withdrawability, sweep)]
    return Wait(
        queue=days[0],
        finality=days[1],
        lookahead=days[2],
        withdrawability=days[3],
        sweep=days[4],
        total=days[0] + days[1] + days[2] + days[3] + days[4],
    )
