"""A finished dataset as a Zarr store that a later run of the same job may replace, and no other."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import xarray

_IDENTITY = "identity"


def check_replaceable(path: Path, *, identity: str) -> None:
    """Check, before long work, that nothing is in the way of a store.

    Args:
        path: where the store shall be.
        identity: what the job is; a store with the same one may be replaced.

    Raises:
        ValueError: something else is there.
    """
    if path.exists() and _identity_of(path) != identity:
        raise ValueError(f"{path} holds another sweep or something else; choose another folder or remove it")


def replace_store(path: Path, dataset: xarray.Dataset, *, identity: str) -> None:
    """Write a dataset, whole or not at all, in the place of one with the same identity."""
    check_replaceable(path, identity=identity)
    # Zarr 3 has no specification for NumPy's strings of fixed length; those of any length are Python objects.
    names = {name: values.astype(object) for name, values in dataset.coords.items() if values.dtype.kind == "U"}
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    dataset.assign_coords(names).assign_attrs({_IDENTITY: identity}).to_zarr(
        unfinished, mode="w", consolidated=False, zarr_format=3
    )
    if path.exists():
        shutil.rmtree(path)
    unfinished.rename(path)


def _identity_of(path: Path) -> str | None:
    """The identity of the store, None if it has none or is no store."""
    import zarr

    try:
        return str(zarr.open_group(os.fspath(path), mode="r").attrs[_IDENTITY])
    except Exception:  # whatever zarr says of a folder that is no store, or of one without that attribute
        return None
