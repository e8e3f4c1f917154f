"""Random states that sit on the edges of the rules: full queues, equal epochs, empty balances, keys that repeat."""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxstake.beacon import rules
from jaxstake.beacon.rules import has_balance_queues, has_builders
from jaxstake.protocol import forks

NEVER = np.iinfo(np.uint64).max
ETH = 10**9
N, ROWS, QUEUE = 40, 64, 48
EPOCH = 9000


def constants(name: str, preset: str = "minimal") -> dict[str, int]:
    """Constants under the specification's names, and what tells Electra's deposits from Fulu's."""
    return forks.constants(name, preset=preset) | {"waits_for_bridge": int(name == "electra")}  # type: ignore[arg-type]


def random_arrays(fork: str, rng: np.random.Generator, preset: str = "minimal") -> dict[str, Any]:
    """Arrays of a state as `state_from_arrays` takes them."""
    r = rules.get(fork, preset=preset)  # type: ignore[arg-type]
    most = r.max_effective_balance_gwei // ETH
    effective = _pick(rng, N, [0, 1, 16, 17, 31, 32, 32, 32, rng.integers(0, most + 1), most])
    balances = effective * ETH + _pick(rng, N, [0, 1, 249_999_999, ETH, 1_250_000_001, 7 * ETH])
    balances = np.where(rng.random(N) < 0.3, rng.integers(0, 200_000, N), balances)
    started = np.where(rng.random(N) < 0.7, rng.integers(0, EPOCH - 1, N), _pick(rng, N, [EPOCH, EPOCH + 1, EPOCH + 5]))
    waiting = rng.random(N) < 0.35 * rng.random()
    leaving = rng.random(N) < 0.4 * rng.random()
    exits = np.where(leaving, _pick(rng, N, [EPOCH - 300, EPOCH - 1, EPOCH, EPOCH + 5, EPOCH + 6, EPOCH + 9]), 0)
    u8 = lambda values: np.asarray(values, np.uint8)  # noqa: E731
    u64 = lambda values: np.asarray(values, np.uint64)  # noqa: E731
    never = u64(np.full(N, NEVER, np.uint64))
    finalized = EPOCH - int(rng.choice([2, 3, 6, 7, 40]))
    arrays = {
        "slot": EPOCH * r.slots_per_epoch + int(rng.integers(r.slots_per_epoch)),
        "finalized_epoch": finalized,
        "previous_justified_epoch": finalized,
        "current_justified_epoch": EPOCH - 1,
        "justification_bits": rng.integers(0, 2, 4).astype(bool),
        "balances": u64(balances),
        "effective_balance": u64(effective * ETH),
        "inactivity_scores": u64(rng.integers(0, 100_000, N) * (rng.random(N) < 0.4)),
        "previous_epoch_participation": u8(rng.integers(0, 8, N)),
        "current_epoch_participation": u8(rng.integers(0, 8, N)),
        "slashed": rng.random(N) < 0.15,
        "activation_eligibility_epoch": np.where(
            waiting, np.where(rng.random(N) < 0.3, never, u64(finalized - 2 + rng.integers(0, 4, N))), u64(started)
        ),
        "activation_epoch": np.where(waiting, never, u64(started)),
        "exit_epoch": np.where(leaving & ~waiting, u64(exits), never),
        "withdrawable_epoch": np.where(leaving & ~waiting, u64(exits + _pick(rng, N, [1, 256, 299, 300])), never),
        "cred_prefix": u8(rng.integers(0, 3, N)),
        "pubkey_id": u64(np.arange(N) if rng.random() < 0.5 else rng.permutation(N)),
        "slashings": u64(rng.integers(0, 50, r.epochs_per_slashings_vector) * ETH),
        "next_withdrawal_index": int(rng.integers(1000)),
        "next_withdrawal_validator_index": int(rng.integers(N)),
    }
    if has_balance_queues(r):
        movable = np.flatnonzero((arrays["withdrawable_epoch"] <= EPOCH + 1) | arrays["slashed"])
        arrays |= _electra(rng, finalized * r.slots_per_epoch, movable)
    if has_builders(r):
        arrays |= _gloas(rng, r)
    return arrays


