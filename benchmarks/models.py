"""The model under test, over lanes: value, value and gradient, and their means, each one jitted function of ten arrays.

`size` evaluates that many lanes at a time in a loop inside the compiled function, so that what passes between fused
kernels stays in cache. A CPU wants it for anything that is reduced; an accelerator does not.
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


def block(lane: Callable[..., Any]) -> int | None:
    """Lanes at a time that suit this platform; None for all at once."""
    if jax.default_backend() != "cpu":
        return None
    return 1 << 18 if lane is net else 1 << 16


def swept(lane: Callable[..., Any], *, size: int | None = None) -> Callable[..., Any]:
    """Ten arrays [N] to one [N] for each output of a lane."""

    @jax.jit
    def run(base: Scenario, *columns: Any) -> Any:
        return jax.tree.map(jnp.ravel, _by_block(lane, size, base, columns, lambda out: out))

    return _on_default(run)


def swept_again(lane: Callable[..., Any]) -> Callable[..., Any]:
    """`swept`, into the memory of its last result, which is gone then: no fresh pages, as a loop into an array has it.

    The first call makes its own.
    """

    @functools.partial(jax.jit, donate_argnums=1)
    def run(base: Scenario, last: Any, *columns: Any) -> Any:
        return jax.tree.map(
            lambda old, new: old.at[:].set(new), last, _by_block(lane, None, base, columns, lambda x: x)
        )

    last: list[Any] = []

    def again(base: Scenario, *columns: Any) -> Any:
        last[:] = [run(base, last.pop() if last else fresh(base, *columns), *columns)]
        return last[0]

    def fresh(base: Scenario, *columns: Any) -> Any:
        shapes = jax.eval_shape(lambda *leaf: lane(base, *leaf), *(column[0] for column in columns))
        return jax.tree.map(lambda shape: jnp.zeros(columns[0].size, shape.dtype), shapes)

    return _on_default(again)


def averaged(lane: Callable[..., Any], *, size: int | None = None) -> Callable[..., Any]:
    """Ten arrays [N] to the mean of each output over the valid lanes."""

    def sums(outputs: Any) -> Any:
        # Each output masks its own NaN, by the model's promise those of the value: XLA on a CPU would evaluate the
        # value again for every output that asks for it.
        counted = jax.tree.map(lambda out: jnp.sum(jnp.where(jnp.isnan(out), 0, out)), outputs)
        return jnp.sum(~jnp.isnan(jax.tree.leaves(outputs)[0])), counted

    @jax.jit
    def run(base: Scenario, *columns: Any) -> Any:
        count, total = jax.tree.map(jnp.sum, _by_block(lane, size, base, columns, sums))
        return jax.tree.map(lambda of_output: of_output / count.astype(of_output.dtype), total)

    return _on_default(run)


def _by_block(
    lane: Callable[..., Any], size: int | None, base: Scenario, columns: Any, finish: Callable[[Any], Any]
) -> Any:
    """`finish` of the outputs of each block of lanes, stacked; of all lanes if they are no multiple of it."""

    def one(part: Any) -> Any:
        return finish(jax.vmap(lambda *leaf: lane(base, *leaf))(*part))

    lanes = columns[0].size
    if size is None or lanes % size or lanes == size:
        return one(columns)
    return jax.lax.map(one, tuple(column.reshape(-1, size) for column in columns))


@functools.cache
def _default(dtype: np.dtype) -> Scenario:
    """The default scenario on the device: its numbers are arguments, not constants of the compilation."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), Scenario())


def _on_default(run: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *columns: run(_default(np.dtype(columns[0].dtype)), *columns)
