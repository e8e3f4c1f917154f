"""A simulation under way in one file, `.npz` without pickle: its state, all records so far, and what it is.

The file appears whole or not at all: it is written beside its place, flushed to the disk, and moved there.
"""

from __future__ import annotations

import dataclasses
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxstake.beacon.records import Record, Tally
from jaxstake.beacon.simulation import Simulation

FORMAT = 2
"""Version of the layout of the file; files of another one are refused."""

_IDENTITY, _STATE, _RECORDS = "identity", "simulation", "records"


def write(path: Path, simulation: Simulation, records: Record, *, identity: Mapping[str, Any]) -> None:
    """Put a checkpoint in its place.

    Args:
        path: of the file; an earlier one is replaced.
        simulation: after the last window.
        records: all so far, with a leading axis [R].
        identity: what decides the result, by name, as JSON can carry it.

    Raises:
        OSError: the file cannot be written; an earlier one is still there.
    """
    text = json.dumps({"format": FORMAT, **identity}, sort_keys=True)
    arrays = {_IDENTITY: np.frombuffer(text.encode(), np.uint8)}
    arrays |= {f"{_STATE}{name}": np.asarray(value) for name, value in _leaves(simulation)}
    arrays |= {f"{_RECORDS}{name}": np.asarray(value) for name, value in _leaves(records)}
    unfinished = path.with_name(f"{path.name}.part")
    with unfinished.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
        file.flush()
        os.fsync(file.fileno())
    os.replace(unfinished, path)
    _sync_folder(path.parent)


def read(path: Path, *, like: Simulation, identity: Mapping[str, Any]) -> tuple[Simulation, Record]:
    """Go back to a checkpoint.

    Args:
        path: of the file.
        like: a simulation of the same shape, such as `beacon.simulation.begin` gives.
        identity: as in `write`; the file must have the same.

    Raises:
        ValueError: the file cannot be read or is damaged, is of another version, or of another simulation. The message
            names what differs.
    """
    try:
        with path.open("rb") as stored, np.load(stored, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        theirs = json.loads(arrays.pop(_IDENTITY).tobytes().decode())
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is damaged or no checkpoint; choose another folder or remove it") from error
    _check_identity(path, theirs, {"format": FORMAT, **identity})
    found = []
    for name, value in _leaves(like):
        array = arrays.get(f"{_STATE}{name}")
        if array is None or (array.shape, array.dtype) != (np.shape(value), np.asarray(value).dtype):
            raise ValueError(f"{path} is damaged: {name.lstrip('.')} is missing or of another shape or type")
        found.append(jnp.asarray(array))
    return jax.tree.unflatten(jax.tree.structure(like), found), _records(path, arrays)


def joined(records: Record | None, record: Record) -> Record:
    """Records with one more behind them."""
    new = jax.tree.map(lambda value: np.asarray(value)[None], record)
    return new if records is None else jax.tree.map(lambda old, one: np.concatenate([old, one]), records, new)


def _leaves(tree: Any) -> list[tuple[str, Any]]:
    """Leaves by name, such as `.state.balances`."""
    return [(jax.tree_util.keystr(place), leaf) for place, leaf in jax.tree_util.tree_leaves_with_path(tree)]


def _records(path: Path, arrays: Mapping[str, np.ndarray]) -> Record:
    own = {name.removeprefix(f"{_RECORDS}."): value for name, value in arrays.items() if name.startswith(_RECORDS)}
    traced = {name[len("traced['") : -len("']")]: value for name, value in own.items() if name.startswith("traced[")}
    try:
        tally = Tally(**{field.name: own[f"tally.{field.name}"] for field in dataclasses.fields(Tally)})
        single = [field.name for field in dataclasses.fields(Record) if field.name not in ("tally", "traced")]
        return Record(tally=tally, traced=traced, **{name: own[name] for name in single})
    except KeyError as error:
        raise ValueError(f"{path} is damaged: the records have no {error}") from error


def _check_identity(path: Path, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    """Raise at what differs, versions first."""
    for name in ("format", *(name for name in ours if name.startswith("version."))):
        if theirs.get(name) != ours[name]:
            raise ValueError(
                f"{path} is of another version ({name} is {_short(theirs, name)} there and {_short(ours, name)} here); "
                "choose another folder or remove it"
            )
    differing = [name for name in sorted({*theirs, *ours}) if theirs.get(name) != ours.get(name)]
    if differing:
        each = [f"{name} is {_short(theirs, name)} there and {_short(ours, name)} here" for name in differing[:3]]
        more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
        raise ValueError(
            f"{path} holds another simulation: {', '.join(each)}{more}; choose another folder or remove it"
        )


def _short(table: Mapping[str, Any], name: str) -> str:
    text = json.dumps(table[name]) if name in table else "not set"
    return text if len(text) <= 40 else f"{text[:37]}..."


def _sync_folder(folder: Path) -> None:
    """Make the move of a file last through a power cut, where the system can."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
