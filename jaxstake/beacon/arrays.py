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
        arrays: balances, epochs and indices as uint64, participation and credential prefixes as uint8, `slashed` and
            `justification_bits` as bool or uint8; scalars as integers. Scalars and queues may be left out: they are 0
            and empty.
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
