"""Order statistics and percentiles of a vector: exact, differentiable, and without a sort of floats.

On a CPU XLA sorts floats through a comparator of several instructions, and integers six times faster. Every float has
an integer image of the same order, so a short vector is sorted as integers. A long one is not sorted: a sorted sample
brackets the wanted element, one pass counts what lies below the ends of the bracket, and the next sample is taken
inside it, until the sample holds all of the bracket.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxstake.core.pytree import pytree

LONGEST_SORT = 1 << 18
"""Up to this length sorting is as fast as selecting, or faster, on a CPU."""

MARGIN = 4.0
"""Standard deviations of a sample's quantile between its expectation and each end of the next bracket."""

FIRST_SAMPLE, SAMPLE = 1 << 16, 1 << 13
LONGEST = (1 << 31) - 1
_FAN = 16  # children of a node in the tree of counts; XLA unrolls a reduction of 16 elements, which then vectorises
_BLOCK = _FAN**3


@pytree
class _Cut:
    """A value of the integer image for each wanted rank, and how much of the vector is no greater.

    Attributes:
        key: [R] the value.
        groups: [B, R, 256] elements no greater in each group of 16; a group is a column of a block of [16, 256].
        count: [R] elements no greater.
    """

    key: Any
    groups: Any
    count: Any


def percentiles(x: jax.Array, *, levels: tuple[float, ...]) -> jax.Array:
    """Percentiles of a sample, linear between order statistics, as `numpy.percentile` has them by default.

    `x_(i) + (x_(i+1) - x_(i)) f` with `i + f = (N - 1) level / 100`, the order statistics counted from 0.

    Args:
        x: [N] floats, N > 0; vmap for more axes.
        levels: percent, each in [0, 100]; static.

    Returns:
        [len(levels)] in the unit and precision of `x`. NaN, all of them, if any element is. The gradient flows to
        the selected elements, and is shared among equal ones. A level that falls on an element is that element, also
        an infinite one, where NumPy has NaN.

    Raises:
        ValueError: `x` is not a vector, is empty or too long to count in 32 bits, or a level lies outside [0, 100].
        TypeError: `x` is not of floats.

    Example:
        >>> [f"{value:.2f}" for value in percentiles(jnp.asarray([3.0, 1.0, 2.0, 10.0]), levels=(50, 90))]
        ['2.50', '7.90']
    """
    if not all(0 <= level <= 100 for level in levels):
        raise ValueError(f"levels must be in [0, 100], got {levels}")
    places = [max(x.size - 1, 0) * (level / 100) for level in levels]
    lower, upper = [math.floor(place) for place in places], [math.ceil(place) for place in places]
    ranks = tuple(sorted({*lower, *upper}))
    found = order_statistics(x, ranks=ranks)
    low, high = (found[np.asarray([ranks.index(rank) for rank in side], int)] for side in (lower, upper))
    share = np.asarray([place - rank for place, rank in zip(places, lower, strict=True)])
    step = jnp.where(low == high, 0, high - low)
    near, far = low + step * share.astype(x.dtype), high - step * (1 - share).astype(x.dtype)
    return jnp.where(share < 0.5, near, far)


def order_statistics(x: jax.Array, *, ranks: tuple[int, ...]) -> jax.Array:
    """Elements of a vector by their rank, `numpy.sort(x)[ranks]` without NaN.

    Args:
        x: [N] floats, N > 0; vmap for more axes.
        ranks: each in [0, N), 0 for the smallest; static.

    Returns:
        [len(ranks)] elements of `x`, exactly. NaN, all of them, if any element is. The gradient flows to the selected
        elements, and is shared among equal ones.

    Raises:
        ValueError: `x` is not a vector, is empty or too long to count in 32 bits, or a rank lies outside [0, N).
        TypeError: `x` is not of floats.

    Example:
        >>> order_statistics(jnp.asarray([3.0, 1.0, 2.0]), ranks=(0, 2)).tolist()
        [1.0, 3.0]
    """
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"x must be an array of floats, got {x.dtype}")
    if x.ndim != 1 or not 0 < x.size <= LONGEST:
        raise ValueError(f"x must be a vector of 1 to {LONGEST} elements, got shape {x.shape}; vmap instead")
    if not all(0 <= rank < x.size for rank in ranks):
        raise ValueError(f"ranks must be in [0, {x.size}), got {ranks}")
    return _elements(x, ranks) if ranks else x[:0]


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _elements(x: jax.Array, ranks: tuple[int, ...]) -> jax.Array:
    return _by_sorting(x, ranks) if x.size <= LONGEST_SORT else _by_selection(x, ranks)


