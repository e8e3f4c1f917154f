"""The inactivity leak and the penalties of being offline, as smooth functions.

During a leak (no finality for more than four epochs) a validator that misses its target votes gains
`INACTIVITY_SCORE_BIAS` points per epoch and loses `balance * score / (BIAS * QUOTIENT)` each epoch. With
the score growing linearly the loss per epoch does too, so that the balance of a validator offline from the
start follows a Gaussian in time: `B(t) = B0 exp(-t^2 / (2 QUOTIENT))`, `t` in epochs.

All functions take scalars; amounts are ETH, times epochs. Penalties for missed source and target votes,
which go on during a leak, are in `rewards.missed_attestation_penalty`.
"""

from __future__ import annotations

import jax.numpy as jnp

from jaxstake.core.checks import require, require_domain
from jaxstake.core.domain import FRACTION, NON_NEGATIVE, POSITIVE, PROPER_FRACTION
from jaxstake.core.numerics import as_float, positive_part, safe_log, safe_sqrt
from jaxstake.core.typing import Scalar
from jaxstake.core.units import GWEI_PER_ETH
from jaxstake.protocol.forks import Fork, hysteresis_eth, inactivity_penalty_denominator, require_defined

FINALITY_SHARE = 2.0 / 3.0
"""Share of the active stake that must vote for the target for an epoch to be justified (phase 0)."""


def inactivity_score_drift(fork: Fork, *, target_rate: Scalar, in_leak: Scalar = 1.0) -> Scalar:
    """Expected change of a large inactivity score per epoch, in points.

    Equation: `BIAS (1 - u) - u - RECOVERY_RATE (1 - in_leak)` with `u` the chance of a timely target vote.
    In a leak it is negative, and the score stays bounded, if and only if `u > BIAS/(BIAS+1)` = 80 %.

    Args:
        fork: constants, Altair or later.
        target_rate: `u`, in [0, 1].
        in_leak: 1 in a leak, 0 outside, in between for a share of the time.

    Raises:
        ValueError: a concrete argument is out of range, or the fork is phase 0.

    Source: `process_inactivity_updates` (Altair).
    """
    require_defined(fork, "inactivity_score_bias")
    target_rate = require_domain("target_rate", target_rate, FRACTION)
    in_leak = require_domain("in_leak", in_leak, FRACTION)
    gained = fork.inactivity_score_bias * (1.0 - target_rate) - target_rate
    return gained - fork.inactivity_score_recovery_rate * (1.0 - in_leak)


def inactivity_penalty(fork: Fork, *, effective_balance_eth: Scalar, inactivity_score: Scalar) -> Scalar:
    """Penalty of one epoch for a validator that misses its target vote, in a leak or not, ETH, positive.

    Equation: `EB * score / (INACTIVITY_SCORE_BIAS * INACTIVITY_PENALTY_QUOTIENT)`.

    Args:
        fork: constants, Altair or later.
        effective_balance_eth: effective balance, ETH, >= 0.
        inactivity_score: score after this epoch's update, >= 0.

    Raises:
        ValueError: a concrete argument is out of range, or the fork is phase 0.

    Source: `get_inactivity_penalty_deltas` (Altair, Bellatrix).
    """
    effective_balance_eth = require_domain("effective_balance_eth", effective_balance_eth, NON_NEGATIVE)
    inactivity_score = require_domain("inactivity_score", inactivity_score, NON_NEGATIVE)
    return effective_balance_eth * inactivity_score / inactivity_penalty_denominator(fork)


def leak_retained_share(fork: Fork, *, epochs: Scalar) -> Scalar:
    """Share of its balance that a validator keeps after being offline for a leak of that many epochs.

    Equation: `exp(-t^2 / (2 INACTIVITY_PENALTY_QUOTIENT))`; 60.7 % after 4,096 epochs since Bellatrix.

    Args:
        fork: constants, Altair or later.
        epochs: length of the leak, >= 0; the validator is offline from its start.

    Raises:
        ValueError: epochs is concrete and negative, or the fork is phase 0.

    Source: continuous limit of `process_inactivity_updates` and `get_inactivity_penalty_deltas` (Altair).

    Example:
        >>> from jaxstake.protocol import forks
        >>> print(f"{leak_retained_share(forks.get('fulu'), epochs=4096.0):.4f}")
        0.6065
    """
    require_defined(fork, "inactivity_score_bias")
    epochs = require_domain("epochs", epochs, NON_NEGATIVE)
    return jnp.exp(-_leak_exponent(fork, epochs))


