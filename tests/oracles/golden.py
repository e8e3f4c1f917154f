"""Golden vectors: files found by kind, and what the specification reads off a state before it rewards anyone.

Everything stays in NumPy integers; "never" is the largest uint64 and must not pass through a float.
"""

from __future__ import annotations

import dataclasses
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

INCREMENT = 10**9
_NAME = re.compile(r"^(?P<kind>[a-z]+)_(?P<fork>[a-z0-9]+)_(?P<preset>[a-z]+)(_.*)?\.npz$")


@dataclasses.dataclass(frozen=True)
class Case:
    """One file: its name, fork and preset, and its arrays by name, read when asked for."""

    name: str
    fork: str
    preset: str
    arrays: Any

    def __getitem__(self, array: str) -> np.ndarray:
        return self.arrays[array]


def cases(shared: Path, kind: str) -> dict[tuple[str, str], list[Case]]:
    """All files of a kind by (fork, preset), whatever else their names say."""
    found = defaultdict(list)
    for path in sorted((shared / "vectors").glob("*.npz")):
        parts = _NAME.match(path.name)
        if parts is not None and parts["kind"] == kind:
            case = Case(name=path.name, fork=parts["fork"], preset=parts["preset"], arrays=np.load(path))
            found[case.fork, case.preset].append(case)
    return dict(found)


def active(case: Case, epoch: int) -> np.ndarray:
    """`is_active_validator` for every validator."""
    return (case["in.activation_epoch"] <= epoch) & (epoch < case["in.exit_epoch"])


def total_balance(case: Case, members: np.ndarray) -> int:
    """`get_total_balance`: effective balances of the members, at least one increment, Gwei."""
    return max(INCREMENT, int(case["in.effective_balance"][members].sum(dtype=np.uint64)))


def total_active_balance(case: Case) -> int:
    """`get_total_active_balance` at the current epoch, Gwei."""
    return total_balance(case, active(case, int(case["in.current_epoch"])))


def unslashed_participating(case: Case, flag: int) -> np.ndarray:
    """`get_unslashed_participating_indices` of the previous epoch, as a mask."""
    previous = max(int(case["in.current_epoch"]) - 1, 0)
    has_flag = (case["in.previous_participation"] >> flag) & 1 == 1
    return active(case, previous) & has_flag & (case["in.slashed"] == 0)
