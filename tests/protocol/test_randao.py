from __future__ import annotations

import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstake.protocol.randao import mix_all, randao_mix

SIGNATURE = 96


def xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


def mixed(mix: np.ndarray, reveals: np.ndarray) -> list[bytes]:
    """The mix before the first block and after each, by the standard library."""
    found = [mix.tobytes()]
    for reveal in reveals:
        found.append(xor(found[-1], hashlib.sha256(reveal.tobytes()).digest()))
    return found


@pytest.fixture
def mix(rng):
    return rng.integers(0, 256, 32, np.uint8)


@pytest.fixture
def reveals(rng):
    return rng.integers(0, 256, (8, SIGNATURE), np.uint8)


def test_block_by_block(mix, reveals):
    expected = mixed(mix, reveals)
    now = jnp.asarray(mix)
    for reveal, after in zip(reveals, expected[1:], strict=True):
        now = randao_mix(now, reveal=reveal)
        assert (now.shape, now.dtype) == ((32,), jnp.uint8)
        assert np.asarray(now).tobytes() == after


def test_all_at_once(mix, reveals):
    found = mix_all(mix, reveals=reveals)
    assert (found.shape, found.dtype) == ((32,), jnp.uint8)
    assert np.asarray(found).tobytes() == mixed(mix, reveals)[-1]
    np.testing.assert_array_equal(jax.jit(lambda m, r: mix_all(m, reveals=r))(mix, reveals), found)


def test_as_a_scan(mix, reveals):
    """The running mix after each block, as a simulation would keep it."""

    def block(now, reveal):
        after = randao_mix(now, reveal=reveal)
        return after, after

    _, running = jax.lax.scan(block, jnp.asarray(mix), jnp.asarray(reveals))
    assert [row.tobytes() for row in np.asarray(running)] == mixed(mix, reveals)[1:]


def test_order_does_not_matter(rng, mix, reveals):
    np.testing.assert_array_equal(mix_all(mix, reveals=rng.permutation(reveals)), mix_all(mix, reveals=reveals))


def test_no_block_leaves_the_mix(mix, reveals):
    np.testing.assert_array_equal(mix_all(mix, reveals=reveals[:0]), mix)


def test_the_same_reveal_twice_cancels(mix, reveals):
    """One validator that proposes twice in an epoch signs the same twice."""
    once = randao_mix(mix, reveal=reveals[0])
    np.testing.assert_array_equal(randao_mix(once, reveal=reveals[0]), mix)
    np.testing.assert_array_equal(mix_all(mix, reveals=np.tile(reveals[:4], (2, 1))), mix)


def test_a_withheld_reveal_leaves_one_other_outcome(mix, reveals):
    """What the last proposer chooses between."""
    withheld = mixed(mix, reveals[:-1])[-1]
    difference = xor(np.asarray(mix_all(mix, reveals=reveals)).tobytes(), withheld)
    assert difference == hashlib.sha256(reveals[-1].tobytes()).digest()


def test_lanes_are_independent(rng, reveals):
    mixes = rng.integers(0, 256, (5, 32), np.uint8)
    batch = rng.integers(0, 256, (5, 3, SIGNATURE), np.uint8)
    found = jax.jit(jax.vmap(lambda m, r: mix_all(m, reveals=r)))(mixes, batch)
    assert [row.tobytes() for row in np.asarray(found)] == [
        mixed(one, many)[-1] for one, many in zip(mixes, batch, strict=True)
    ]
    single = jax.vmap(lambda r: randao_mix(mixes[0], reveal=r))(reveals)
    assert [row.tobytes() for row in np.asarray(single)] == [mixed(mixes[0], reveals[i : i + 1])[-1] for i in range(8)]


def test_wrong_types_and_shapes_are_refused(mix, reveals):
    with pytest.raises(ValueError, match=r"mix must be uint8 \[32\], got uint8 \[31\]"):
        randao_mix(mix[1:], reveal=reveals[0])
    with pytest.raises(ValueError, match=r"reveal must be uint8 \[L\], got uint8 \[8, 96\]"):
        randao_mix(mix, reveal=reveals)
    signature: Any = b"signature"
    with pytest.raises(TypeError, match=r"reveal must be uint8 \[L\], got bytes"):
        randao_mix(mix, reveal=signature)
    with pytest.raises(TypeError, match=r"mix must be uint8 \[32\], got int32 \[32\]"):
        mix_all(mix.astype(np.int32), reveals=reveals)
    with pytest.raises(ValueError, match=r"reveals must be uint8 \[N, L\], got uint8 \[96\]"):
        mix_all(mix, reveals=reveals[0])
