"""Building a state from host arrays, with every check, and reading it back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxstake.beacon import checks, queues
from jaxstake.beacon.integers import NEVER, require_x64
from jaxstake.beacon.rules import Rules
from jaxstake.beacon.state import BeaconState, BuilderPendingPayments

BLANK = {name: NEVER for name in checks.VALIDATORS if name.endswith("epoch")} | {"pubkey_id": NEVER}
"""What a row that is not in use holds, where it is not zero."""


def state_from_arrays(
    rules: Rules,
    arrays: Mapping[str, Any],
    *,
    validator_capacity: int | None = None,
    queue_capacity: int | None = None,
) -> BeaconState:
    """A state from host arrays by name, checked, with room for validators and queue entries to come.

    Names are those of the fields of `BeaconState`; arrays of a queue are named `queue_column`, such as
    `pending_deposits_amount`. Validators that are not given later come from pending deposits.

    Args:
        rules: of the fork, which says what there must be.
        arrays: balances in Gwei, epochs and indices as uint64, participation and credential prefixes as uint8,
            `slashed` and `justification_bits` as bool or uint8; scalars as integers. Scalars and queues may be left
            out: they are 0 and empty; at `slot` 0, genesis, an epoch pays no attestations.
        validator_capacity: rows of the arrays of validators; as many as are given if None.
        queue_capacity: places of each queue; as many entries as are given if None. For a queue that can grow it must
            hold what may be added; `BeaconState.overflowed` says afterwards whether it did.

    Raises:
        ValueError: JAX is not in 64-bit mode; a name is unknown or missing; arrays of one kind differ in length; a
            number is of another type, or against a rule (an effective balance that is no multiple of the increment or
            above the maximum, an index of no validator); a capacity is too small. The message names the argument, the
            rule and the value.

    Example:
        >>> import numpy as np
        >>> from jaxstake.beacon import rules
        >>> eth = np.full(4, 32_000_000_000)
        >>> state_from_arrays(rules.get("altair"), {"balances": eth})  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        ValueError: ...
    """
    require_x64()
    given = {name: np.asarray(value) for name, value in arrays.items()}
    complete = checks.completed(rules, given)
    checks.check_types(complete)
    checks.check_lengths(rules, complete)
    checks.check_values(rules, complete)
    n = len(complete["balances"])
    rows = checks.capacity_of("validator_capacity", validator_capacity, n)
    values: dict[str, Any] = {name: _padded(complete[name], rows, BLANK.get(name, 0)) for name in checks.VALIDATORS}
    values |= {name: jnp.asarray(complete[name]) for name in checks.scalars(rules)}
    values["justification_bits"] = jnp.asarray(complete["justification_bits"], bool)
    values["slashed"] = values["slashed"].astype(bool)
    values["slashings"] = jnp.asarray(complete["slashings"])
    for name, kind in checks.queues_of(rules).items():
        values[name] = _queue(kind, name, complete, queue_capacity)
    return BeaconState(n_validators=jnp.asarray(np.uint64(n)), overflowed=jnp.asarray(False), **values)


def healthy_state(
    rules: Rules,
    effective_balance: np.ndarray,
    *,
    compounding: np.ndarray | bool = False,
    epoch: int = 2048,
    validator_capacity: int | None = None,
    queue_capacity: int | None = None,
) -> BeaconState:
    """A network in which all is well, in the first slot of an epoch: everybody active for long, nothing pending.

    Args:
        rules: of the fork.
        effective_balance: Gwei [V], which balances equal.
        compounding: which validators have compounding credentials, bool [V] or for all; the others have an address.
        epoch: of the chain, at least 2. With the 2,048 of the default validators may leave and merge on mainnet.
        validator_capacity: as for `state_from_arrays`.
        queue_capacity: as for `state_from_arrays`.

    Raises:
        ValueError: as `state_from_arrays`; `epoch` is below 2, where nothing is final yet.

    Example:
        >>> import jax
        >>> from jaxstake.beacon import rules
        >>> with jax.enable_x64(True):
        ...     state = healthy_state(rules.get("fulu"), np.full(64, 32_000_000_000))
        >>> int(state.slot), int(state.finalized_epoch), state.balances.shape
        (65536, 2046, (64,))
    """
    if epoch < 2:
        raise ValueError(f"epoch must be at least 2, got {epoch}")
    held = np.asarray(effective_balance, np.uint64)
    zeros, never = np.zeros(held.size, np.uint64), np.full(held.size, NEVER)
    arrays = {
        "slot": np.uint64(epoch * rules.slots_per_epoch),
        "justification_bits": np.ones(4, bool),
        "previous_justified_epoch": np.uint64(epoch - 2),
        "current_justified_epoch": np.uint64(epoch - 1),
        "finalized_epoch": np.uint64(epoch - 2),
        "balances": held,
        "effective_balance": held,
        "inactivity_scores": zeros,
        "previous_epoch_participation": np.full(held.size, 0b111, np.uint8),
        "current_epoch_participation": np.zeros(held.size, np.uint8),
        "slashed": np.zeros(held.size, bool),
        "activation_eligibility_epoch": zeros,
        "activation_epoch": zeros,
        "exit_epoch": never,
        "withdrawable_epoch": never,
        "cred_prefix": np.where(np.broadcast_to(compounding, held.shape), 2, 1).astype(np.uint8),
        "slashings": np.zeros(rules.epochs_per_slashings_vector, np.uint64),
    }
    return state_from_arrays(rules, arrays, validator_capacity=validator_capacity, queue_capacity=queue_capacity)


def arrays_from_state(state: BeaconState) -> dict[str, np.ndarray]:
    """Host arrays of a state by the names that `state_from_arrays` takes, without unused rows and places."""
    n = int(state.n_validators)
    found: dict[str, np.ndarray] = {}
    for field in dataclasses.fields(state):
        value = getattr(state, field.name)
        if field.name in ("n_validators", "overflowed") or value is None:
            continue
        if field.name in checks.VALIDATORS:
            found[field.name] = np.asarray(value)[:n]
        elif dataclasses.is_dataclass(value):
            length = None if isinstance(value, BuilderPendingPayments) else int(value.length)  # type: ignore[attr-defined]
            found |= {f"{field.name}_{key}": np.asarray(c)[:length] for key, c in queues.columns(value).items()}
        else:
            found[field.name] = np.asarray(value)
    return found


def _padded(array: np.ndarray, rows: int, blank: Any) -> Any:
    tail = np.full(rows - len(array), blank, array.dtype)
    return jnp.asarray(np.concatenate([array, tail]))


def _queue(kind: type, name: str, arrays: Mapping[str, np.ndarray], capacity: int | None) -> Any:
    own = {column: arrays[f"{name}_{column}"] for column in checks.columns(kind)}
    if kind is BuilderPendingPayments:
        return kind(**{column: jnp.asarray(array) for column, array in own.items()})
    length = len(next(iter(own.values())))
    places = checks.capacity_of(f"queue_capacity for {name}", capacity, length)
    padded = {column: _padded(array, places, 0) for column, array in own.items()}
    return kind(length=jnp.asarray(np.uint64(length)), **padded)