def leak_loss(fork: Fork, *, balance_eth: Scalar, epochs: Scalar) -> Scalar:
    """What a validator offline for a whole leak loses to inactivity penalties during it, ETH, positive.

    Equation: `B0 (1 - exp(-t^2 / (2 INACTIVITY_PENALTY_QUOTIENT)))`.

    Args:
        fork: constants, Altair or later.
        balance_eth: balance at the start, ETH, >= 0.
        epochs: length of the leak, >= 0.

    Raises:
        ValueError: a concrete argument is out of range, or the fork is phase 0.
    """
    balance_eth = require_domain("balance_eth", balance_eth, NON_NEGATIVE)
    require_defined(fork, "inactivity_score_bias")
    epochs = require_domain("epochs", epochs, NON_NEGATIVE)
    return -balance_eth * jnp.expm1(-_leak_exponent(fork, epochs))


def leak_loss_first_order(fork: Fork, *, balance_eth: Scalar, epochs: Scalar) -> Scalar:
    """First term of `leak_loss` in the length of the leak, ETH: right for short leaks, above the balance for long.

    Equation: `B0 t^2 / (2 INACTIVITY_PENALTY_QUOTIENT)`, the form often quoted as the loss itself. It exceeds
    `leak_loss` by a relative `t^2 / (4 QUOTIENT)` at first order and the whole balance after
    `sqrt(2 QUOTIENT)` = 5,793 epochs.

    Args:
        fork: constants, Altair or later.
        balance_eth: balance at the start, ETH, >= 0.
        epochs: length of the leak, >= 0.

    Raises:
        ValueError: a concrete argument is out of range, or the fork is phase 0.
    """
    balance_eth = require_domain("balance_eth", balance_eth, NON_NEGATIVE)
    require_defined(fork, "inactivity_score_bias")
    epochs = require_domain("epochs", epochs, NON_NEGATIVE)
    return balance_eth * _leak_exponent(fork, epochs)


def leak_epochs_to_balance(fork: Fork, *, balance_eth: Scalar, remaining_eth: Scalar) -> Scalar:
    """Epochs of leak after which an offline validator's balance has fallen to a given one.

    Equation: `t = sqrt(2 QUOTIENT ln(B0 / B))`, the inverse of `leak_loss`.

    Args:
        fork: constants, Altair or later.
        balance_eth: balance at the start, ETH, > 0.
        remaining_eth: balance to reach, ETH, > 0 and at most `balance_eth`.

    Raises:
        ValueError: a concrete argument is out of range, or the fork is phase 0.
    """
    require_defined(fork, "inactivity_score_bias")
    balance_eth = require_domain("balance_eth", balance_eth, POSITIVE)
    remaining_eth = require_domain("remaining_eth", remaining_eth, POSITIVE)
    factor = require(
        remaining_eth <= balance_eth,
        "remaining_eth must be at most balance_eth = {balance}, got {remaining}",
        balance=balance_eth,
        remaining=remaining_eth,
    )
    needed = jnp.log(as_float(balance_eth / (factor * remaining_eth)))  # the factor inside: a flat branch would hide it
    return safe_sqrt(2.0 * fork.inactivity_penalty_quotient * needed)


