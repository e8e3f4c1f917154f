"""A small simulation, and its results in a folder."""

from __future__ import annotations

import csv

import numpy as np

MINE = """
title = "mine"
epochs = 8
record_every = 3
traced = [3, 250]
[registry]
validators = 300
compounding_share = 0.1
[chances]
head = 0.9
[block_value]
median_eth = 0.01
mean_eth = 0.02
[[offline]]
share = 0.2
from_epoch = 1
epochs = 3
[[slashings]]
first = 250
count = 5
from_epoch = 2
"""


def rows_of(folder):
    with (folder / "records.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def bytes_of(folder):
    """All that is in a folder, but the lock."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {path.relative_to(folder): path.read_bytes() for path in files}


def checkpoint_of(folder):
    with np.load(folder / "checkpoint.npz") as file:
        return {name: file[name] for name in file.files}


def require_same(folder, other):
    """The same result to the last bit: state, records and table."""
    one, two = checkpoint_of(folder), checkpoint_of(other)
    assert one.keys() == two.keys()
    for name, values in one.items():
        assert values.dtype == two[name].dtype
        np.testing.assert_array_equal(values, two[name], err_msg=name)
    assert (folder / "records.csv").read_bytes() == (other / "records.csv").read_bytes()
