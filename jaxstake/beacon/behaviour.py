"""What validators do over time: how reliably they work, when they are offline, and what is done to them on a schedule.

Epochs of a schedule count from the start of a simulation; validators are rows of the state.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxstake.beacon.integers import ceil_divide
from jaxstake.beacon.queues import capacity
from jaxstake.beacon.rules import Rules, has_balance_queues
from jaxstake.beacon.state import BeaconState
from jaxstake.core.checks import is_traced
from jaxstake.core.domain import FRACTION
from jaxstake.core.pytree import branch, leaf, pytree, static


@pytree
class Offline:
    """Validators `first` to `first + count - 1`, offline from `from_epoch` until `to_epoch`, which is not included.

    With `until_finality` they come back earlier: once finality, lost in that time, is found again.
    """

    first: Any = leaf()
    count: Any = leaf()
    from_epoch: Any = leaf(unit="epoch")
    to_epoch: Any = leaf(unit="epoch")
    until_finality: bool = static(default=False)


@pytree
class Event:
    """Something that happens once to each of `count` validators from `first` on.

    It reaches `per_epoch` validators every `every` epochs (1 unless given), spread evenly: validator `first + i` in
    epoch `from_epoch + i * every // per_epoch`.
    """

    first: Any = leaf()
    count: Any = leaf()
    from_epoch: Any = leaf(unit="epoch")
    per_epoch: Any = leaf()
    every: Any = leaf(default=1, unit="epoch")


@pytree
class Deposits:
    """New validators, from `from_epoch` until `to_epoch`, which is not included, or until there are `count`.

    There are `per_epoch` of them every `every` epochs (1 unless given), spread evenly.
    """

    from_epoch: Any = leaf(unit="epoch")
    to_epoch: Any = leaf(unit="epoch")
    amount: Any = leaf(unit="Gwei", meaning="of each deposit")
    count: Any = leaf(default=None, meaning="deposits at most; None for all that the time holds")
    per_epoch: int = static()
    cred_prefix: int = static(default=1)
    every: int = static(default=1)


@pytree
class Merge:
    """Validators `first` to `first + count - 1` become one in every `group`.

    The first of a group switches to compounding credentials, the others are consolidated into it. Requests reach one
    validator after another, as an `Event` does.
    """

    first: Any = leaf()
    count: Any = leaf()
    from_epoch: Any = leaf(unit="epoch")
    per_epoch: Any = leaf()
    group: Any = leaf()
    every: Any = leaf(default=1, unit="epoch")


@pytree
class Behaviour:
    """Chances that a validator that is online does its duty, outages, and schedules.

    Chances are fractions, one for all or one for each row [V]. A vote for the head is one for the target and for the
    source too, so `head <= target <= source`; one draw decides which of them a validator's attestation gets right.
    Validators of a `group` go offline together: in every epoch a group that runs fails with `outage_chance`, and one
    that is down recovers with `recovery_chance`, so outages last `1 / recovery_chance` epochs on average.
    """

    source: Any = leaf(default=1.0, domain=FRACTION, meaning="chance of a timely source")
    target: Any = leaf(default=1.0, domain=FRACTION, meaning="chance of a timely target")
    head: Any = leaf(default=1.0, domain=FRACTION, meaning="chance of the right head, were it included at once")
    sync: Any = leaf(default=1.0, domain=FRACTION, meaning="chance to sign in the sync committee, per slot")
    proposal: Any = leaf(default=1.0, domain=FRACTION, meaning="chance that a proposer's block arrives")
    group: Any = leaf(default=None, meaning="operator or client of each validator, [V]; None for no outages")
    outage_chance: Any = leaf(default=None, domain=FRACTION, meaning="[G] per epoch, for each group")
    recovery_chance: Any = leaf(default=None, domain=FRACTION, meaning="[G] per epoch, for each group")
    offline: tuple[Offline, ...] = branch(default_factory=tuple)
    slashings: tuple[Event, ...] = branch(default_factory=tuple)
    exits: tuple[Event, ...] = branch(default_factory=tuple)
    deposits: tuple[Deposits, ...] = branch(default_factory=tuple)
    merges: tuple[Merge, ...] = branch(default_factory=tuple)


_MOST = 2**62
"""Largest product of a number of validators and of epochs, so that schedules do not overflow."""
CHANCES = ("source", "target", "head", "sync", "proposal")


def check_behaviour(rules: Rules, state: BeaconState, behaviour: Behaviour) -> None:
    """Raise where a behaviour does not fit the state, as far as its values are known.

    Raises:
        ValueError: a chance is no fraction or of another length than the state; the head is likelier than the target or
            the target than the source; a schedule reaches beyond the registry or overlaps another of its kind; a
            schedule needs a later fork. The message names the argument, the rule and the value.
    """
    rows = state.balances.shape[0]
    for name in CHANCES:
        _check_chance(name, getattr(behaviour, name), rows)
    for less, more in (("head", "target"), ("target", "source")):
        pair = [getattr(behaviour, name) for name in (less, more)]
        if not is_traced(*pair) and np.any(np.asarray(pair[0]) > np.asarray(pair[1])):
            raise ValueError(f"{less} must be at most {more}, got {np.max(pair[0])} and {np.min(pair[1])}")
    _check_groups(behaviour, rows)
    n = int(state.n_validators) if not is_traced(state.n_validators) else rows
    for name in ("offline", "slashings", "exits", "merges"):
        for place, entry in enumerate(getattr(behaviour, name)):
            _check_entry(f"{name}[{place}]", entry, n)
    for name in ("offline", "slashings", "exits", "merges"):
        _check_overlap(name, getattr(behaviour, name))
    if (behaviour.deposits or behaviour.merges) and not has_balance_queues(rules):
        raise ValueError("deposits and merges need the queues of Electra or later, got rules of an earlier fork")
    for place, entry in enumerate(behaviour.deposits):
        _check_deposits(f"deposits[{place}]", entry)
    _check_room(state, behaviour, rows - n)


def _check_room(state: BeaconState, behaviour: Behaviour, free: int) -> None:
    """Raise where there is no room at all for what is to come; how much it takes only a simulation knows."""
    if behaviour.deposits and free == 0:
        raise ValueError("deposits need rows for new validators, a validator_capacity above their number, got none")
    needed = {"pending_deposits": behaviour.deposits or behaviour.merges, "pending_consolidations": behaviour.merges}
    for name, entries in needed.items():
        if entries and capacity(getattr(state, name)) == 0:
            kind = "deposits" if behaviour.deposits and name == "pending_deposits" else "merges"
            raise ValueError(f"{kind} need places in {name}, a queue_capacity of at least 1, got 0")


def due(event: Event | Merge, elapsed: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The rows `start <= row < end` that an event or merge reaches in the epoch `elapsed` of a simulation, uint64."""
    first, count, from_epoch, per_epoch, every = (
        jnp.asarray(getattr(event, name), jnp.uint64) for name in ("first", "count", "from_epoch", "per_epoch", "every")
    )
    begun = elapsed >= from_epoch
    longest = count * every // per_epoch + 1  # by then all are reached; it keeps the products below from overflowing
    passed = jnp.minimum(jnp.where(begun, elapsed - from_epoch, 0), longest)
    start = jnp.minimum(ceil_divide(passed * per_epoch, every), count)
    end = jnp.minimum(ceil_divide((passed + 1) * per_epoch, every), count)
    return first + start, first + jnp.where(begun, end, start)


