"""The reader of daily histories, and the exit queue of the network replayed from one."""

from __future__ import annotations

import math
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstake.data import network_history
from jaxstake.microstaking import withdrawal_replay

replay = jax.jit(withdrawal_replay.replay, static_argnames="days")

HEADER = "date,exit_queue_eth,exit_wait_days,exit_churn_eth_per_epoch\n"


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "daily.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_reads_the_real_history(shared: Path) -> None:
    found = network_history.read(shared / "data" / "network_daily.csv", columns=("staked_eth", "apr_pct"))
    assert found.date.size == 950
    assert (str(found.date[0]), str(found.date[-1])) == ("2023-05-21", "2025-12-31")
    assert found["staked_eth"][0] == 18_511_588
    assert int(np.isnan(found["apr_pct"]).sum()) == 13
    assert list(found.columns) == ["staked_eth", "apr_pct"]


@pytest.mark.usefixtures("only_x64")
def test_recorded_exit_waits_recompute_from_the_queue(shared: Path) -> None:
    """Queue over churn, and the first in, first out queue driven by what must have arrived, against recorded waits."""
    record = network_history.read(shared / "data" / "network_daily.csv")
    queue, wait, churn = (record[name] for name in network_history.EXIT_QUEUE)
    day = (record.date - record.date[0]).astype(int)
    found = replay(queue=jnp.asarray(queue), churn=jnp.asarray(churn), day=jnp.asarray(day), days=int(day[-1]) + 1)
    long = wait > 1.0
    assert int(long.sum()) == 179
    ratio = queue[long] / churn[long] / 225 / wait[long]
    driven = np.asarray(found.wait)[long] / wait[long]
    assert np.median(np.abs(ratio - 1)) < 2e-4
    assert np.abs(ratio - 1).max() < 0.04
    assert np.median(np.abs(driven - 1)) < 2e-4
    assert np.abs(driven - 1).max() < 0.04
    excess = (np.asarray(found.backlog) - queue)[long] / queue[long]
    assert excess.min() >= 0
    assert np.median(excess) < 1e-12


def test_empty_fields_order_and_spaces(tmp_path: Path) -> None:
    text = "\ufeffexit_queue_eth , note,date\n640,x, 2025-01-01\n,y,2025-01-02\n\n 1e3 ,z,2025-01-05\n"
    found = network_history.read(written(tmp_path, text), columns=("exit_queue_eth",))
    np.testing.assert_array_equal(found["exit_queue_eth"], [640.0, math.nan, 1000.0])
    assert (np.diff(found.date).astype(int) == [1, 3]).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; expected a header row with date"),
        (HEADER, "has a header but no rows"),
        ("date,a\n2025-01-01,1\n", "has no column exit_queue_eth"),
        ("date,exit_queue_eth,exit_queue_eth\n", "has more than one column exit_queue_eth"),
        ("exit_queue_eth\n1\n", "has no column date"),
        (HEADER + "2025-01-01,1,2\n", "line 2: 3 fields under 4 columns"),
        (HEADER + "2025-01-01,one,2,3\n", "line 2: exit_queue_eth 'one' is not a number"),
        (HEADER + "2025-01-01,1,-2,3\n", "exit_wait_days must be at least 0, got -2.0 in row 1"),
        (HEADER + "2025-01-01,1,2,inf\n", "line 2: exit_churn_eth_per_epoch must be finite, got inf"),
        (HEADER + "2025-01-01,1,2,nan\n", "line 2: exit_churn_eth_per_epoch must be finite, got nan"),
        (HEADER + "01.01.2025,1,2,3\n", "line 2: date '01.01.2025' is not a day YYYY-MM-DD"),
        (HEADER + "2025-01-01,1,2,3\n2025-01-01,1,2,3\n", "days must increase, got 2025-01-01 after 2025-01-01"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
    ],
)
def test_what_is_no_history_is_refused(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        network_history.read(written(tmp_path, text))
    assert "daily.csv" in str(error.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot read .*none\.csv: No such file") as error:
        network_history.read(tmp_path / "none.csv")
    assert "none.csv" in str(error.value)


def test_replay_by_hand() -> None:
    """Two days of work on day 0; the third day has no record; a queue that falls faster than churn is kept up."""
    found = replay(
        queue=jnp.asarray([900.0, 100.0, 0.0]),
        churn=jnp.asarray([2.0, 2.0, 4.0]),
        day=jnp.asarray([0, 1, 3]),
        days=4,
    )
    assert found.arriving.tolist() == [900.0, 0.0, 0.0]
    assert found.backlog.tolist() == [900.0, 450.0, 0.0]
    np.testing.assert_allclose(found.wait, [449 / 225, 224 / 225, 0.0], rtol=1e-6)
    with pytest.raises(ValueError, match="churn must be greater than 0 and finite, got 0.0"):  # noqa: RUF043
        withdrawal_replay.replay(queue=jnp.ones(1), churn=jnp.zeros(1), day=jnp.zeros(1, int), days=1)
    with pytest.raises(ValueError, match="vectors of one length"):
        replay(queue=jnp.ones(2), churn=jnp.ones(1), day=jnp.zeros(1, int), days=1)
