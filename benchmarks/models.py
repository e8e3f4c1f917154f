"""The model under test, over lanes: value, value and gradient, and their means, functions of ten arrays.

On a CPU results touch fresh memory, page by page, and so do the arrays between fused kernels. One kernel with one
result is best called once for all lanes; many results are best taken chunk by chunk, and means block by block inside
one call.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.lanes import NAMES
from jaxstake.analysis.sensitivity import with_gradient
from jaxstake.core import leaves
from jaxstake.economy.apr import apr
from jaxstake.economy.scenario import Scenario

_slopes = with_gradient(apr, NAMES, "net")


def net(base: Scenario, *leaf: Any) -> Any:
    """Net APR of one lane."""
    return apr(leaves.replace(base, dict(zip(NAMES, leaf, strict=True)))).net


def net_and_gradient(base: Scenario, *leaf: Any) -> tuple[Any, ...]:
    """Net APR of one lane and its slopes in the ten leaves."""
    found = _slopes(leaves.replace(base, dict(zip(NAMES, leaf, strict=True))))
    return (found["value"], *(found[f"gradient.{name}"] for name in NAMES))


BLOCK = 1 << 16
"""Lanes at a time on a CPU: what passes between the kernels of a gradient stays in cache."""


def block() -> int | None:
    """Lanes at a time on this platform; None for all at once."""
    return BLOCK if jax.default_backend() == "cpu" else None


def swept(lane: Callable[..., Any]) -> Callable[..., Any]:
    """Ten arrays [N] to one [N] for each output of a lane, by one compiled call."""
    return _on_default(_over_lanes(lane))


def swept_again(lane: Callable[..., Any]) -> Callable[..., Any]:
    """`swept`, into the memory of its last result, which is gone then: no fresh pages, as a loop into an array has it.

    The first call makes its own.
    """

    @functools.partial(jax.jit, donate_argnums=1, keep_unused=True)
    def run(base: Scenario, _: Any, *columns: Any) -> Any:
        return _over_lanes(lane)(base, *columns)

    last: list[Any] = []

    def again(base: Scenario, *columns: Any) -> Any:
        last[:] = [run(base, last.pop() if last else fresh(base, *columns), *columns)]
        return last[0]

    def fresh(base: Scenario, *columns: Any) -> Any:
        shapes = jax.eval_shape(lambda *leaf: lane(base, *leaf), *(column[0] for column in columns))
        return jax.tree.map(lambda shape: jnp.zeros(columns[0].size, shape.dtype), shapes)

    return _on_default(again)


def in_chunks(lane: Callable[..., Any], *, size: int) -> Callable[..., Any]:
    """`swept`, `size` lanes at a time into old arrays of the host, each chunk copied while the next one runs."""
    run = _over_lanes(lane)
    kept: list[np.ndarray] = []

    def chunked(base: Scenario, *columns: Any) -> list[np.ndarray]:
        host = [np.asarray(column) for column in columns]
        waiting: list[tuple[slice, Any]] = []
        for start in range(0, host[0].size, size):
            part = slice(start, start + size)
            waiting.append((part, jax.tree.leaves(run(base, *(column[part] for column in host)))))
            if not kept:
                kept.extend(np.empty(host[0].size, out.dtype) for out in waiting[0][1])
            if len(waiting) > 1:
                _copy(kept, *waiting.pop(0))
        _copy(kept, *waiting.pop())
        return kept

    return _on_default(chunked)


def averaged(lane: Callable[..., Any], *, size: int | None = None) -> Callable[..., Any]:
    """Ten arrays [N] to the mean of each output over the valid lanes, by one call, `size` lanes at a time inside it."""

    def sums(base: Scenario, part: Any) -> Any:
        # Each output masks its own NaN, by the model's promise those of the value: XLA on a CPU would evaluate the
        # value again for every output that asks for it.
        outputs = _over_lanes(lane)(base, *part)
        counted = jax.tree.map(lambda out: jnp.sum(jnp.where(jnp.isnan(out), 0, out)), outputs)
        return jnp.sum(~jnp.isnan(jax.tree.leaves(outputs)[0])), counted

    @jax.jit
    def run(base: Scenario, *columns: Any) -> Any:
        lanes = columns[0].size
        if size is None or lanes % size or lanes == size:
            count, total = sums(base, columns)
        else:
            blocks = tuple(column.reshape(-1, size) for column in columns)
            count, total = jax.tree.map(jnp.sum, jax.lax.map(lambda part: sums(base, part), blocks))
        return jax.tree.map(lambda of_output: of_output / count.astype(of_output.dtype), total)

    return _on_default(run)


def _over_lanes(lane: Callable[..., Any]) -> Callable[..., Any]:
    return jax.jit(lambda base, *columns: jax.vmap(lambda *leaf: lane(base, *leaf))(*columns))


def _copy(kept: list[np.ndarray], part: slice, outputs: Any) -> None:
    for old, new in zip(kept, outputs, strict=True):
        old[part] = np.asarray(new)


@functools.cache
def _default(dtype: np.dtype) -> Scenario:
    """The default scenario on the device: its numbers are arguments, not constants of the compilation."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), Scenario())


def _on_default(run: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *columns: run(_default(np.dtype(columns[0].dtype)), *columns)
