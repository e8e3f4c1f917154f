"""Chunks cover a sweep exactly once, in one shape."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxstake.analysis.layout import chunk_at, coordinates, lane_of, plan, values_at

shapes = st.lists(st.integers(1, 7), min_size=1, max_size=4)


def _axes(shape: list[int]) -> dict[str, np.ndarray]:
    return {f"axis{i}": np.arange(n) + 10.0 * i for i, n in enumerate(shape)}


@settings(deadline=None, max_examples=200)
@given(shapes, st.integers(1, 60))
def test_grid_chunks_tile_the_grid(shape: list[int], most: int) -> None:
    axes = _axes(shape)
    layout = plan(axes, mode="grid", chunk=most)
    assert layout.chunk_lanes <= most
    assert layout.lanes == np.prod(shape)
    seen = np.zeros(shape, int)
    for index in range(layout.chunks):
        chunk = chunk_at(layout, index)
        seen[chunk.region] += 1
        values = values_at(layout, axes, chunk)
        trailing = [np.shape(values[name]) for name in layout.names[layout.split :]]
        assert trailing == [(n,) for n in layout.chunk_shape]
        assert all(np.ndim(values[name]) == 0 for name in layout.names[: layout.split])
    np.testing.assert_array_equal(seen, 1)


@settings(deadline=None, max_examples=100)
@given(shapes, st.integers(1, 60), st.data())
def test_a_position_in_a_chunk_is_the_lane_that_NumPy_counts(shape: list[int], most: int, data: st.DataObject) -> None:
    axes = _axes(shape)
    layout = plan(axes, mode="grid", chunk=most)
    chunk = chunk_at(layout, data.draw(st.integers(0, layout.chunks - 1)))
    numbers = np.arange(layout.lanes).reshape(shape)[chunk.region].reshape(-1)
    position = data.draw(st.integers(0, len(numbers) - 1))
    assert lane_of(layout, chunk, position) == numbers[position]
    where = np.unravel_index(numbers[position], shape)
    expected = {name: axes[name][place] for name, place in zip(axes, where, strict=True)}
    assert coordinates(layout, axes, int(numbers[position])) == expected


@pytest.mark.parametrize(("lanes", "most"), [(1, 1), (10, 3), (12, 4), (5, 100)])
def test_zip_chunks_tile_the_lanes(lanes: int, most: int) -> None:
    axes = {"a": np.arange(lanes) * 1.0, "b": -np.arange(lanes) * 1.0}
    layout = plan(axes, mode="zip", chunk=most)
    found = []
    for index in range(layout.chunks):
        chunk = chunk_at(layout, index)
        values = values_at(layout, axes, chunk)
        assert len(values["a"]) == layout.block <= most
        np.testing.assert_array_equal(values["b"], -values["a"])
        found.append(values["a"][: chunk.length])
        assert lane_of(layout, chunk, 0) == values["a"][0]
    np.testing.assert_array_equal(np.concatenate(found), axes["a"])
    assert coordinates(layout, axes, lanes - 1) == {"a": lanes - 1.0, "b": 1.0 - lanes}


def test_lane_numbers_exceed_64_bits_without_wrapping() -> None:
    axes = {f"axis{i}": np.arange(2.0**13) for i in range(6)}
    layout = plan(axes, mode="grid", chunk=1 << 18)
    last = chunk_at(layout, layout.chunks - 1)
    lane = lane_of(layout, last, layout.chunk_lanes - 1)
    assert lane == 2**78 - 1
    assert coordinates(layout, axes, lane) == dict.fromkeys(axes, 8191.0)
