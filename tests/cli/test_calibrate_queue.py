"""`jaxstake calibrate queue`."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.usefixtures("only_x64")

SMALL = ("--requests", 2000, "--days", 30, "--held-out", 2, "--restarts", 2, "--max-wait-days", 14)


def test_a_policy_is_fitted_judged_and_drawn(cli, tmp_path, shared):
    drawing, history = tmp_path / "queue.svg", shared / "data" / "network_daily.csv"
    result = cli("calibrate", "queue", *SMALL, "--json", "--figure", drawing, "--history", history)
    assert result.code == 0
    assert result.err == ""
    found = result.json
    assert found["fit"]["converged"] is True
    assert found["held_out"]["objective"] < found["held_out"]["fifo_objective"] == 1.5
    assert found["held_out"]["bound_holds"] is True
    assert found["held_out"]["largest_wait_days"] <= found["held_out"]["largest_wait_bound_days"]
    assert sum(found["weights_days"].values()) <= found["largest_bonus_days"]
    waits = found["held_out"]["waits_days"]
    assert waits["waits"]["by_amount"] == pytest.approx(waits["fifo"]["by_amount"], rel=0.02)
    assert found["replay"]["median_error"] < 2e-4
    text = drawing.read_text()
    assert "wait, days" in text
    assert "no wait exceeds" in text
    again = cli("calibrate", "queue", *SMALL)
    assert again.code == 0
    assert f"{found['held_out']['objective']:.4f} against 1.5000 for FIFO" in again.out
    assert "restarts agree" in again.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--requests", 0), "--requests must be at least 1, got 0"),
        (("--days", 1), "--days must be at least 2, got 1"),
        (("--held-out", 0), "--held-out must be at least 1, got 0"),
        (("--restarts", 0), "--restarts must be at least 1, got 0"),
        (("--seed", -1), "--seed must be at least 0, got -1"),
        (("--utilisation", 0), "--utilisation must be in (0, 10], got 0"),
        (("--utilisation", "nan"), "--utilisation must be in (0, 10], got nan"),
        (("--lam", -1), "tail_weight must be at least 0 and finite, got -1.0"),
        (("--lam", "nan"), "tail_weight must be at least 0 and finite, got nan"),
        (("--max-wait-days", 0.5), "max_wait must exceed the largest wait first in, first out"),
        (("--history", "none.csv"), "cannot read none.csv: No such file or directory"),
        (("--figure", "/nowhere/queue.svg"), "cannot write /nowhere/queue.svg"),
    ],
)
def test_bad_input_is_one_line(refused, options, message):
    found = refused("calibrate", "queue", *SMALL, *options)
    assert message in found
