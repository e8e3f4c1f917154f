"""The benchmarks compute what they say: baselines equal the model, and every row does its work. No timings here."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks import (
    baselines,
    compiled,
    gradient_mean,
    gradient_sweep,
    lanes,
    models,
    public_sweep,
    table,
    timing,
    value_sweep,
)
from benchmarks.setting import Setting
from jaxstake.analysis.sweep import sweep
from jaxstake.core import leaves
from jaxstake.economy.apr import apr
from jaxstake.economy.scenario import Scenario

LANES = 1 << 12


@pytest.fixture(scope="module", params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest, x64: bool) -> Any:
    if request.param == "float64" and not x64:
        pytest.skip("needs double precision")
    return np.dtype(request.param).type


def _columns(dtype: Any) -> tuple[np.ndarray, ...]:
    """Lanes with every fault among them."""
    columns = tuple(lanes.sample(LANES, seed=3, dtype=dtype))
    for lane, (column, value) in enumerate(lanes.FAULTS):
        columns[column][lane] = value
    return columns


def _other_scenario() -> Scenario:
    """Every term that the default scenario leaves at zero."""
    values = {
        "network.tips_per_block_eth": 0.01,
        "network.exit_queue_eth": 3e6,
        "hazards.leak_probability": 0.02,
        "costs.annual_cost_eth": 0.4,
    }
    return leaves.replace(Scenario(), values)


def _model(columns: Any, base: Scenario) -> np.ndarray:
    """The lanes through the public driver."""
    axes = dict(zip(lanes.NAMES, columns, strict=True))
    return sweep(apr, base, axes, mode="zip", outputs="net", dtype=columns[0].dtype)["net"].values


# Lanes.


def test_lanes_lie_in_their_ranges_but_for_a_few() -> None:
    columns = lanes.sample(20_000)
    bad = [
        ~((column >= np.float32(low)) & (column <= np.float32(high)))
        for column, (low, high) in zip(columns, lanes.RANGES.values(), strict=True)
    ]
    assert np.any(bad, axis=0).sum() == 2
    assert np.isnan(np.asarray(models.swept(models.net)(*columns))).sum() == 2
    assert all(column.dtype == np.float32 for column in columns)


@pytest.mark.parametrize("number", range(len(lanes.FAULTS)))
def test_every_fault_is_one(number: int) -> None:
    columns = lanes.sample(1, seed=1)
    column, value = lanes.FAULTS[number]
    columns[column][0] = value
    c = baselines.constants(Scenario())
    assert np.isnan(np.asarray(models.swept(models.net)(*columns))).all()
    assert np.isnan(baselines.value(columns, c)).all()


def test_a_grid_has_its_lanes() -> None:
    for bits in (0, 7, 20, 26):
        axes = lanes.grid(1 << bits)
        assert tuple(axes) == lanes.NAMES
        assert np.prod([len(axis) for axis in axes.values()]) == 1 << bits
    with pytest.raises(ValueError, match="power of two, got 12"):
        lanes.grid(12)


# Baselines.


@pytest.mark.parametrize("base", [Scenario(), _other_scenario()], ids=["default", "other"])
def test_baselines_equal_the_model(dtype: Any, base: Scenario) -> None:
    columns, c = _columns(dtype), baselines.constants(base, dtype)
    expected = _model(columns, base)
    out = np.empty_like(columns[0])
    compiled.value(columns, c, out)
    usual = np.empty_like(out)
    compiled.plain_value(columns, c, usual)
    tolerance = 1e-5 if dtype is np.float32 else 1e-12
    scale = np.nanmax(np.abs(expected))
    for found in (baselines.value(columns, c), baselines.value(columns, c, chunk=1000), out, usual):
        assert found.dtype == dtype
        np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=0.01 * tolerance * scale)
    assert np.isnan(expected).sum() >= len(lanes.FAULTS)


def test_baseline_gradients_equal_the_model(x64: bool) -> None:
    dtype = np.float64 if x64 else np.float32
    columns, c = _columns(dtype), baselines.constants(Scenario(), dtype)
    exact = [np.asarray(column) for column in models.swept(models.net_and_gradient)(*columns)]
    by_numpy = baselines.value_and_gradient(columns, c, chunk=1000)
    by_numba = [np.empty_like(columns[0]) for _ in range(11)]
    compiled.value_and_gradient(columns, c, by_numba)
    valid = ~np.isnan(exact[0])
    for number, name in enumerate(("value", *lanes.NAMES)):
        for found in (by_numpy[number], by_numba[number]):
            np.testing.assert_array_equal(~np.isnan(found), valid, err_msg=name)
            # In single precision, the difference of two values of net has the rounding of net over the step.
            rounding = 0.0 if number == 0 else 8e-8 * np.nanmax(np.abs(exact[0])) / baselines.steps(dtype)[number - 1]
            atol = 1e-9 * np.nanmax(np.abs(exact[number])) if x64 else 4.0 * rounding + 1e-9
            np.testing.assert_allclose(
                found[valid], exact[number][valid], rtol=1e-4 if x64 else 3e-3, atol=atol, err_msg=name
            )


def test_the_means_are_means_of_the_valid_lanes(x64: bool) -> None:
    dtype = np.float64 if x64 else np.float32
    columns, c = _columns(dtype), baselines.constants(Scenario(), dtype)
    exact = models.swept(models.net_and_gradient)(*columns)
    valid = ~np.isnan(np.asarray(exact[0]))
    expected = [np.asarray(column)[valid].mean(dtype=np.float64) for column in exact]
    for size in (None, LANES // 4):
        found = models.averaged(models.net_and_gradient, size=size)(*columns)
        np.testing.assert_allclose(found, expected, rtol=1e-12 if x64 else 1e-5)
    differences = [np.nanmean(column, dtype=np.float64) for column in baselines.value_and_gradient(columns, c)]
    np.testing.assert_allclose(baselines.means(columns, c, chunk=1000), differences, rtol=1e-10 if x64 else 1e-4)
    np.testing.assert_allclose(baselines.means(columns, c, slopes=False), expected[:1], rtol=1e-5)
    out = [np.empty(1500, dtype) for _ in range(11)]
    scale = np.abs(differences) + (0.0 if x64 else 1e-7)  # slopes whose differences are rounding alone
    np.testing.assert_allclose(compiled.means(columns, c, out) / scale, differences / scale, atol=2e-3, rtol=0.0)
    np.testing.assert_allclose(compiled.means(columns, c, out[:1]), expected[:1], rtol=1e-5)


def test_numba_stays_in_single_precision() -> None:
    columns, c = _columns(np.float32), baselines.constants(Scenario())
    compiled.value(columns, c, np.empty_like(columns[0]))
    signature = next(found for found in compiled.value.signatures if "float32" in str(found[2]))
    code = compiled.value.inspect_llvm(signature)
    assert re.findall(r"f(?:mul|div|add|sub) (?:fast )?(?:<\d+ x )?float", code)
    assert not re.findall(r"f(?:mul|div|add|sub) (?:fast )?(?:<\d+ x )?double", code)


# The model over lanes.


@pytest.mark.parametrize("lane", [models.net, models.net_and_gradient])
def test_chunks_and_old_memory_change_nothing(lane: Any, tolerance: float) -> None:
    columns = [jnp.asarray(column) for column in _columns(jnp.result_type(float).type)]
    whole = models.swept(lane)(*columns)
    for way in (models.in_chunks(lane, size=LANES // 8), models.in_chunks(lane, size=999), models.swept_again(lane)):
        for _ in range(2):
            found = way(*columns)
            for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(whole), strict=True):
                np.testing.assert_allclose(a, b, rtol=tolerance)


def test_the_model_over_lanes_is_the_model(tolerance: float) -> None:
    columns = _columns(jnp.result_type(float).type)
    found = models.swept(models.net)(*columns)
    for lane in (100, 2000):
        at = dict(zip(lanes.NAMES, [float(column[lane]) for column in columns], strict=True))
        np.testing.assert_allclose(found[lane], apr(leaves.replace(Scenario(), at)).net, rtol=tolerance)


# Rows.


@pytest.mark.parametrize("workload", [value_sweep, gradient_sweep, gradient_mean, public_sweep])
def test_every_task_of_a_workload_runs(workload: Any) -> None:
    setting = Setting(lanes=LANES, repeat=1)
    tasks = workload.tasks(setting)
    assert {task.by.split(",")[0] for task in tasks} == {"jaxstake", "NumPy", "Numba"}
    for task in tasks:
        assert task.lanes == LANES
        task.run(0)
        task.run(7)


def test_rows_of_a_sweep_agree_with_the_baseline() -> None:
    setting = Setting(lanes=LANES, repeat=1)
    by = {task.by: task for task in public_sweep.tasks(setting) if task.work == public_sweep.MEAN}
    means = [float(np.squeeze(by[name].run(0))) for name in ("jaxstake, list", "NumPy", "Numba")]
    np.testing.assert_allclose(means, means[0], rtol=1e-5)


def test_tasks_take_turns_and_slow_ones_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, int]] = []
    monkeypatch.setattr(timing, "SLOW_SECONDS", 0.0)
    tasks = [timing.Task("w", by, 1, 0, lambda turn, by=by: calls.append((by, turn))) for by in ("a", "b")]
    found = timing.measure(tasks, repeat=6)
    assert calls == [(by, turn) for turn in (0, 1, 0, 1) for by in ("a", "b")]
    assert all(0.0 <= one.best <= one.run for one in found)


def test_ratios_are_to_the_fastest_baseline_per_lane() -> None:
    names = ("jaxstake", "NumPy, whole", "NumPy, chunks", "Numba")
    tasks = [
        timing.Task("w", by, count, 10, lambda _: None) for by, count in zip(names, (200, 100, 100, 100), strict=True)
    ]
    timings = [timing.Timing(0.5, seconds, seconds, seconds) for seconds in (1.0, 4.0, 2.0, 0.25)]
    ours, *theirs = table.rows(tasks, timings, device="d", host="h", bandwidth=4000.0)
    assert (ours.vs_numpy, ours.vs_numba, ours.bandwidth_share, ours.lanes_per_s) == (4.0, 0.5, 0.5, 200.0)
    assert all(row.vs_numpy is None and row.device == "h" for row in theirs)
    assert (ours.compile_s, theirs[0].compile_s) == (0.5, None)


def test_the_command_writes_what_it_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(tmp_path / name) for name in ("all.json", "table.md")]
    arguments = ["--quick", "--lanes", "2^10", "--only", "value", "--json", files[0], "--markdown", files[1]]
    monkeypatch.setattr(sys, "argv", ["benchmarks", *arguments])
    command.main()
    printed = capsys.readouterr().out
    saved = json.loads(Path(files[0]).read_text())
    assert [row["by"] for row in saved["rows"]][-1] == "Numba, vectorised"
    assert {row["lanes"] for row in saved["rows"]} == {1024}
    for text in (printed, Path(files[1]).read_text()):
        assert "NumPy, in chunks" in text
        assert "2^10" in text


def test_numbers_of_lanes_read_as_powers() -> None:
    assert [command._count(text) for text in ("4096", "2^12")] == [4096, 4096]