def arriving(entry: Deposits, elapsed: jax.Array) -> jax.Array:
    """How many deposits come in the epoch `elapsed` of a simulation, uint64."""
    passed = jnp.where(lasts(entry, elapsed), elapsed - jnp.asarray(entry.from_epoch, jnp.uint64), 0)
    before, after = (ceil_divide(epochs * entry.per_epoch, entry.every) for epochs in (passed, passed + 1))
    if entry.count is not None:
        before, after = (jnp.minimum(number, jnp.asarray(entry.count, jnp.uint64)) for number in (before, after))
    return jnp.where(lasts(entry, elapsed), after - before, 0)


def most_arriving(entry: Deposits) -> int:
    """The largest number of deposits in one epoch."""
    return -(-entry.per_epoch // entry.every)


def lasts(entry: Offline | Deposits, elapsed: jax.Array) -> jax.Array:
    """Whether the epoch `elapsed` of a simulation is within the time of an entry."""
    from_epoch, to_epoch = jnp.asarray(entry.from_epoch, jnp.uint64), jnp.asarray(entry.to_epoch, jnp.uint64)
    return (elapsed >= from_epoch) & (elapsed < to_epoch)


def _check_chance(name: str, value: Any, rows: int) -> None:
    if np.shape(value) not in ((), (rows,)):
        raise ValueError(f"{name} must be one number or one for each of the {rows} rows, got shape {np.shape(value)}")
    if not is_traced(value):
        array = np.asarray(value, float)
        bad = ~((array >= 0) & (array <= 1))
        if np.any(bad):
            raise ValueError(f"{name} must be in [0, 1], got {np.atleast_1d(array)[np.atleast_1d(bad)][0]}")


def _check_groups(behaviour: Behaviour, rows: int) -> None:
    given = [getattr(behaviour, name) for name in ("group", "outage_chance", "recovery_chance")]
    if all(value is None for value in given):
        return
    if any(value is None for value in given):
        raise ValueError("group, outage_chance and recovery_chance must be given together")
    group, chance, recovery = given
    if np.shape(group) != (rows,):
        raise ValueError(f"group must have shape ({rows},), got {np.shape(group)}")
    if np.ndim(chance) != 1 or np.shape(chance) != np.shape(recovery):
        raise ValueError(
            f"outage_chance and recovery_chance must have one axis and the same length, got shapes {np.shape(chance)} "
            f"and {np.shape(recovery)}"
        )
    groups = np.shape(chance)[0]
    for name, value in (("outage_chance", chance), ("recovery_chance", recovery)):
        _check_chance(name, value, groups)
    if not is_traced(group) and (np.min(group) < 0 or np.max(group) >= groups):
        raise ValueError(f"group must be in 0 to {groups - 1}, got {np.min(group)} to {np.max(group)}")


def _check_entry(name: str, entry: Any, n: int) -> None:
    for field in dataclasses.fields(entry):
        value = getattr(entry, field.name)
        if field.name == "until_finality" or is_traced(value):
            continue
        least = 1 if field.name in ("per_epoch", "every", "count", "group") else 0
        if np.ndim(value) or not np.issubdtype(np.asarray(value).dtype, np.integer) or value < least:
            raise ValueError(f"{name}.{field.name} must be a whole number of at least {least}, got {value}")
    if not is_traced(entry.first, entry.count) and int(entry.first) + int(entry.count) > n:
        last = int(entry.first) + int(entry.count) - 1
        raise ValueError(f"{name} must be within the registry of {n} validators, got validators up to {last}")
    if not isinstance(entry, Offline) and not is_traced(entry.count, entry.every, entry.per_epoch):
        if int(entry.count) * int(entry.every) > _MOST:
            raise ValueError(f"{name}.every must be at most 2^62 over the count of {entry.count}, got {entry.every}")
        if int(entry.per_epoch) > _MOST:
            raise ValueError(f"{name}.per_epoch must be at most 2^62, got {entry.per_epoch}")
    if (
        isinstance(entry, Offline)
        and not is_traced(entry.from_epoch, entry.to_epoch)
        and entry.to_epoch <= entry.from_epoch
    ):
        raise ValueError(f"{name}.to_epoch must be above from_epoch = {entry.from_epoch}, got {entry.to_epoch}")


def _check_deposits(name: str, entry: Deposits) -> None:
    if entry.per_epoch < 1 or entry.every < 1 or entry.cred_prefix not in (0, 1, 2):
        raise ValueError(
            f"{name} must have per_epoch >= 1, every >= 1 and cred_prefix 0, 1 or 2, got {entry.per_epoch}, "
            f"{entry.every} and {entry.cred_prefix}"
        )
    if not is_traced(entry.from_epoch, entry.to_epoch):
        long = int(entry.to_epoch) - int(entry.from_epoch)
        if long * entry.per_epoch > _MOST:
            raise ValueError(f"{name}.per_epoch must be at most 2^62 over the {long} epochs, got {entry.per_epoch}")
    if entry.every > _MOST:
        raise ValueError(f"{name}.every must be at most 2^62, got {entry.every}")
    if entry.count is not None and not is_traced(entry.count) and (np.ndim(entry.count) or int(entry.count) < 0):
        raise ValueError(f"{name}.count must be a whole number of at least 0, got {entry.count}")
    if not is_traced(entry.amount) and (np.ndim(entry.amount) or int(entry.amount) < 10**9):
        raise ValueError(f"{name}.amount must be at least 1 ETH = 1000000000 Gwei, got {entry.amount}")


def _check_overlap(name: str, entries: Sequence[Any]) -> None:
    """Two schedules of a kind may not reach the same validator; two times offline may, if the times differ."""
    spans = list(_spans(entries))
    for place, (rows, times) in enumerate(spans):
        for other, (their_rows, their_times) in enumerate(spans[:place]):
            if _meet(rows, their_rows) and _meet(times, their_times):
                raise ValueError(
                    f"{name} must not overlap, got {name}[{other}] and {name}[{place}] with validators "
                    f"{max(rows[0], their_rows[0])} to {min(rows[1], their_rows[1]) - 1} in common"
                )


def _spans(entries: Sequence[Any]) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    for entry in entries:
        times = (entry.from_epoch, entry.to_epoch) if isinstance(entry, Offline) else (0, 1)
        if not is_traced(entry.first, entry.count, *times):
            first = int(entry.first)
            yield (first, first + int(entry.count)), (int(times[0]), int(times[1]))


def _meet(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return max(a[0], b[0]) < min(a[1], b[1])
