"""A network of which a part goes offline for good, as a loop over epochs in plain integers.

All who stay are alike: their target votes always count and their effective balance stays at 32 ETH. All who leave are
alike until they are ejected, and keep the balance of the epoch in which they left. So the loop needs one balance, one
score and the epochs of exit. Written from ethereum/consensus-specs (Altair to Deneb) without looking at the package.
Sync committees are left out.
"""

from __future__ import annotations

import dataclasses
from math import isqrt

import numpy as np

ETH = 10**9
QUOTIENT = 2**24
"""Of the inactivity penalty, since Bellatrix."""


@dataclasses.dataclass
class Leak:
    """What happened; epochs count from the one in which a part went offline, amounts are Gwei."""

    balance: list[int]
    """After each epoch, of one that left and is still active."""
    inactivity: list[int]
    """Taken from it in each epoch by the leak."""
    scores: list[int]
    effective: list[int]
    in_leak: list[bool]
    """Whether the transition at the end of each epoch is one of a leak."""
    leak_epochs: list[bool]
    """Whether there is a leak at the start of the next epoch."""
    active: list[int]
    """How many of those that left are active in the next epoch."""
    ejected: int | None
    """Epoch whose transition ejects them."""
    exits: np.ndarray
    """First epoch in which each of them is no longer active; 0 for never."""
    finality: int | None
    """Epoch whose transition finalizes for the first time after a leak."""
    burnt_share: float
    """Of the stake of the whole network at the start."""


def leak(
    *,
    validators: int,
    offline: int,
    n_epochs: int,
    attestations: bool = True,
    hysteresis: bool = True,
    churn_quotient: int = 65_536,
) -> Leak:
    """Epochs in a row after `offline` of the validators, 32 ETH each, left a network that finalizes in time.

    Args:
        validators: how many there are.
        offline: how many of them leave in epoch 0.
        n_epochs: how many epochs.
        attestations: whether missed votes cost anything besides the leak.
        hysteresis: whether the effective balance is that of the specification; the balance itself otherwise, of which
            16 ETH are still the limit for ejections.
        churn_quotient: active validators for one exit an epoch; at least 4 leave.
    """
    first = 10_000
    balance, effective, score = 32 * ETH, 32 * ETH, 0
    online_stake = (validators - offline) * 32 * ETH
    finalized, before, justified, bits = first - 3, first - 3, first - 2, [True] * 4
    found = Leak([], [], [], [], [], [], [], None, np.zeros(offline, np.int64), None, 0.0)
    remaining = offline
    for t in range(n_epochs):
        now = first + t
        total = online_stake + remaining * effective
        voted = total if t == 0 else online_stake  # everybody had voted in the epoch before
        reached = [3 * online_stake >= 2 * total, 3 * voted >= 2 * total]
        old_before, old_justified = before, justified
        before = justified
        bits = [reached[0], bits[0] or reached[1], bits[1], bits[2]]
        if reached[1]:
            justified = now - 1
        if reached[0]:
            justified = now
        was = finalized
        if all(bits[1:4]) and old_before + 3 == now:
            finalized = old_before
        if all(bits[1:3]) and old_before + 2 == now:
            finalized = old_before
        if all(bits[0:3]) and old_justified + 2 == now:
            finalized = old_justified
        if all(bits[0:2]) and old_justified + 1 == now:
            finalized = old_justified
        if found.finality is None and any(found.leak_epochs) and finalized > was:
            found.finality = t

        leaking = now - 1 - finalized > 4
        found.in_leak.append(leaking)
        score = max(score - 1, 0) if t == 0 else score + 4
        if not leaking:
            score = max(score - 16, 0)

        per_increment = 64 * ETH // isqrt(total)
        base, taken = effective // ETH * per_increment, 0
        if t == 0:
            increments = total // ETH
            balance += sum(base * w * increments // (increments * 64) for w in (14, 26, 14)) if attestations else 0
        else:
            balance -= (base * 14 // 64 + base * 26 // 64) if attestations else 0
            taken = effective * score // (4 * QUOTIENT)
            balance -= taken
        found.inactivity.append(taken)

        if found.ejected is None and effective <= 16 * ETH:
            limit = max(4, (validators - offline + remaining) // churn_quotient)
            found.ejected, found.exits = t, t + 5 + np.arange(offline) // limit
        if not hysteresis:
            effective = min(balance, 32 * ETH)
        elif balance + ETH // 4 < effective or effective + 5 * ETH // 4 < balance:
            effective = min(balance // ETH * ETH, 32 * ETH)
        if found.ejected is not None:
            remaining = offline - int(np.searchsorted(found.exits, t + 1, side="right"))
        found.balance.append(balance)
        found.scores.append(score)
        found.effective.append(effective)
        found.active.append(remaining)
        found.leak_epochs.append(now - finalized > 4)
    found.burnt_share = 1 - (online_stake + int(np.sum(final_balances(found)))) / (validators * 32 * ETH)
    return found


def final_balances(found: Leak) -> np.ndarray:
    """Balances of all that left, Gwei: who exits in epoch e was active in e - 1, which the end of e accounts for."""
    last = len(found.balance) - 1
    return np.asarray(found.balance)[np.where(found.exits == 0, last, np.minimum(found.exits, last))]
