"""Reader of daily histories of the network: a CSV file with a row per day, a column `date` and columns of numbers."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence

import numpy as np

from jaxstake.data import columns as table

EXIT_QUEUE = ("exit_queue_eth", "exit_wait_days", "exit_churn_eth_per_epoch")


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkHistory:
    """Columns of a daily history.

    Attributes:
        date: [D] days, `datetime64[D]`, each later than the one before; days may be missing.
        columns: by name, [D] finite numbers at least 0 in the unit of the name; NaN where the field is empty.
    """

    date: np.ndarray
    columns: Mapping[str, np.ndarray]

    def __getitem__(self, name: str) -> np.ndarray:
        """The column of a name."""
        return self.columns[name]


def read(path: str | os.PathLike[str], *, columns: Sequence[str] = EXIT_QUEUE) -> NetworkHistory:
    r"""Read columns of a daily history from a CSV file with a header row.

    Args:
        path: the file, UTF-8 (a byte-order mark is ignored), comma separated, with a column `date` (YYYY-MM-DD).
        columns: names of the columns to read; default those of the exit queue.

    Returns:
        `NetworkHistory`.

    Raises:
        ValueError: the file cannot be read, is empty, has no rows, lacks a column or has it twice, or a row has a wrong
            number of fields, no date, a date not after the one before, or a number that is none, negative or infinite.
            The message gives the file, and for a row its place and value.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "daily.csv"
        ...     _ = path.write_text("date,exit_queue_eth\n2025-01-01,640\n2025-01-02,\n")
        ...     history = read(path, columns=("exit_queue_eth",))
        >>> history["exit_queue_eth"].tolist(), str(history.date[1])
        ([640.0, nan], '2025-01-02')
    """
    found = table.read(path, required=(table.DATE,), optional=columns)
    missing = [name for name in columns if name not in found]
    if missing:
        raise ValueError(f"{path} has no column {missing[0]}")
    date = found.pop(table.DATE)
    table.require_increasing(path, date)
    for name in columns:
        table.require_not_negative(path, name, found[name])
    return NetworkHistory(date=date, columns={name: found[name] for name in columns})
