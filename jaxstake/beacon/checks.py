"""What host arrays must be before they become a state: names, types, lengths and values."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from jaxstake.beacon import state
from jaxstake.beacon.integers import require_x64
from jaxstake.beacon.rules import Rules, has_balance_queues, has_builders
from jaxstake.core.leaves import unknown_name
from jaxstake.core.pytree import data_fields

Arrays = Mapping[str, np.ndarray]

VALIDATORS = (
    "balances",
    "effective_balance",
    "inactivity_scores",
    "previous_epoch_participation",
    "current_epoch_participation",
    "slashed",
    "activation_eligibility_epoch",
    "activation_epoch",
    "exit_epoch",
    "withdrawable_epoch",
    "cred_prefix",
    "pubkey_id",
)
_SCALARS = (
    "slot",
    "previous_justified_epoch",
    "current_justified_epoch",
    "finalized_epoch",
    "next_withdrawal_index",
    "next_withdrawal_validator_index",
)
_FROM_ELECTRA = (
    "deposit_requests_start_index",
    "eth1_deposit_index",
    "deposit_balance_to_consume",
    "exit_balance_to_consume",
    "earliest_exit_epoch",
    "consolidation_balance_to_consume",
    "earliest_consolidation_epoch",
)
_FROM_GLOAS = ("next_withdrawal_builder_index",)
_BYTES = frozenset(
    {"previous_epoch_participation", "current_epoch_participation", "cred_prefix", "pending_deposits_cred_prefix"}
)
_FLAGS = frozenset({"slashed", "justification_bits"})
_VALIDATOR_INDICES = (
    "pending_consolidations_source",
    "pending_consolidations_target",
    "pending_partial_withdrawals_validator_index",
    "builder_pending_payments_proposer_index",
)


def scalars(rules: Rules) -> tuple[str, ...]:
    """Names of the single numbers in a state of this fork."""
    later = _FROM_ELECTRA if has_balance_queues(rules) else ()
    return _SCALARS + later + (_FROM_GLOAS if has_builders(rules) else ())


def queues_of(rules: Rules) -> dict[str, type]:
    """Containers in a state of this fork by field."""
    found: dict[str, type] = {}
    if has_balance_queues(rules):
        found |= {
            "pending_deposits": state.PendingDeposits,
            "pending_partial_withdrawals": state.PendingPartialWithdrawals,
            "pending_consolidations": state.PendingConsolidations,
        }
    if has_builders(rules):
        found |= {
            "builders": state.Builders,
            "builder_pending_payments": state.BuilderPendingPayments,
            "builder_pending_withdrawals": state.BuilderPendingWithdrawals,
        }
    return found


def columns(kind: type) -> list[str]:
    """Names of the arrays of a queue."""
    return [name for name in data_fields(kind) if name != "length"]


def dtype_of(name: str) -> type[np.generic]:
    """Type of an array by its name."""
    return np.uint8 if name in _BYTES else np.uint64


def completed(rules: Rules, arrays: Arrays) -> dict[str, np.ndarray]:
    """The arrays with what may be left out: scalars are 0, queues empty, keys their own index."""
    payments = 2 * rules.slots_per_epoch
    optional: dict[str, np.ndarray] = {name: np.zeros((), np.uint64) for name in scalars(rules)}
    for name, kind in queues_of(rules).items():
        length = payments if kind is state.BuilderPendingPayments else 0
        optional |= {f"{name}_{column}": np.zeros(length, dtype_of(f"{name}_{column}")) for column in columns(kind)}
    if "balances" in arrays:
        optional["pubkey_id"] = np.arange(arrays["balances"].size, dtype=np.uint64)
    required = [*VALIDATORS, "slashings", "justification_bits"]
    for name in arrays:
        if name not in required and name not in optional:
            raise ValueError(unknown_name("array", name, [*required, *optional]))
    for name in required:
        if name not in arrays and name not in optional:
            raise ValueError(f"{name} must be given, got none")
    both = optional | dict(arrays)
    return {name: _integer(name, value) if value.ndim == 0 else value for name, value in both.items()}


def check_types(arrays: Arrays) -> None:
    """Raise where an array is not of the type of its name."""
    for name, array in arrays.items():
        if name in _FLAGS:
            if array.dtype not in (np.bool_, np.uint8):
                raise ValueError(f"{name} must be of type bool or uint8, got {array.dtype}")
            if array.size and array.max() > 1:
                raise ValueError(f"{name} must be 0 or 1, got {array.max()}")
        elif array.dtype != dtype_of(name):
            raise ValueError(f"{name} must be of type {np.dtype(dtype_of(name))}, got {array.dtype}")


def check_lengths(rules: Rules, arrays: Arrays) -> None:
    """Raise where arrays that belong together differ in length, or an array of fixed length has another."""
    groups: dict[str, list[str]] = {"balances": list(VALIDATORS)}
    for name, kind in queues_of(rules).items():
        own = [f"{name}_{column}" for column in columns(kind)]
        groups[own[0]] = own
    for leader, members in groups.items():
        for name in members:
            if arrays[name].ndim != 1:
                raise ValueError(f"{name} must have one axis, got shape {arrays[name].shape}")
            if len(arrays[name]) != len(arrays[leader]):
                raise ValueError(
                    f"{name} must be as long as {leader} ({len(arrays[leader])}), got length {len(arrays[name])}"
                )
    fixed = {"slashings": rules.epochs_per_slashings_vector, "justification_bits": 4}
    if has_builders(rules):
        fixed["builder_pending_payments_weight"] = 2 * rules.slots_per_epoch
    for name, length in fixed.items():
        if arrays[name].shape != (length,):
            raise ValueError(f"{name} must have shape ({length},), got {arrays[name].shape}")
    if len(arrays["balances"]) == 0:
        raise ValueError("balances must hold at least one validator, got length 0")


def check_values(rules: Rules, arrays: Arrays) -> None:
    """Raise where a number is against a rule of the specification."""
    effective, increment = arrays["effective_balance"], rules.effective_balance_increment_gwei
    _require(effective % np.uint64(increment) == 0, "effective_balance", f"a multiple of {increment} Gwei", effective)
    highest = rules.max_effective_balance_gwei
    _require(effective <= np.uint64(highest), "effective_balance", f"at most {highest} Gwei", effective)
    n = len(arrays["balances"])
    for name in _VALIDATOR_INDICES:
        if name in arrays:
            _require(arrays[name] < np.uint64(n), name, f"an index below the {n} validators", arrays[name])
    start = arrays["next_withdrawal_validator_index"]
    _require(start < np.uint64(n), "next_withdrawal_validator_index", f"an index below the {n} validators", start)
    if has_builders(rules):
        n_builders = len(arrays["builders_balance"])
        name = "builder_pending_withdrawals_builder_index"
        _require(arrays[name] < np.uint64(n_builders), name, f"below the {n_builders} builders", arrays[name])
    if len(np.unique(arrays["pubkey_id"])) != n:
        raise ValueError("pubkey_id must not repeat, got a key twice")


def capacity_of(name: str, given: int | None, used: int) -> int:
    """The capacity that is asked for, or just what is used; raise if that does not fit."""
    if given is None:
        return used
    if given < used:
        raise ValueError(f"{name} must be at least the {used} entries given, got {given}")
    return given


def _integer(name: str, value: np.ndarray) -> np.ndarray:
    if not np.issubdtype(value.dtype, np.integer) or value < 0:
        raise ValueError(f"{name} must be a non-negative integer, got {value}")
    return value.astype(np.uint64)


def _require(ok: np.ndarray, name: str, rule: str, values: np.ndarray) -> None:
    if not np.all(ok):
        raise ValueError(f"{name} must be {rule}, got {np.atleast_1d(values)[~np.atleast_1d(ok)][0]}")


def require_state(rules: Rules, given: state.BeaconState) -> None:
    """Raise unless a state is exact and holds what the rules read; free of cost under `jit`.

    Raises:
        ValueError: JAX was not in 64-bit mode when the arrays were made, or the state is of an earlier fork.
    """
    require_x64()
    if given.balances.dtype != np.uint64:
        raise ValueError(f"balances must be of type uint64, got {given.balances.dtype}")
    for name in [*scalars(rules), *queues_of(rules)]:
        if getattr(given, name) is None:
            raise ValueError(f"the state must hold {name}, which the rules of this fork read, got None")