def ejection_epochs(fork: Fork, *, balance_eth: Scalar) -> Scalar:
    """Epochs of leak until an offline validator's effective balance reaches the ejection balance.

    Equation: `leak_epochs_to_balance` down to `EJECTION_BALANCE` + 1 - 0.25 ETH: hysteresis keeps the effective
    balance at 17 ETH until the balance falls under 16.75. Early by about 0.5 % (4,661 epochs for 32 ETH against
    4,686 of the integer rules), because the penalty is taken on the effective balance, which is on average 0.25 ETH
    below a falling balance.

    Args:
        fork: constants, Altair or later.
        balance_eth: balance at the start, ETH, at least the one at which ejection follows.

    Raises:
        ValueError: a concrete argument is out of range, or the fork is phase 0.

    Source: `process_registry_updates`, `process_effective_balance_updates` (phase 0).
    """
    downward, _ = hysteresis_eth(fork)
    increment = fork.effective_balance_increment_gwei / GWEI_PER_ETH
    threshold = fork.ejection_balance_gwei / GWEI_PER_ETH + increment - downward
    balance_eth = require_domain("balance_eth", balance_eth, POSITIVE)
    factor = require(
        balance_eth >= threshold,
        "balance_eth must be at least {threshold}, where ejection follows, got {balance}",
        threshold=threshold,
        balance=balance_eth,
    )
    return leak_epochs_to_balance(fork, balance_eth=factor * balance_eth, remaining_eth=threshold)


def epochs_to_finality(fork: Fork, *, offline_share: Scalar) -> Scalar:
    """Epochs of leak until the online validators are two thirds of what stake is left, and finality returns.

    Equation: `t = sqrt(2 QUOTIENT ln(2 f / (1 - f)))` for an offline share `f` > 1/3, and 0 up to 1/3: the
    offline stake must shrink to `(1 - f)/2`. Validators that the leak ejects on the way (after about 20.8 days)
    make it shorter; that is for the exact rules.

    Args:
        fork: constants, Altair or later.
        offline_share: `f`, share of the stake that stays offline, in [0, 1).

    Returns:
        Epochs; its derivative is set to 0 at f <= 1/3, where the true one jumps to infinity.

    Raises:
        ValueError: offline_share is concrete and out of range, or the fork is phase 0.

    Example:
        >>> from jaxstake.protocol import forks
        >>> print(f"{epochs_to_finality(forks.get('fulu'), offline_share=0.5) / 225:.1f} days")
        21.4 days
    """
    require_defined(fork, "inactivity_score_bias")
    offline_share = require_domain("offline_share", offline_share, PROPER_FRACTION)
    return safe_sqrt(2.0 * fork.inactivity_penalty_quotient * positive_part(-_log_needed(offline_share)))


def leak_burnt_share(fork: Fork, *, offline_share: Scalar) -> Scalar:
    """Share of all stake that a leak burns, from its start until the scores of the offline are back to zero.

    Equation: `f (1 - ((1 - f)/(2 f))^(R/(R - BIAS)))`, with `R` the recovery rate (16) and so the power 4/3: when
    finality returns the offline hold `(1-f)/(2f)` of their stake, and while their scores fall again by 12 an
    epoch they lose a third of the exponent more. 0 for f <= 1/3.

    Args:
        fork: constants, Altair or later.
        offline_share: `f`, share of the stake that stays offline throughout, in [0, 1).

    Raises:
        ValueError: offline_share is concrete and out of range, or the fork is phase 0.
    """
    require_defined(fork, "inactivity_score_bias")
    offline_share = require_domain("offline_share", offline_share, PROPER_FRACTION)
    recovery = fork.inactivity_score_recovery_rate
    exponent = recovery / (recovery - fork.inactivity_score_bias)
    return -offline_share * jnp.expm1(-exponent * positive_part(-_log_needed(offline_share)))


def _leak_exponent(fork: Fork, epochs: Scalar) -> Scalar:
    """`t^2 / (2 QUOTIENT)`, written so that no intermediate is large."""
    return 0.5 * (epochs / jnp.sqrt(as_float(fork.inactivity_penalty_quotient))) ** 2


def _log_needed(offline_share: Scalar) -> Scalar:
    """Log of the share that the offline must keep for the online to be two thirds; above 0 if they need not shrink."""
    kept = (1.0 - offline_share) * (1.0 - FINALITY_SHARE) / FINALITY_SHARE
    return safe_log(kept) - safe_log(offline_share, at_zero=-jnp.inf)
