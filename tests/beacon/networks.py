"""Healthy networks of a few validators for simulations."""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxstake.beacon import rules
from jaxstake.beacon.arrays import state_from_arrays
from jaxstake.beacon.state import BeaconState

ETH = 10**9
EPOCH = 9_216
NEVER = np.iinfo(np.uint64).max


def network(
    fork: str,
    n: int,
    *,
    preset: Any = "minimal",
    capacity: int | None = None,
    balance: int = 32 * ETH,
    effective: np.ndarray | None = None,
    score: int = 0,
) -> tuple[rules.Rules, BeaconState]:
    """The rules of a fork and a state in the first slot of an epoch: all active for long, finality two epochs ago."""
    r = rules.get(fork, preset=preset)
    balances = np.full(n, balance, np.uint64)
    whole = balances // np.uint64(ETH) * np.uint64(ETH) if effective is None else effective
    arrays = {
        "slot": EPOCH * r.slots_per_epoch,
        "finalized_epoch": EPOCH - 3,
        "previous_justified_epoch": EPOCH - 3,
        "current_justified_epoch": EPOCH - 2,
        "justification_bits": np.ones(4, bool),
        "balances": balances if effective is None else effective,
        "effective_balance": whole,
        "inactivity_scores": np.full(n, score, np.uint64),
        "previous_epoch_participation": np.full(n, 7, np.uint8),
        "current_epoch_participation": np.zeros(n, np.uint8),
        "slashed": np.zeros(n, bool),
        "activation_eligibility_epoch": np.zeros(n, np.uint64),
        "activation_epoch": np.zeros(n, np.uint64),
        "exit_epoch": np.full(n, NEVER),
        "withdrawable_epoch": np.full(n, NEVER),
        "cred_prefix": np.where(whole > np.uint64(32 * ETH), 2, 1).astype(np.uint8),
        "slashings": np.zeros(r.epochs_per_slashings_vector, np.uint64),
    }
    return r, state_from_arrays(r, arrays, validator_capacity=capacity, queue_capacity=128)
