"""The specification's rules for one validator or a few cohorts, in plain Python integers (Gwei, epochs).

Written from ethereum/consensus-specs (Altair to Electra) without looking at the package. `isqrt` is the
standard library's exact one.
"""

from __future__ import annotations

import dataclasses
from math import isqrt

GWEI = 10**9
INCREMENT = GWEI
SOURCE, TARGET, HEAD, SYNC, PROPOSER, DENOMINATOR = 14, 26, 14, 2, 8, 64
SYNC_SEATS, SLOTS = 512, 32
SCORE_BIAS, SCORE_RECOVERY = 4, 16
LEAK_QUOTIENT = 2**24


def base_reward_per_increment(total: int) -> int:
    """`get_base_reward_per_increment` (Altair)."""
    return INCREMENT * 64 // isqrt(total)


def flag_reward(increments: int, per_increment: int, weight: int, participating: int, active: int) -> int:
    """Reward of one flag in `get_flag_index_deltas` (Altair), outside a leak; stakes in increments."""
    return increments * per_increment * weight * participating // (active * DENOMINATOR)


def flag_penalty(increments: int, per_increment: int, weight: int) -> int:
    """Penalty for one missed flag, not the head, in `get_flag_index_deltas` (Altair)."""
    return increments * per_increment * weight // DENOMINATOR


def sync_participant_reward(total: int) -> int:
    """Reward of one seat in one slot in `process_sync_aggregate` (Altair)."""
    total_base = base_reward_per_increment(total) * (total // INCREMENT)
    return total_base * SYNC // DENOMINATOR // SLOTS // SYNC_SEATS


def with_hysteresis(balance: int, effective: int, maximum: int) -> int:
    """`process_effective_balance_updates` (phase 0) for one validator."""
    if balance + INCREMENT // 4 < effective or effective + 5 * INCREMENT // 4 < balance:
        return min(balance - balance % INCREMENT, maximum)
    return effective


def offline_until_ejection(balance: int, maximum: int = 32 * GWEI, ejection: int = 16 * GWEI) -> tuple[int, int]:
    """Epochs of leak after which the effective balance reaches the ejection balance, and the balance then.

    The inactivity penalty is the only one. The registry looks at the effective balance before it is updated, so
    the ejection itself happens in the epoch after.
    """
    effective, score, epochs = min(balance - balance % INCREMENT, maximum), 0, 0
    while effective > ejection:
        score += SCORE_BIAS
        balance -= effective * score // (SCORE_BIAS * LEAK_QUOTIENT)
        effective = with_hysteresis(balance, effective, maximum)
        epochs += 1
    return epochs, balance


@dataclasses.dataclass(frozen=True)
class Leak:
    """Outcome of a leak: epochs until finality, and the share of all stake burnt until the scores are zero."""

    epochs: int
    burnt: float
    ejected: int


def leak(offline: float, *, validators: int, by_effective_balance: bool, ejecting: bool = True) -> Leak:
    """A share of equal 32-ETH validators goes offline for good; inactivity penalties only.

    With `by_effective_balance` penalties, votes and ejection go by the effective balance, as in the protocol; else
    by the balance itself, as simpler published simulations do. All offline validators reach the ejection balance in
    the same epoch and leave in single file, `validators // 65,536` an epoch (before Electra), from the fifth after.
    """
    away = round(offline * validators)
    present = (validators - away) * 32 * GWEI
    active, balance, effective, score, epoch, burnt = away, 32 * GWEI, 32 * GWEI, 0, 0, 0
    churn = max(4, validators // 65_536)
    leaving_from = final = None
    while True:
        weight = effective if by_effective_balance else balance
        if final is None and present * 3 >= 2 * (present + active * weight):
            final = epoch
        epoch += 1
        score += SCORE_BIAS if final is None else SCORE_BIAS - SCORE_RECOVERY
        if score <= 0:
            return Leak(epochs=final or 0, burnt=burnt / (validators * 32 * GWEI), ejected=away - active)
        penalty = weight * score // (SCORE_BIAS * LEAK_QUOTIENT)
        balance -= penalty
        burnt += penalty * active
        effective = with_hysteresis(balance, effective, 32 * GWEI)
        weight = effective if by_effective_balance else balance
        if ejecting and leaving_from is None and weight <= 16 * GWEI:
            leaving_from = epoch + 5
        if leaving_from is not None and epoch >= leaving_from:
            active = max(0, active - churn)


def slashed_loss(*, balance: int, total: int, slashed: int, waiting_epochs: int, quotient: int = 4096) -> int:
    """Loss of a validator slashed at epoch 0 until it is withdrawable, Electra rules, outside a leak."""
    before, effective, maximum = balance, balance - balance % INCREMENT, 2048 * GWEI
    per_increment = base_reward_per_increment(total)
    balance -= effective // quotient
    for epoch in range(waiting_epochs):
        increments = effective // INCREMENT
        balance -= flag_penalty(increments, per_increment, SOURCE) + flag_penalty(increments, per_increment, TARGET)
        if epoch == 4096:
            balance -= min(3 * slashed, total) // (total // INCREMENT) * increments
        effective = with_hysteresis(balance, effective, maximum)
    return before - balance
