"""Sweeps: a model over a grid or a list of scenarios, chunk by chunk, with labels.

The model is any function of a container of scalars. Chunks have one shape, so a sweep compiles once; sweeps over
other values, or another base, reuse that compilation. Results come back to the host while the next chunk runs, or
are reduced on the device, in which case memory does not depend on the number of lanes.
"""

from __future__ import annotations

import collections
import functools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxstake.analysis import kernels, reductions
from jaxstake.analysis.job import Job, prepare
from jaxstake.analysis.kernels import Model
from jaxstake.analysis.layout import Chunk, Layout, Mode, chunk_at, coordinates, lane_of
from jaxstake.analysis.reductions import Accumulator
from jaxstake.analysis.store import SweepStore, open_dataset
from jaxstake.core import leaves

if TYPE_CHECKING:
    import xarray

Progress = Callable[[int, int], None]


def sweep(
    model: Model,
    base: Any,
    axes: Mapping[str, Any],
    *,
    mode: Mode = "grid",
    outputs: Sequence[str] | str | None = None,
    reduce: Sequence[str] | str | None = None,
    dtype: Any = None,
    chunk: int | None = None,
    store: str | Path | None = None,
    progress: Progress | None = None,
) -> xarray.Dataset:
    """Evaluate a model over many scenarios.

    Args:
        model: function of a container of scalars, returning a scalar or a container of scalars. Define it once: a
            new `lambda` is a new model and compiles again.
        base: container of scalars; the leaves that are not swept keep its values.
        axes: dotted leaf name to a vector of values.
        mode: "grid" for every combination of the axes, "zip" for axes of one length side by side.
        outputs: dotted names of the results to keep; default all ("value" if the model returns a scalar).
        reduce: statistics to keep instead of the lanes: "mean", "std", "min", "max", "argmin", "argmax",
            "quantiles", "histogram". Invalid lanes do not count. The last two sweep twice.
        dtype: precision of the lanes, such as "float32"; default that of JAX.
        chunk: most lanes per chunk; default by platform.
        store: folder of a Zarr store to write the lanes to. After a kill the same call continues where complete
            chunks end, and the result equals an uninterrupted one. Not with `reduce`.
        progress: called with (lanes done, lanes in all) after every chunk.

    Returns:
        Dataset with a dimension per axis (grid) or "lane" (zip), coordinates with units, one variable per output, or
        per output and statistic ("net_mean"). A lane with a value out of its domain is NaN in the results. Attributes:
        `lanes`, `invalid_lanes` (with a NaN in any output), `mode`, `dtype`, `model`, `scenario` (JSON of all leaves).

    Raises:
        ValueError: an unknown leaf, output or statistic (the message lists the nearest), an empty or non-numeric axis,
            axes of different length in zip mode, a base value out of its domain, or a store of another sweep.
        OSError: the store cannot be written.

    Example:
        >>> area = lambda at: at["width"] * at["height"]
        >>> result = sweep(area, {"width": 1.0, "height": 1.0}, {"width": [1.0, 2.0], "height": [3.0, 4.0, 5.0]})
        >>> result["value"].sel(width=2.0).values.tolist()
        [6.0, 8.0, 10.0]
        >>> float(sweep(area, {"width": 1.0, "height": 2.0}, {"width": [1.0, 2.0]}, reduce="mean")["value_mean"])
        3.0
    """
    job = prepare(model, base, axes, mode=mode, outputs=outputs, dtype=dtype, chunk=chunk)
    statistics = _statistics(reduce)
    if statistics and store is not None:
        raise ValueError("store keeps every lane and reduce keeps none; give one of them (a reduced result is small)")
    if statistics:
        return _reduced(job, statistics, progress)
    if store is not None:
        return _stored(job, Path(store), progress)
    return _in_memory(job, progress)


def _statistics(reduce: Sequence[str] | str | None) -> tuple[str, ...]:
    wanted = () if reduce is None else (reduce,) if isinstance(reduce, str) else tuple(reduce)
    for name in wanted:
        if name not in reductions.NAMES:
            raise ValueError(leaves.unknown_name("statistic", name, list(reductions.NAMES)))
    return wanted


def _in_memory(job: Job, progress: Progress | None) -> xarray.Dataset:
    import xarray

    layout = job.layout
    kept = {name: np.empty(layout.shape, dtype) for name, dtype in job.outputs.items()}
    invalid = 0
    for chunk, (results, bad) in _pipeline(
        job, range(layout.chunks), progress, lambda c: job.run(kernels.every_lane, c)
    ):
        invalid += int(bad)
        for name, values in _trimmed(layout, chunk, results).items():
            kept[name][chunk.region] = values
    dimensions = layout.names if layout.mode == "grid" else ("lane",)
    variables = {name: (dimensions, values, job.labels.get(name, {})) for name, values in kept.items()}
    return xarray.Dataset(variables, _coordinates(job), {**job.attributes, "invalid_lanes": invalid})


