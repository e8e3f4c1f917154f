"""A sweep before it runs: its input checked, its lanes cut into chunks, its results labelled."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxstake.analysis.kernels import Model, named
from jaxstake.analysis.layout import Chunk, Layout, Mode, plan, values_at
from jaxstake.core import checks, leaves

CHUNK_LANES = {"cpu": 1 << 16, "gpu": 1 << 24, "tpu": 1 << 24}
"""Lanes per chunk by platform: few enough for caches and memory that is reused, or enough to fill an accelerator."""


@dataclasses.dataclass(frozen=True)
class Job:
    """A validated sweep: what to compute, and how it is labelled."""

    model: Model
    base: Any
    axes: dict[str, np.ndarray]
    trailing: dict[str, jax.Array]
    layout: Layout
    outputs: dict[str, np.dtype]
    labels: dict[str, dict[str, str]]
    attributes: dict[str, Any]

    def run(self, kernel: Callable[..., Any], chunk: Chunk, *args: Any, **static: Any) -> Any:
        """Dispatch a kernel on a chunk; it returns before the device is done."""
        lanes = np.int32(chunk.length * self.layout.inner_lanes)
        names, outputs = self.layout.names, tuple(self.outputs)
        values = self._values(chunk)
        return kernel(self.base, values, lanes, *args, model=self.model, names=names, outputs=outputs, **static)

    def _values(self, chunk: Chunk) -> tuple[Any, ...]:
        """Values of the swept leaves over a chunk, as the kernels take them.

        A CPU gets the split axis repeated to its lanes: inside a compiled loop the repetition would keep it from
        vectorising. An accelerator repeats for nothing and would wait for the longer transfer.
        """
        repeat = self.layout.inner_lanes if jax.default_backend() == "cpu" else 1
        found = []
        for name, value in values_at(self.layout, self.axes, chunk).items():
            if name in self.trailing:
                found.append(self.trailing[name])
                continue
            lanes = _cast(value, self.attributes["dtype"])
            if lanes.ndim and repeat > 1:
                lanes = np.broadcast_to(lanes[:, None], (lanes.size, repeat)).reshape(-1)  # as np.repeat, but faster
            found.append(lanes)
        return tuple(found)


def _trailing(layout: Layout, axes: Mapping[str, np.ndarray], dtype: Any) -> dict[str, jax.Array]:
    """Values of the axes after the split one over the lanes of a chunk, the same for every chunk."""
    if layout.mode == "zip":
        return {}
    after = layout.names[layout.split + 1 :]
    grids = np.meshgrid(np.empty(layout.block), *(axes[name] for name in after), indexing="ij")[1:]
    return {name: jnp.asarray(_cast(grid.ravel(), dtype)) for name, grid in zip(after, grids, strict=True)}


def prepare(
    model: Model, base: Any, axes: Mapping[str, Any], *, mode: Mode, outputs: Any, dtype: Any, chunk: int | None
) -> Job:
    """Refuse bad input before any work."""
    if mode not in ("grid", "zip"):
        raise ValueError(leaves.unknown_name("mode", mode, ["grid", "zip"]))
    values = _axis_values(base, axes, mode)
    checks.in_domains(base, skip=tuple(values))
    precision = _precision(dtype)
    lanes = _chunk_lanes(chunk)
    on_device = jax.tree.map(lambda value: jnp.asarray(_cast(value, precision)), base)
    result = jax.eval_shape(model, on_device)
    known = named(result)
    wanted = tuple(known) if outputs is None else (outputs,) if isinstance(outputs, str) else tuple(outputs)
    for name in wanted:
        if name not in known:
            raise ValueError(leaves.unknown_name("output", name, list(known)))
        if known[name].shape:
            raise ValueError(f"output {name} must be a scalar per scenario, got shape {known[name].shape}")
    layout = plan(values, mode=mode, chunk=lanes)
    attributes = {
        "model": f"{getattr(model, '__module__', '')}.{getattr(model, '__qualname__', repr(model))}",
        "mode": mode,
        "dtype": precision.name,
        "lanes": layout.lanes,
        "chunk_lanes": layout.chunk_lanes,
        "scenario": json.dumps({name: np.asarray(value).tolist() for name, value in leaves.as_dict(base).items()}),
    }
    dtypes = {name: np.dtype(known[name].dtype) for name in wanted}
    labels = _labels(base) | _labels(result)
    return Job(model, on_device, values, _trailing(layout, values, precision), layout, dtypes, labels, attributes)


def _axis_values(base: Any, axes: Mapping[str, Any], mode: Mode) -> dict[str, np.ndarray]:
    """Axes as vectors of floats, each a leaf of the base."""
    known = leaves.names(base)
    if not axes:
        raise ValueError("axes must name at least one leaf")
    values: dict[str, np.ndarray] = {}
    for name, given in axes.items():
        if name not in known:
            raise ValueError(leaves.unknown_name("leaf", name, known))
        try:
            array = np.asarray(given)
            values[name] = array if np.issubdtype(array.dtype, np.floating) else array.astype(float)
        except (TypeError, ValueError) as error:
            raise ValueError(f"axis {name} must hold numbers, got {given!r:.60}") from error
        if values[name].ndim != 1 or values[name].size == 0:
            raise ValueError(f"axis {name} must be a vector of at least one value, got shape {values[name].shape}")
    lengths = {name: len(vector) for name, vector in values.items()}
    if mode == "zip" and len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name}: {length}" for name, length in lengths.items())
        raise ValueError(f"axes must have one length in zip mode, got {listed}")
    return values


def _precision(dtype: Any) -> np.dtype:
    precision = np.dtype(jnp.result_type(float) if dtype is None else dtype)
    if not np.issubdtype(precision, np.floating):
        raise ValueError(f"dtype must be a floating type, got {precision.name}")
    if precision == np.float64 and not jax.config.read("jax_enable_x64"):
        raise ValueError("dtype float64 needs jax_enable_x64")
    return precision


def _chunk_lanes(chunk: int | None) -> int:
    if chunk is None:
        return CHUNK_LANES.get(jax.default_backend(), CHUNK_LANES["cpu"])
    if chunk < 1:
        raise ValueError(f"chunk must be at least 1, got {chunk}")
    return chunk


def _cast(value: Any, dtype: Any) -> Any:
    """A floating value in the precision of the lanes; others as they are."""
    array = np.asarray(value)
    return array.astype(dtype, copy=False) if np.issubdtype(array.dtype, np.floating) else array


def _labels(container: Any) -> dict[str, dict[str, str]]:
    """Unit and meaning by name, as attributes of variables."""
    meanings = leaves.meanings(container)
    return {
        name or "value": {"units": unit} | ({"long_name": meanings[name]} if meanings[name] else {})
        for name, unit in leaves.units(container).items()
    }
