"""Golden files: what their names mean, the state that they start from, and a tally of what was compared with them."""

from __future__ import annotations

import dataclasses
import functools
import os
import re
from collections import Counter
from pathlib import Path

import numpy as np

from jaxstake.beacon import arrays, checks, rules

NAME = re.compile(r"^(?P<kind>[a-z]+)_(?P<fork>[a-z0-9]+)_(?P<preset>[a-z]+)(_.*)?\.npz$")
NEVER = np.iinfo(np.uint64).max
RENAMED = {
    "current_participation": "current_epoch_participation",
    "previous_participation": "previous_epoch_participation",
}
PREFIXES = {"builder_payments_": "builder_pending_payments_", "builder_withdrawals_": "builder_pending_withdrawals_"}
NOT_STATE = {"current_epoch", "proposer_lookahead"}  # the one follows from the slot, the other is an argument


def folder() -> Path:
    """Where the vectors are: JAXSTAKE_VECTORS, else the reference data beside the checkout."""
    shared = Path(os.environ.get("JAXSTAKE_SHARED", Path(__file__).parents[2] / ".." / "shared"))
    return Path(os.environ.get("JAXSTAKE_VECTORS", shared / "vectors")).resolve()


def field(name: str) -> str:
    """Name that a state has for an array of the files."""
    name = RENAMED.get(name, name)
    for theirs, ours in PREFIXES.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name


class Golden:
    """One file. Outputs must be compared through `check` and inputs be read with `[]`, or the file counts as unread."""

    def __init__(self, path: Path):
        parts = NAME.match(path.name)
        assert parts is not None, f"{path.name} is not named KIND_FORK_PRESET[_...].npz"
        self.name, self.kind, self.fork, self.preset = path.name, parts["kind"], parts["fork"], parts["preset"]
        with np.load(path) as archive:
            self.arrays = {name: archive[name] for name in archive.files}
        self.rules = rules.get(self.fork, preset=self.preset)
        self.unread = {name for name in self.arrays if not name.startswith("in.")}
        self.compared: Counter[str] = Counter()

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    def __getitem__(self, name: str) -> np.ndarray:
        self.unread.discard(name)
        return self.arrays[name]

    def names(self, group: str) -> list[str]:
        """Fields of a group, such as "out" or "sep.rewards"."""
        return [name.removeprefix(f"{group}.") for name in self.arrays if name.startswith(f"{group}.")]

    def check(self, function: str, name: str, actual) -> None:
        """Compare one array, element by element."""
        expected, actual = self[name], np.asarray(actual)
        where = f"{self.name}: {name} ({function})"
        assert actual.shape == expected.shape, f"{where}: shape {actual.shape}, expected {expected.shape}"
        if expected.dtype == np.uint8:
            assert actual.dtype in (np.bool_, np.uint8), f"{where}: {actual.dtype}"
        else:
            assert actual.dtype == expected.dtype, f"{where}: {actual.dtype}, expected {expected.dtype}"
        wrong = np.atleast_1d(actual.astype(expected.dtype) != expected)
        assert not wrong.any(), (
            f"{where}: {wrong.sum()} of {wrong.size} differ, first at {tuple(np.argwhere(wrong)[0].tolist())}: "
            f"{np.atleast_1d(actual)[wrong][0]}, expected {np.atleast_1d(expected)[wrong][0]}"
        )
        self.compared[function] += 1

    def check_fields(self, function: str, group: str, state_arrays: dict[str, np.ndarray]) -> None:
        """Compare all arrays of a group with the fields of a state."""
        for name in self.names(group):
            self.check(function, f"{group}.{name}", state_arrays[field(name)])

    def check_rows(self, function: str, group: str, rows: list[dict[str, np.ndarray]]) -> None:
        """Compare all arrays of a group that have not been read with rows by name, one for each event."""
        for name in self.names(group):
            if f"{group}.{name}" in self.unread:
                self.check(function, f"{group}.{name}", np.stack([row[name] for row in rows]))

    def state(self, **capacity: int):
        """The state of the file's inputs; every input must have its place in it."""
        given = {name: self.arrays[f"in.{name}"] for name in self.names("in") if name not in NOT_STATE}
        return arrays.state_from_arrays(self.rules, {field(k): v for k, v in given.items()}, **capacity)


@dataclasses.dataclass(frozen=True)
class Capacity:
    """Room enough for every file, so that files of one fork share one compilation."""

    validators: int
    queue: int


@functools.cache
def capacity() -> Capacity:
    """Room for the validators and queues of all files, deposits that create validators, and builder payments."""
    rows, longest = 1, 1
    for path in folder().glob("*.npz"):
        with np.load(path) as archive:
            if "in.balances" not in archive.files:
                continue
            deposits = "in.pending_deposits_amount"
            rows = max(rows, len(archive["in.balances"]) + (len(archive[deposits]) if deposits in archive.files else 0))
            queues = [n for n in archive.files if n.startswith(("in.pending", "in.builders", "in.builder_w"))]
            longest = max([longest, *(len(archive[name]) for name in queues)])
    return Capacity(validators=rows, queue=longest + 2 * 32)  # two epochs of builder payments may be added


def state_of(golden: Golden):
    """The state of a file's inputs in the common capacity."""
    return golden.state(validator_capacity=capacity().validators, queue_capacity=capacity().queue)


__all__ = ["NEVER", "Capacity", "Golden", "capacity", "checks", "field", "folder", "state_of"]
