"""Fixtures: the precision of the run, and the reference data beside the checkout."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest


@pytest.fixture(scope="session")
def x64() -> bool:
    """Whether the suite runs in double precision."""
    return bool(jax.config.jax_enable_x64)


@pytest.fixture(scope="session")
def tolerance(x64: bool) -> float:
    """Relative tolerance of a formula worked in the precision of the run, against an exact oracle."""
    return 1e-12 if x64 else 2e-5


@pytest.fixture
def only_x64(x64: bool) -> None:
    """Skip where the oracle is sharper than single precision can show."""
    if not x64:
        pytest.skip("needs double precision")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of golden vectors, published numbers and real data, which does not ship with the package."""
    folder = Path(os.environ.get("JAXSTAKE_SHARED", Path(__file__).parents[1] / ".." / "shared")).resolve()
    if not folder.is_dir():
        message = f"no reference data at {folder}; set JAXSTAKE_SHARED"
        if os.environ.get("JAXSTAKE_REQUIRE_SHARED") == "1":
            pytest.fail(message)
        pytest.skip(message)
    return folder


@pytest.fixture(scope="session")
def published(shared: Path) -> dict[str, Any]:
    """Published numbers by id, each with its value, assumptions and source."""
    entries = json.loads((shared / "reference" / "published_numbers.json").read_text())["entries"]
    return {entry["id"]: entry for entry in entries}


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded generator."""
    return np.random.default_rng(20260822)