@_elements.defjvp
def _elements_jvp(ranks: tuple[int, ...], primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    """Equal elements could each have been the selected one: the mean of their tangents."""
    (x,), (dx,) = primals, tangents
    found = _elements(x, ranks)
    unknown = jnp.isnan(found)
    chosen = [(x == element) | nan for element, nan in zip(found, unknown, strict=True)]
    means = [jnp.sum(jnp.where(equal, dx, 0)) / jnp.sum(equal, dtype=dx.dtype) for equal in chosen]
    return found, jnp.stack(means) * jnp.where(unknown, jnp.nan, 1).astype(dx.dtype)


# --- Integer image --------------------------------------------------------------------------------------------------


def _integer(dtype: Any) -> Any:
    return np.dtype(f"int{8 * np.dtype(dtype).itemsize}")


def _flip(bits: jax.Array) -> jax.Array:
    """Bits of floats, read as integers, to integers of the same order, and back."""
    return jnp.where(bits < 0, bits ^ jnp.iinfo(bits.dtype).max, bits)


def _bits(x: jax.Array) -> jax.Array:
    return lax.bitcast_convert_type(x, _integer(x.dtype))


def _image(x: jax.Array) -> jax.Array:
    return _flip(_bits(x))


def _float(key: jax.Array, dtype: Any) -> jax.Array:
    return lax.bitcast_convert_type(_flip(key), dtype)


def _infinity(dtype: Any) -> jax.Array:
    """Image of infinity; that of its negative is the bitwise complement."""
    return _bits(jnp.asarray(jnp.inf, dtype))


# --- Short vectors --------------------------------------------------------------------------------------------------


def _by_sorting(x: jax.Array, ranks: tuple[int, ...]) -> jax.Array:
    ordered = jnp.sort(_image(x))
    valid = (ordered[0] >= ~_infinity(x.dtype)) & (ordered[-1] <= _infinity(x.dtype))
    return jnp.where(valid, _float(ordered[np.asarray(ranks)], x.dtype), jnp.nan)


# --- Long vectors ---------------------------------------------------------------------------------------------------


def _by_selection(x: jax.Array, ranks: tuple[int, ...]) -> jax.Array:
    """Of two successive ranks the first is searched, and the second follows it."""
    searched: list[int] = []
    for rank in sorted(set(ranks)):
        if rank - 1 not in searched:
            searched.append(rank)
    valid, found, after = _search(x, jnp.asarray(searched, jnp.int32))
    places = [searched.index(rank) if rank in searched else len(searched) + searched.index(rank - 1) for rank in ranks]
    return jnp.where(valid, _float(jnp.concatenate([found, after])[np.asarray(places)], x.dtype), jnp.nan)


def _search(x: jax.Array, ranks: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Narrow a bracket `low < element <= high` around each rank until a sample holds all of it.

    Returns:
        Whether no element is NaN, and [R] keys of the ranks and of those that follow them.
    """
    infinity = _infinity(x.dtype)
    ends = _cut(x, jnp.stack([~infinity - 1, infinity]))
    low, high = (_take(ends, np.full(ranks.size, side)) for side in (0, 1))
    first = jnp.sort(_image(x[:: -(-x.size // FIRST_SAMPLE)]))
    low, high = _narrow(x, low, high, jnp.tile(first, (ranks.size, 1)), ranks, MARGIN)

    def unfinished(state: Any) -> jax.Array:
        _, low, high, _ = state
        return jnp.any((high.count - low.count > SAMPLE) & (high.key - 1 > low.key))

    def turn(state: Any) -> Any:
        number, low, high, sample = state
        # Every other time both cuts are at one element, so that the bracket shrinks whatever the elements are.
        low, high = _narrow(x, low, high, sample, ranks, jnp.where(number % 2 == 0, MARGIN, 0.0))
        return number + 1, low, high, _sample(x, low, high)

    state = lax.while_loop(unfinished, turn, (jnp.int32(0), low, high, _sample(x, low, high)))
    _, low, high, sample = state
    place, inside = ranks - low.count, high.count - low.count
    equal = high.key - 1 == low.key
    found = jnp.where(equal, high.key, _pick(sample, place))
    following = place + 1 < inside
    beyond = lax.cond(jnp.all(following), lambda: high.key, lambda: _next(x, high.key))
    after = jnp.where(following, jnp.where(equal, high.key, _pick(sample, place + 1)), beyond)
    return ends.count[1] - ends.count[0] == x.size, found, after


def _narrow(x: jax.Array, low: _Cut, high: _Cut, sample: jax.Array, ranks: jax.Array, margin: Any) -> tuple[_Cut, _Cut]:
    """The part of each bracket that holds the rank: between two cuts around it in the sample, or beside them.

    Args:
        x: [N] the vector.
        low: cut below the elements of the bracket.
        high: cut above them.
        sample: [R, S] some of them, sorted, at least S in each unfinished bracket.
        ranks: [R] wanted.
        margin: standard deviations from the expected place in the sample to the cuts.
    """
    size, inside = sample.shape[1], high.count - low.count
    share = ((ranks - low.count).astype(float) + 0.5) / jnp.maximum(inside, 1).astype(float)
    spread = margin * jnp.sqrt(jnp.clip(share * (1 - share), 0.0) * size) + jnp.sign(margin)
    start, stop = (jnp.floor(share * size + way * spread).astype(jnp.int32) for way in (-1, 1))
    stop = jnp.where(margin > 0, stop, jnp.minimum(stop, size - 1))
    done = inside <= SAMPLE
    below = jnp.where(done | (start < 0), low.key, _pick(sample, start) - 1)
    above = jnp.where(done | (stop >= size), high.key, _pick(sample, stop))
    keys = jnp.clip(jnp.concatenate([below, above]), jnp.tile(low.key, 2), jnp.tile(high.key, 2))
    cuts = _cut(x, keys)
    first, second = (_take(cuts, np.arange(ranks.size) + ranks.size * side) for side in (0, 1))
    left, right = ranks < first.count, ranks >= second.count
    return _either(left, low, _either(right, second, first)), _either(left, first, _either(right, high, second))


def _sample(x: jax.Array, low: _Cut, high: _Cut) -> jax.Array:
    """[R, SAMPLE] elements between two cuts, sorted: all of them if they are so few, else at even steps of position."""
    inside = (high.groups - low.groups).astype(jnp.int32).reshape(-1, low.key.size, _FAN, _FAN)

    def one(tree: jax.Array, low_key: jax.Array, high_key: jax.Array) -> jax.Array:
        rows = jnp.sum(tree, axis=1, dtype=jnp.int32)
        blocks = jnp.sum(rows, axis=1, dtype=jnp.int32)
        ends = jnp.cumsum(blocks, dtype=jnp.int32)
        count, step = ends[-1], jnp.arange(SAMPLE, dtype=jnp.int32)
        wanted = jnp.where(count > SAMPLE, step * (count // SAMPLE) + step * (count % SAMPLE) // SAMPLE, step)
        block = jnp.minimum(jnp.searchsorted(ends, wanted, side="right"), ends.size - 1).astype(jnp.int32)
        rest = wanted - (ends - blocks)[block]
        column, rest = _descend(rows[block], rest)
        row, rest = _descend(tree[block, :, column], rest)
        start, steps = block * _BLOCK + row * _FAN + column, _FAN**2 * np.arange(_FAN, dtype=np.int32)[None]
        keys = _image(x[jnp.minimum(start[:, None] + steps, x.size - 1)])
        place, _ = _descend(((keys > low_key) & (keys <= high_key)).astype(jnp.int32), rest)
        largest = jnp.iinfo(keys.dtype).max
        return jnp.sort(jnp.where(step < count, _pick(keys, place), largest))

    return jax.vmap(one, in_axes=(1, 0, 0))(inside, low.key, high.key)


def _descend(counts: jax.Array, number: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Which of 16 children holds an element, and its number there: [S, 16] counts, [S] numbers from 0.

    A loop, because XLA on a CPU would fuse any other form into what follows and evaluate it 16 times over.
    """

    def pass_by(column: Any, state: Any) -> Any:
        passed, child, before = state
        passed = passed + lax.dynamic_index_in_dim(counts, column, axis=1, keepdims=False)
        beyond = passed <= number
        return passed, child + beyond.astype(jnp.int32), jnp.where(beyond, passed, before)

    zero = jnp.zeros_like(number)
    _, child, before = lax.fori_loop(0, _FAN - 1, pass_by, (zero, zero, zero), unroll=5)
    return child, number - before


def _cut(x: jax.Array, keys: jax.Array) -> _Cut:
    """Count the elements no greater than each of the keys, in groups of 16.

    For a key below 0 the image of each element is compared with its positive bits inverted, for others without: one
    exclusive or, and elements of the other sign fall on the right side either way.
    """
    mask = jnp.where(keys < 0, jnp.iinfo(keys.dtype).max, 0).astype(keys.dtype)
    x, mask = lax.optimization_barrier((x, mask))  # else XLA writes all bits to memory once, before a loop
    groups = jnp.concatenate(
        [jnp.sum((part ^ _across(mask)) <= _across(keys), axis=2, dtype=jnp.int8) for part in _blocks(x)]
    )
    rows = jnp.sum(groups.reshape(*groups.shape[:2], _FAN, _FAN), axis=2, dtype=jnp.int32)
    return _Cut(key=keys, groups=groups, count=jnp.sum(rows, axis=(0, 2), dtype=jnp.int32))


def _next(x: jax.Array, keys: jax.Array) -> jax.Array:
    """[R] smallest images greater than the keys."""
    largest = jnp.iinfo(keys.dtype).max
    least = []
    for part in _blocks(x):
        image = _flip(part)
        least.append(jnp.min(jnp.where(image > _across(keys), image, largest), axis=2))
    return jnp.min(jnp.concatenate(least), axis=(0, 2))


def _blocks(x: jax.Array) -> tuple[jax.Array, ...]:
    """Bits of the vector in blocks [B, 1, 16, 256], and the rest as one more, filled up with NaN; without a copy."""
    whole = x.size - x.size % _BLOCK
    rest = jnp.pad(x[whole:], (0, -x.size % _BLOCK), constant_values=jnp.nan)
    return tuple(_bits(part).reshape(-1, 1, _FAN, _FAN**2) for part in (x[:whole], rest))


def _across(values: jax.Array) -> jax.Array:
    """[K] values against blocks [B, 1, 16, 256]."""
    return values[None, :, None, None]


def _take(cuts: _Cut, which: np.ndarray) -> _Cut:
    return _Cut(key=cuts.key[which], groups=cuts.groups[:, which], count=cuts.count[which])


def _either(condition: jax.Array, one: _Cut, other: _Cut) -> _Cut:
    return _Cut(
        key=jnp.where(condition, one.key, other.key),
        groups=jnp.where(condition[None, :, None], one.groups, other.groups),
        count=jnp.where(condition, one.count, other.count),
    )


def _pick(values: jax.Array, places: jax.Array) -> jax.Array:
    """Of each row of [R, S] the element at [R] places."""
    return jnp.take_along_axis(values, jnp.clip(places, 0, values.shape[1] - 1)[:, None], axis=1)[:, 0]
