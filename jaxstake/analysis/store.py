"""The Zarr layout of a sweep: labelled, readable at any moment, resumable after a kill.

One group holds an array per output with a dimension per axis, coordinate arrays for the axes, and `chunk_invalid`:
for each chunk of the sweep the number of its invalid lanes, or -1 while it is not complete. A chunk's results are
written first and its entry last, each file whole or not at all, so that an entry is proof of the results.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxstake.analysis.layout import Chunk, Layout

if TYPE_CHECKING:
    import xarray

PENDING = -1
_FINGERPRINT = "fingerprint"


class SweepStore:
    """A store being filled. Opening one that holds the same sweep resumes it; any other is refused."""

    def __init__(
        self,
        path: Path,
        layout: Layout,
        axes: Mapping[str, np.ndarray],
        outputs: Mapping[str, np.dtype],
        attributes: Mapping[str, Any],
        labels: Mapping[str, Mapping[str, str]],
    ) -> None:
        """Create or reopen the store.

        Args:
            path: folder of the store.
            layout: how the sweep is cut.
            axes: values of the swept leaves.
            outputs: dtype of every output.
            attributes: what identifies the sweep, as JSON values; also the attributes of the result.
            labels: attributes (unit, meaning) of outputs and axes by name.

        Raises:
            ValueError: the folder holds something else, or the store of another sweep.
            OSError: the folder cannot be written.
        """
        import zarr

        self.layout = layout
        fingerprint = _fingerprint(layout, axes, outputs, attributes)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            self._group: Any = _reopen(path, fingerprint)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._group = zarr.open_group(path, mode="a", zarr_format=3)
            _create(self._group, layout, axes, outputs, labels)
            self._group.attrs.update({**attributes, _FINGERPRINT: fingerprint})
        self._outputs = {name: self._group[name] for name in outputs}
        self._invalid = self._group["chunk_invalid"]
        self._state = np.asarray(self._invalid[:])

    @property
    def pending(self) -> list[int]:
        """Numbers of the chunks that are still to be computed."""
        return [int(index) for index in np.flatnonzero(self._state == PENDING)]

    @property
    def invalid_lanes(self) -> int:
        """Invalid lanes in the complete chunks."""
        return int(self._state[self._state != PENDING].sum())

    def write(self, chunk: Chunk, results: Mapping[str, np.ndarray], invalid: int) -> None:
        """Write a chunk's results, then mark it complete."""
        for name, values in results.items():
            self._outputs[name][chunk.region] = values
        self._invalid[chunk.index] = invalid
        self._state[chunk.index] = invalid

    def finish(self) -> None:
        """Record that every chunk is complete."""
        self._group.attrs.update({"invalid_lanes": self.invalid_lanes, "complete": True})


def open_dataset(path: Path) -> xarray.Dataset:
    """The stored sweep as a dataset whose values are read when they are used; complete or not."""
    import xarray

    dataset = xarray.open_zarr(path, chunks=None, consolidated=False)
    return dataset.drop_vars("chunk_invalid")


def _reopen(path: Path, fingerprint: str) -> Any:
    import zarr

    try:
        group = zarr.open_group(path, mode="r+")
    except Exception as error:  # whatever zarr says of a folder that is no store
        raise ValueError(f"{path} exists and is not a sweep store; choose another folder or remove it") from error
    if group.attrs.get(_FINGERPRINT) != fingerprint:
        raise ValueError(
            f"{path} holds another sweep (model, scenario, axes, outputs, dtype or chunks differ); "
            "choose another folder or remove it"
        )
    return group


def _create(
    group: Any,
    layout: Layout,
    axes: Mapping[str, np.ndarray],
    outputs: Mapping[str, np.dtype],
    labels: Mapping[str, Mapping[str, str]],
) -> None:
    dimensions = layout.names if layout.mode == "grid" else ("lane",)
    chunks = (*(1 for _ in range(layout.split)), *layout.chunk_shape)
    for name, dtype in outputs.items():
        group.create_array(
            name,
            shape=layout.shape,
            chunks=chunks,
            dtype=dtype,
            fill_value=np.nan,
            dimension_names=dimensions,
            attributes=dict(labels.get(name, {})),
        )
    for name, values in axes.items():
        dimension = name if layout.mode == "grid" else "lane"
        attributes = {**labels.get(name, {})}
        array = group.create_array(
            name, shape=values.shape, dtype=values.dtype, dimension_names=(dimension,), attributes=attributes
        )
        array[:] = values
    if layout.mode == "zip":  # xarray takes variables named after a dimension as coordinates; the rest are listed
        for name in outputs:
            group[name].attrs["coordinates"] = " ".join(axes)
    group.create_array(
        "chunk_invalid",
        shape=(layout.chunks,),
        chunks=(1,),
        dtype="int64",
        fill_value=PENDING,
        dimension_names=("chunk",),
    )


def _fingerprint(
    layout: Layout, axes: Mapping[str, np.ndarray], outputs: Mapping[str, np.dtype], attributes: Mapping[str, Any]
) -> str:
    """Digest of all that decides the results."""
    digest = hashlib.sha256()
    identity = {"layout": repr(layout), "outputs": {name: str(dtype) for name, dtype in outputs.items()}}
    digest.update(json.dumps({**identity, **attributes}, sort_keys=True).encode())
    for name, values in axes.items():
        digest.update(name.encode() + values.tobytes())
    return digest.hexdigest()