def _stored(job: Job, path: Path, progress: Progress | None) -> xarray.Dataset:
    store = SweepStore(path, job.layout, job.axes, job.outputs, job.attributes, job.labels)
    done = job.layout.chunks - len(store.pending)
    if progress and done:
        progress(min(done * job.layout.chunk_lanes, job.layout.lanes), job.layout.lanes)
    for chunk, (results, bad) in _pipeline(job, store.pending, progress, lambda c: job.run(kernels.every_lane, c)):
        store.write(chunk, _trimmed(job.layout, chunk, results), int(bad))
    store.finish()
    return open_dataset(path)


def _reduced(job: Job, statistics: tuple[str, ...], progress: Progress | None) -> xarray.Dataset:
    merged = {name: Accumulator() for name in job.outputs}
    passes = 2 if reductions.needs_second_pass(statistics) else 1
    everything, invalid = range(job.layout.chunks), 0

    def first(chunk: Chunk) -> Any:
        return job.run(kernels.first_pass, chunk, statistics=statistics)

    for chunk, (partials, bad) in _pipeline(job, everything, _share(progress, 0, passes), first):
        invalid += int(bad)
        for name, partial in partials.items():
            merged[name].merge(partial, functools.partial(lane_of, job.layout, chunk))
    if passes == 2:
        # NumPy scalars, so that new bounds are new values of one compilation.
        bounds = {n: (np.dtype(d).type(merged[n].min), np.dtype(d).type(merged[n].max)) for n, d in job.outputs.items()}
        for _, counts in _pipeline(
            job, everything, _share(progress, 1, passes), lambda chunk: job.run(kernels.second_pass, chunk, bounds)
        ):
            for name, bins in counts.items():
                merged[name].merge_bins(np.asarray(bins))
    return _statistics_dataset(job, merged, statistics, invalid)


def _statistics_dataset(
    job: Job, merged: Mapping[str, Accumulator], statistics: tuple[str, ...], invalid: int
) -> xarray.Dataset:
    import xarray

    variables: dict[str, Any] = {}
    for name, accumulator in merged.items():
        label = job.labels.get(name, {})
        for statistic in statistics:
            key = f"{name}_{statistic}"
            if statistic == "quantiles":
                bound = (accumulator.max - accumulator.min) / reductions.QUANTILE_BINS
                variables[key] = ("quantile", reductions.quantiles(accumulator), {**label, "error_bound": bound})
            elif statistic == "histogram":
                variables[key] = ("bin", reductions.histogram(accumulator), {"units": "lanes"})
                edges = reductions.bin_edges(accumulator, reductions.HISTOGRAM_BINS)
                variables[f"{name}_bin_edges"] = ("edge", edges, label)
            elif statistic in ("argmin", "argmax"):
                lane = int(accumulator.statistic(statistic)) if accumulator.count else -1
                place = coordinates(job.layout, job.axes, lane) if lane >= 0 else dict.fromkeys(job.axes, np.nan)
                variables[key] = ("leaf", np.array(list(place.values())), {"lane": lane})
            else:
                variables[key] = ((), accumulator.statistic(statistic), label)
        variables[f"{name}_count"] = ((), accumulator.count, {"units": "lanes"})
    coords: dict[str, Any] = {"leaf": list(job.axes)}
    if "quantiles" in statistics:
        coords["quantile"] = list(reductions.QUANTILE_LEVELS)
    ranges = {name: [float(values.min()), float(values.max()), len(values)] for name, values in job.axes.items()}
    attributes = {**job.attributes, "invalid_lanes": invalid, "axes": json.dumps(ranges)}
    return xarray.Dataset(variables, coords, attributes)


def _coordinates(job: Job) -> dict[str, Any]:
    grid = job.layout.mode == "grid"
    return {name: (name if grid else "lane", values, job.labels.get(name, {})) for name, values in job.axes.items()}


def _trimmed(layout: Layout, chunk: Chunk, results: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """A chunk's lanes in its shape, without the padding."""
    return {name: np.asarray(lanes).reshape(layout.chunk_shape)[: chunk.length] for name, lanes in results.items()}


def _share(progress: Progress | None, index: int, passes: int) -> Progress | None:
    """Progress of one of several passes, as part of the whole."""
    if progress is None:
        return None
    return lambda done, lanes: progress((index * lanes + done) // passes, lanes)


def _pipeline(
    job: Job, indices: Iterable[int], progress: Progress | None, dispatch: Callable[[Chunk], Any]
) -> Iterator[tuple[Chunk, Any]]:
    """Results chunk by chunk, in order, with the next chunk running while one is used."""
    layout = job.layout
    waiting: collections.deque[tuple[Chunk, Any]] = collections.deque()
    done = layout.lanes - sum(chunk_at(layout, index).length * layout.inner_lanes for index in indices)

    def finished() -> tuple[Chunk, Any]:
        nonlocal done
        chunk, results = waiting.popleft()
        results = jax.device_get(results)
        done += chunk.length * layout.inner_lanes
        if progress:
            progress(done, layout.lanes)
        return chunk, results

    for index in indices:
        chunk = chunk_at(layout, index)
        waiting.append((chunk, dispatch(chunk)))
        if len(waiting) > 1:
            yield finished()
    while waiting:
        yield finished()
