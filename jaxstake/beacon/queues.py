"""Queues of fixed capacity: containers whose arrays [C] are filled up to a `length`.

A queue is any container with a field `length` (uint64) beside its arrays. What lies behind the length is zero.
"""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from jaxstake.core.pytree import data_fields

Queue = TypeVar("Queue")
LENGTH = "length"


def columns(queue: Any) -> dict[str, jax.Array]:
    """The arrays of a queue by name."""
    return {name: getattr(queue, name) for name in data_fields(queue) if name != LENGTH}


def capacity(queue: Any) -> int:
    """Number of entries for which there is room."""
    return next(iter(columns(queue).values())).shape[0]


def filled(queue: Any) -> jax.Array:
    """Mask [C] of the places that hold an entry."""
    return jnp.arange(capacity(queue), dtype=jnp.uint64) < queue.length


def drop_first(queue: Queue, n: jax.Array) -> Queue:
    """The queue without its first n entries; n is at most its length."""
    places = jnp.arange(capacity(queue)) + n.astype(jnp.int64)
    moved = {name: column.at[places].get(mode="fill", fill_value=0) for name, column in columns(queue).items()}
    return dataclasses.replace(queue, length=queue.length - n, **moved)  # type: ignore[type-var]


def append(queue: Queue, entries: dict[str, jax.Array], mask: jax.Array) -> tuple[Queue, jax.Array]:
    """The queue with entries [K] added behind it, in order, where the mask [K] holds.

    Returns:
        The queue, and whether all fitted; what does not fit is lost.
    """
    length, room = queue.length.astype(jnp.int64), capacity(queue)  # type: ignore[attr-defined]
    rank = jnp.cumsum(mask, dtype=jnp.int64)
    places = jnp.where(mask, length + rank - 1, room)
    added = {
        name: column.at[places].set(entries[name], mode="drop", unique_indices=False)
        for name, column in columns(queue).items()
    }
    total = length + rank[-1]
    new = dataclasses.replace(queue, length=jnp.minimum(total, room).astype(jnp.uint64), **added)  # type: ignore[type-var]
    return new, total <= room
