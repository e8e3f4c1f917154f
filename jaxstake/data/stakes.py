"""Reader of stakes by owner: a CSV file with a row per owner, or per group of equal owners."""

from __future__ import annotations

import dataclasses
import os

import numpy as np

from jaxstake.data import columns

STAKE, COUNT = ("stake", "effective_balance_eth"), ("count", "owners")
"""Names that the column of stakes, and that of owners per row, may have."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stakes:
    """Rows of owners.

    Attributes:
        stake_eth: [O] stake of the row, ETH, at least 0.
        owners: [O] equal owners that share it, greater than 0; 1 where the file does not say.
    """

    stake_eth: np.ndarray
    owners: np.ndarray


def read(*paths: str | os.PathLike[str]) -> Stakes:
    r"""Read stakes from one or several files, as one list.

    The stake of a row is the column `stake` or `effective_balance_eth`; how many equal owners share it the column
    `count` or `owners`, if there is one. A column of validators is no count of owners and is ignored.

    Raises:
        ValueError: no path is given; as in `columns.read`; a file has no column of stakes, or two; a stake is negative
            or a count not greater than 0.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "stakes.csv"
        ...     _ = path.write_text("owner,stake,count\na,640,1\nsmall,96,3\n")
        ...     found = read(path)
        >>> found.stake_eth.tolist(), found.owners.tolist()
        ([640.0, 96.0], [1.0, 3.0])
    """
    if not paths:
        raise ValueError("stakes must be read from at least one file, got none")
    parts = [_one(path) for path in paths]
    return Stakes(
        stake_eth=np.concatenate([part.stake_eth for part in parts]), owners=np.concatenate([p.owners for p in parts])
    )


def _one(path: str | os.PathLike[str]) -> Stakes:
    table = columns.read(path, required=(), optional=(*STAKE, *COUNT))
    found = [name for name in STAKE if name in table]
    if len(found) != 1:
        raise ValueError(f"{path} must have one column {' or '.join(STAKE)}, found {len(found)}")
    counts = [name for name in COUNT if name in table]
    if len(counts) > 1:
        raise ValueError(f"{path} must have at most one column {' or '.join(COUNT)}, found {len(counts)}")
    stake = table[found[0]]
    owners = table[counts[0]] if counts else np.ones_like(stake)
    for name, values, wrong in ((found[0], stake, ~(stake >= 0)), *((c, owners, ~(owners > 0)) for c in counts)):
        if np.any(wrong):
            rule = "at least 0" if name in STAKE else "greater than 0"
            row = int(np.flatnonzero(wrong)[0])
            raise ValueError(f"{path}: {name} must be {rule}, got {values[row]} in row {row + 1}")
    return Stakes(stake_eth=stake, owners=owners)