def _electra(rng: np.random.Generator, finalized_slot: int, movable: np.ndarray) -> dict[str, Any]:
    deposits, merges, parts = (int(rng.integers(0, 24)) for _ in range(3))
    u64 = lambda values: np.asarray(values, np.uint64)  # noqa: E731
    slots = np.where(rng.random(deposits) < 0.3, 0, finalized_slot - rng.integers(0, 20, deposits))
    late = rng.random(deposits) < 0.05
    sources = np.where(rng.random(merges) < 0.1, rng.integers(0, N, merges), rng.choice([*movable, 0], merges))
    return {
        "deposit_balance_to_consume": int(rng.integers(0, 300)) * ETH,
        "exit_balance_to_consume": int(rng.integers(0, 64 * ETH)),
        "earliest_exit_epoch": EPOCH + int(rng.integers(0, 12)),
        "consolidation_balance_to_consume": int(rng.integers(0, 64 * ETH)),
        "earliest_consolidation_epoch": EPOCH + int(rng.integers(0, 12)),
        "eth1_deposit_index": int(rng.integers(9, 11)),
        "deposit_requests_start_index": 10,
        "pending_deposits_pubkey_id": u64(rng.integers(0, N + 4 * rng.integers(0, 3), deposits)),
        "pending_deposits_cred_prefix": rng.integers(0, 3, deposits).astype(np.uint8),
        "pending_deposits_amount": u64(rng.choice([0, 1, ETH, 32 * ETH, 64 * ETH, 3 * ETH + 5], deposits)),
        "pending_deposits_slot": u64(np.where(late, finalized_slot + 1, slots)),
        "pending_consolidations_source": u64(sources),
        "pending_consolidations_target": u64(rng.integers(0, N, merges)),
        "pending_partial_withdrawals_validator_index": u64(rng.integers(0, N // 4, parts)),
        "pending_partial_withdrawals_amount": u64(rng.integers(1, 40 * ETH, parts)),
        "pending_partial_withdrawals_withdrawable_epoch": u64(EPOCH - 1 + (rng.random(parts) < 0.1) * 2),
    }


def _gloas(rng: np.random.Generator, r: rules.Rules) -> dict[str, Any]:
    builders, slots = int(rng.integers(1, 20)), 2 * r.slots_per_epoch
    queued = int(rng.integers(0, 6))
    u64 = lambda values: np.asarray(values, np.uint64)  # noqa: E731
    return {
        "next_withdrawal_builder_index": int(rng.integers(builders)),
        "builders_balance": u64(rng.integers(0, 3, builders) * 5 * ETH),
        "builders_withdrawable_epoch": u64(np.where(rng.random(builders) < 0.6, EPOCH, EPOCH + 1)),
        "builder_pending_payments_weight": u64(rng.integers(0, 2000, slots) * ETH),
        "builder_pending_payments_amount": u64(rng.integers(0, 3, slots) * ETH),
        "builder_pending_payments_builder_index": u64(rng.integers(0, builders, slots)),
        "builder_pending_payments_proposer_index": u64(rng.integers(0, N, slots)),
        "builder_pending_withdrawals_amount": u64(rng.integers(1, 8 * ETH, queued)),
        "builder_pending_withdrawals_builder_index": u64(rng.integers(0, builders, queued)),
    }


def _pick(rng: np.random.Generator, n: int, values: list[Any]) -> np.ndarray:
    return rng.choice(np.asarray(values, np.int64), n)


def as_lists(arrays: dict[str, Any]) -> dict[str, Any]:
    """The same state in plain Python integers."""
    return {name: [int(x) for x in value] if np.ndim(value) else int(value) for name, value in arrays.items()}
