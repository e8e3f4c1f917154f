"""Sweeps against direct evaluation with NumPy."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstake.analysis import reductions
from jaxstake.analysis.reductions import Accumulator
from jaxstake.analysis.store import open_dataset
from jaxstake.analysis.sweep import sweep
from jaxstake.core import leaves
from jaxstake.core.domain import POSITIVE
from jaxstake.core.pytree import branch, leaf, pytree
from jaxstake.economy.apr import apr
from jaxstake.economy.scenario import Scenario


@pytree
class Box:
    """A small model's input."""

    width: Any = leaf(default=2.0, unit="m", domain=POSITIVE, meaning="from left to right")
    height: Any = leaf(default=3.0, unit="m", domain=POSITIVE)
    depth: Any = leaf(default=5.0, unit="m")


@pytree
class Crate:
    """Nested once."""

    box: Box = branch(default_factory=Box)
    weight: Any = leaf(default=1.0, unit="kg")


def measures(crate: Crate) -> dict[str, Any]:
    box = crate.box
    bad = jnp.where((box.width > 0) & (box.height > 0), 1.0, jnp.nan)
    return {"volume": bad * box.width * box.height * box.depth, "density": crate.weight / (box.width * box.height)}


AXES = {"box.depth": np.linspace(1, 2, 5), "weight": np.array([1.0, 7.0]), "box.width": np.linspace(0.5, 3, 11)}


def _expected() -> tuple[np.ndarray, np.ndarray]:
    depth, weight, width = np.meshgrid(*AXES.values(), indexing="ij")
    return width * 3.0 * depth, weight / (width * 3.0) + 0 * depth


@pytest.mark.parametrize("chunk", [None, 1, 7, 11, 22, 30, 1000])
def test_a_grid_equals_direct_evaluation_for_every_chunking(chunk: int | None, tolerance: float) -> None:
    result = sweep(measures, Crate(), AXES, chunk=chunk)
    volume, density = _expected()
    assert result["volume"].dims == tuple(AXES)
    np.testing.assert_allclose(result["volume"], volume, rtol=tolerance)
    np.testing.assert_allclose(result["density"], density, rtol=tolerance)
    for name, values in AXES.items():
        np.testing.assert_array_equal(result[name], values)


