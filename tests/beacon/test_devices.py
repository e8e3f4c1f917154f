"""The same simulation on one device and on two that share the validators."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("only_x64")
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("fork", ["deneb", "electra"])
def test_two_devices_give_what_one_gives(fork):
    """Integers are equal, floats to 1e-12, and the arrays of validators stay shared from window to window."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2".strip()
    settings = {
        "JAX_PLATFORMS": "cpu",
        "JAX_ENABLE_X64": "1",
        "JAX_NUMPY_RANK_PROMOTION": "raise",
        "JAX_NUMPY_DTYPE_PROMOTION": "strict",
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.beacon.two_devices", fork],
        cwd=ROOT,
        env={**os.environ, **settings, "XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["devices"] == 2
    assert found["compared"] > 60
    assert all(gap <= 1e-12 for gap in found["different"].values()), found["different"]
    assert found["rows_of_each_shard"] == [256]
    assert found["arrays_of_rows"] == 15
    assert found["slashed"] == 6
    assert found["validators"] >= 492