@pytest.mark.parametrize("chunk", [None, 7, 22])
def test_lanes_repeated_on_the_device_are_those_repeated_before(
    chunk: int | None, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An accelerator gets the values of the split axis unrepeated."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    result = sweep(measures, Crate(), AXES, chunk=chunk)
    np.testing.assert_allclose(result["volume"], _expected()[0], rtol=tolerance)
    reduced = sweep(measures, Crate(), AXES, chunk=chunk, outputs="density", reduce=("mean", "argmax"))
    assert float(reduced["density_mean"]) == pytest.approx(_expected()[1].mean(), rel=1e-5)


def test_labels_say_what_the_numbers_are() -> None:
    result = sweep(measures, Crate(), {"box.width": [1.0, 2.0, -1.0]}, outputs="volume", dtype="float32")
    assert list(result.data_vars) == ["volume"]
    assert result["box.width"].attrs == {"units": "m", "long_name": "from left to right"}
    assert result["volume"].dtype == np.float32
    assert (result.attrs["lanes"], result.attrs["invalid_lanes"]) == (3, 1)
    assert (result.attrs["mode"], result.attrs["dtype"]) == ("grid", "float32")
    assert result.attrs["model"].endswith("measures")
    assert json.loads(result.attrs["scenario"])["box.height"] == 3.0
    assert np.isnan(result["volume"].sel({"box.width": -1.0}))


@pytest.mark.parametrize("chunk", [None, 1, 4, 10])
def test_a_zip_equals_direct_evaluation(chunk: int | None, tolerance: float, rng: np.random.Generator) -> None:
    axes = {"weight": rng.random(10), "box.width": 1 + rng.random(10)}
    result = sweep(measures, Crate(), axes, mode="zip", chunk=chunk)
    assert result["density"].dims == ("lane",)
    np.testing.assert_allclose(result["density"], axes["weight"] / axes["box.width"] / 3, rtol=tolerance)
    np.testing.assert_array_equal(result["weight"], axes["weight"])


def test_lanes_run_in_the_precision_asked_for(only_x64: None) -> None:
    single = sweep(measures, Crate(), AXES, dtype="float32")
    double = sweep(measures, Crate(), AXES, dtype="float64")
    assert (single["density"].dtype, double["density"].dtype) == (np.float32, np.float64)
    np.testing.assert_allclose(single["density"], double["density"], rtol=1e-6)
    direct = jax.vmap(lambda w: measures(leaves.replace(Crate(), {"weight": w}))["density"])(np.float32(AXES["weight"]))
    assert direct.dtype == np.float32


def test_float32_sweep_of_the_apr_stays_single_precision_throughout() -> None:
    result = sweep(apr, Scenario(), {"network.total_stake_eth": [1e7, 2e7]}, dtype="float32")
    assert {str(variable.dtype) for variable in result.data_vars.values()} == {"float32"}


def test_invalid_lanes_are_nan_in_every_output_and_counted() -> None:
    axes = {"network.total_stake_eth": [-1.0, 10.0, 3e7, np.nan], "validator.uptime": [0.5, 1.0, 1.5]}
    result = sweep(apr, Scenario(), axes, chunk=5)
    valid = np.zeros((4, 3), bool)
    valid[2, :2] = True
    for variable in result.data_vars.values():
        np.testing.assert_array_equal(np.isfinite(variable), valid)
    assert result.attrs["invalid_lanes"] == 10


def test_new_values_another_base_and_a_last_short_chunk_share_one_compilation() -> None:
    traced = chex.assert_max_traces(measures, n=4)  # one shape evaluation per sweep, one trace for all

    def model(crate: Crate) -> dict[str, Any]:
        return traced(crate)

    for weight in (1.0, 2.0, 3.0):
        axes = {"box.width": np.linspace(1, weight, 10)}
        result = sweep(model, Crate(weight=weight), axes, chunk=3)
        assert result.attrs["invalid_lanes"] == 0
    chex.clear_trace_counter()


class TestBadInput:
    @pytest.mark.parametrize(
        ("axes", "options", "message"),
        [
            ({"box.widht": [1.0]}, {}, r"unknown leaf 'box.widht'; did you mean box.width"),
            ({"width": [1.0]}, {}, r"unknown leaf 'width'; did you mean .*box.width"),
            ({}, {}, "axes must name at least one leaf"),
            ({"weight": []}, {}, r"axis weight must be a vector of at least one value, got shape \(0,\)"),
            ({"weight": [[1.0]]}, {}, r"axis weight must be a vector .* got shape \(1, 1\)"),
            ({"weight": ["much"]}, {}, "axis weight must hold numbers"),
            (
                {"weight": [1.0, 2.0], "box.width": [1.0]},
                {"mode": "zip"},
                "one length in zip mode, got weight: 2, box.w",
            ),
            ({"weight": [1.0]}, {"mode": "gird"}, "unknown mode 'gird'; did you mean grid"),
            ({"weight": [1.0]}, {"outputs": ["volum"]}, "unknown output 'volum'; did you mean volume"),
            ({"weight": [1.0]}, {"reduce": "median"}, "unknown statistic 'median'; did you mean mean"),
            ({"weight": [1.0]}, {"chunk": 0}, "chunk must be at least 1, got 0"),
            ({"weight": [1.0]}, {"dtype": "int32"}, "dtype must be a floating type, got int32"),
            ({"weight": [1.0]}, {"reduce": "mean", "store": "somewhere"}, "give one of them"),
        ],
    )
    def test_is_refused_by_name_before_any_work(
        self, axes: dict[str, Any], options: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            sweep(measures, Crate(), axes, **options)

    def test_in_the_base_is_refused_but_not_where_the_leaf_is_swept(self) -> None:
        crate = Crate(box=Box(width=-1.0))
        with pytest.raises(ValueError, match=r"box\.width must be greater than 0 and finite, got -1\.0"):
            sweep(measures, crate, {"weight": [1.0]})
        assert sweep(measures, crate, {"box.width": [1.0]}).attrs["invalid_lanes"] == 0

    def test_double_precision_needs_x64(self, x64: bool) -> None:
        if x64:
            assert sweep(measures, Crate(), {"weight": [1.0]}, dtype="float64")["density"].dtype == np.float64
        else:
            with pytest.raises(ValueError, match="float64 needs jax_enable_x64"):
                sweep(measures, Crate(), {"weight": [1.0]}, dtype="float64")

    def test_an_output_that_is_no_scalar(self) -> None:
        with pytest.raises(ValueError, match=r"output value must be a scalar per scenario, got shape \(3,\)"):
            sweep(lambda crate: jnp.ones(3) * crate.weight, Crate(), {"weight": [1.0]})


EVERYTHING = ("mean", "std", "min", "max", "argmin", "argmax", "quantiles", "histogram")


class TestReductions:
    @pytest.mark.parametrize("chunk", [None, 1, 13, 40])
    def test_equal_NumPy_on_the_valid_lanes(self, chunk: int | None, x64: bool, rng: np.random.Generator) -> None:
        axes = {"box.width": np.concatenate([[-1.0], 1 + rng.random(40)]), "box.height": 1 + rng.random(20)}
        result = sweep(measures, Crate(), axes, reduce=EVERYTHING, chunk=chunk)
        lanes = sweep(measures, Crate(), axes)
        rtol = 1e-12 if x64 else 1e-6
        assert result.attrs["invalid_lanes"] == 20
        for name in ("volume", "density"):
            values = lanes[name].values[1:].astype(float)  # the first row is invalid in one output, so in none counted
            assert int(result[f"{name}_count"]) == values.size
            np.testing.assert_allclose(result[f"{name}_mean"], values.mean(), rtol=rtol)
            np.testing.assert_allclose(result[f"{name}_std"], values.std(), rtol=10 * rtol)
            assert float(result[f"{name}_min"]) == values.min()
            assert float(result[f"{name}_max"]) == values.max()
            best = np.unravel_index(values.argmax(), values.shape)
            np.testing.assert_array_equal(
                result[f"{name}_argmax"], [axes["box.width"][1:][best[0]], axes["box.height"][best[1]]]
            )
            assert result[f"{name}_argmin"].attrs["lane"] == 20 + values.argmin()
            bound = result[f"{name}_quantiles"].attrs["error_bound"]
            assert bound == pytest.approx((values.max() - values.min()) / reductions.QUANTILE_BINS)
            exact = np.quantile(values, reductions.QUANTILE_LEVELS, method="inverted_cdf")
            below = np.quantile(values, reductions.QUANTILE_LEVELS, method="lower")
            found = result[f"{name}_quantiles"].values
            slack = bound * (1 + 1e-9) + (0 if x64 else 1e-5)
            assert ((found >= np.minimum(exact, below) - slack) & (found <= exact + slack)).all()
            counts, _ = np.histogram(values, bins=result[f"{name}_bin_edges"].values)
            assert int(result[f"{name}_histogram"].sum()) == values.size
            assert np.abs(np.cumsum(counts) - np.cumsum(result[f"{name}_histogram"])).max() <= (0 if x64 else 2)

    def test_a_billion_like_mean_keeps_its_digits_in_single_precision(self) -> None:
        """float32 sums of 2^20 values around 1000 would lose 1e-5 and more if they ran in one accumulator."""
        axes = {"weight": 1000 + np.linspace(0, 1, 1 << 20)}
        result = sweep(lambda crate: crate.weight, Crate(), axes, reduce=("mean", "std"), dtype="float32")
        exact = np.float32(axes["weight"]).astype(float)
        assert float(result["value_mean"]) == pytest.approx(exact.mean(), rel=1e-8)
        assert float(result["value_std"]) == pytest.approx(exact.std(), rel=1e-5)

    def test_all_lanes_invalid_gives_nan_and_a_count(self) -> None:
        result = sweep(measures, Crate(), {"box.width": [-1.0, -2.0]}, reduce=EVERYTHING)
        assert result.attrs["invalid_lanes"] == 2
        assert int(result["volume_count"]) == 0
        for statistic in ("mean", "std", "min", "max", "argmin", "argmax", "quantiles"):
            assert np.isnan(result[f"volume_{statistic}"]).all(), statistic
        assert int(result["volume_histogram"].sum()) == 0

    def test_one_value_everywhere(self) -> None:
        result = sweep(measures, Crate(), {"box.depth": np.full(9, 4.0)}, reduce=EVERYTHING, outputs="volume")
        np.testing.assert_array_equal(result["volume_quantiles"], 24.0)
        assert float(result["volume_std"]) == 0.0
        assert int(result["volume_histogram"][0]) == 9

    def test_merging_does_not_depend_on_the_cut(self, rng: np.random.Generator) -> None:
        values = rng.lognormal(size=1000)
        whole, parts = Accumulator(), Accumulator()
        for accumulator, cuts in ((whole, [values]), (parts, np.split(values, [3, 500, 501]))):
            offset = 0
            for part in cuts:
                mean = part.mean()
                partial = {"count": part.size, "mean": mean, "squares": ((part - mean) ** 2).sum()}
                extremes = {"min": part.min(), "argmin": part.argmin(), "max": part.max(), "argmax": part.argmax()}
                accumulator.merge(partial | extremes, lambda position, offset=offset: offset + position)
                offset += part.size
        for name in ("mean", "std", "min", "max"):
            assert parts.statistic(name) == pytest.approx(whole.statistic(name), rel=1e-13), name
        assert (parts.argmax, parts.argmin) == (values.argmax(), values.argmin())

    def test_new_bounds_do_not_compile_again(self) -> None:
        traces = 0

        def model(crate: Crate) -> Any:
            nonlocal traces
            traces += 1
            return crate.weight * 2.0

        sweep(model, Crate(), {"weight": [1.0, 2.0]}, reduce="quantiles")
        before = traces
        sweep(model, Crate(), {"weight": [5.0, 9.0]}, reduce="quantiles")
        assert traces == before > 0


class TestProgress:
    def test_counts_every_lane_once_and_ends_complete(self) -> None:
        seen: list[tuple[int, int]] = []
        sweep(measures, Crate(), AXES, chunk=7, progress=lambda done, lanes: seen.append((done, lanes)))
        done = [count for count, _ in seen]
        assert done == sorted(set(done))
        assert seen[-1] == (110, 110)

    def test_two_passes_count_as_one_whole(self) -> None:
        seen: list[tuple[int, int]] = []
        note = lambda done, lanes: seen.append((done, lanes))  # noqa: E731
        sweep(measures, Crate(), AXES, chunk=11, reduce="quantiles", progress=note)
        assert [count for count, _ in seen] == sorted(count for count, _ in seen)
        assert seen[-1] == (110, 110)


class TestStore:
    def test_equals_the_sweep_in_memory_and_is_labelled(self, tmp_path: Path) -> None:
        for mode, axes in (("grid", AXES), ("zip", {"weight": np.arange(1.0, 9), "box.width": np.arange(2.0, 10)})):
            stored = sweep(measures, Crate(), axes, mode=mode, chunk=3, store=tmp_path / mode)
            memory = sweep(measures, Crate(), axes, mode=mode, chunk=3)
            for name in memory.data_vars:
                np.testing.assert_array_equal(stored[name], memory[name])
                assert stored[name].attrs["units"] == memory[name].attrs["units"]
            assert set(stored.coords) == set(memory.coords)
            assert stored.attrs["complete"]
            assert stored.attrs["invalid_lanes"] == memory.attrs["invalid_lanes"]

    def test_an_interrupted_sweep_is_readable_and_continues_where_it_stopped(self, tmp_path: Path) -> None:
        class Stop(Exception):
            pass

        calls: list[int] = []

        def stop_after_five(done: int, lanes: int) -> None:
            calls.append(done)
            if len(calls) == 5:
                raise Stop

        path = tmp_path / "sweep.zarr"
        with pytest.raises(Stop):
            sweep(measures, Crate(), AXES, chunk=5, store=path, progress=stop_after_five)
        partial = open_dataset(path)
        full = sweep(measures, Crate(), AXES, chunk=5)
        found = np.isfinite(partial["volume"].values)
        assert 0 < found.sum() < found.size
        np.testing.assert_array_equal(partial["volume"].values[found], full["volume"].values[found])

        remaining: list[int] = []
        resumed = sweep(measures, Crate(), AXES, chunk=5, store=path, progress=lambda done, _: remaining.append(done))
        assert len(remaining) - 1 == 30 - 4  # four of thirty chunks were complete; the first call reports them
        assert remaining[-1] == 110
        np.testing.assert_array_equal(resumed["volume"], full["volume"])
        assert resumed.attrs["invalid_lanes"] == 0

    def test_a_complete_store_is_opened_without_work(self, tmp_path: Path) -> None:
        sweep(measures, Crate(), AXES, store=tmp_path / "s")
        before = {file: file.stat().st_mtime_ns for file in (tmp_path / "s").rglob("c/**/*") if file.is_file()}
        sweep(measures, Crate(), AXES, store=tmp_path / "s")
        assert before
        assert before == {file: file.stat().st_mtime_ns for file in before}

    @pytest.mark.parametrize(
        "change",
        [
            {"base": Crate(box=Box(height=4.0))},
            {"axes": {**AXES, "weight": np.array([1.0, 8.0])}},
            {"outputs": "volume"},
            {"dtype": "float16"},
            {"chunk": 2},
            {"model": lambda crate: {"volume": crate.weight, "density": crate.weight}},
        ],
        ids=lambda change: next(iter(change)),
    )
    def test_a_store_of_another_sweep_is_refused_and_left_alone(self, tmp_path: Path, change: dict[str, Any]) -> None:
        first = {"model": measures, "base": Crate(), "axes": AXES, "chunk": 5}
        sweep(**first, store=tmp_path / "s")
        with pytest.raises(ValueError, match="holds another sweep"):
            sweep(**{**first, **change}, store=tmp_path / "s")
        np.testing.assert_array_equal(open_dataset(tmp_path / "s")["volume"], sweep(**first)["volume"])

    def test_a_folder_with_something_else_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("mine")
        with pytest.raises(ValueError, match="exists and is not a sweep store"):
            sweep(measures, Crate(), AXES, store=tmp_path)
        assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]

    def test_survives_a_kill_at_any_moment(self, tmp_path: Path, x64: bool) -> None:
        """A process killed with SIGKILL at a random moment leaves a store that resumes to the identical result."""
        script = textwrap.dedent(f"""
            import sys, jax, numpy as np
            jax.config.update("jax_enable_x64", {x64})
            from jaxstake.analysis.sweep import sweep
            from jaxstake.economy.apr import apr
            from jaxstake.economy.scenario import Scenario
            stakes, uptimes = np.linspace(1e7, 5e7, 300), np.linspace(0.9, 1.0, 40)
            axes = {{"network.total_stake_eth": stakes, "validator.uptime": uptimes}}
            sweep(apr, Scenario(), axes, outputs="net", chunk=40, store=sys.argv[1],
                  progress=lambda done, lanes: print(done, flush=True))
        """)
        path, whole = tmp_path / "killed.zarr", tmp_path / "whole.zarr"
        with subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(40):
                process.stdout.readline()
            time.sleep(0.05)
            os.kill(process.pid, signal.SIGKILL)
        done = int(np.isfinite(open_dataset(path)["net"]).sum())
        assert 0 < done < 12000
        for target in (path, whole):
            subprocess.run([sys.executable, "-c", script, str(target)], check=True, stdout=subprocess.DEVNULL)
        np.testing.assert_array_equal(open_dataset(path)["net"], open_dataset(whole)["net"])
        assert open_dataset(path).attrs["invalid_lanes"] == 0
