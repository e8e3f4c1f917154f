from __future__ import annotations

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstake.core.sha256 import from_integer, require_bytes, sha256, to_hex

LONG = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"
NIST = {
    b"": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    b"abc": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    LONG: "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
}


def octets(message: bytes) -> np.ndarray:
    return np.frombuffer(message, np.uint8)


def hashlib_digest(message: np.ndarray) -> bytes:
    return hashlib.sha256(message.tobytes()).digest()


@pytest.mark.parametrize("message", NIST, ids=["empty", "24 bits", "448 bits"])
def test_nist_examples(message):
    digest = sha256(octets(message))
    assert isinstance(digest, jax.Array)
    assert (digest.shape, digest.dtype) == ((32,), jnp.uint8)
    assert to_hex(digest) == NIST[message]


def test_every_length_up_to_four_blocks_and_a_long_one(rng):
    """Eagerly, where lengths with as many blocks share all compiled pieces but one."""
    for length in [*range(201), 1000]:
        message = rng.integers(0, 256, length, np.uint8)
        assert np.asarray(sha256(message)).tobytes() == hashlib_digest(message), length


@pytest.mark.parametrize("fill", [0, 255])
@pytest.mark.parametrize("length", [55, 56, 64])
def test_uniform_bytes(fill, length):
    """All carries and none, on both sides of the length that needs another block."""
    message = np.full(length, fill, np.uint8)
    assert np.asarray(sha256(message)).tobytes() == hashlib_digest(message)


@pytest.mark.parametrize("length", [0, 96])
def test_modes_agree_bit_for_bit(rng, length):
    messages = jnp.asarray(rng.integers(0, 256, (5, length), np.uint8))
    eager = np.stack([sha256(message) for message in messages])
    compiled = jax.jit(sha256)
    np.testing.assert_array_equal(np.stack([compiled(message) for message in messages]), eager)
    np.testing.assert_array_equal(jax.vmap(sha256)(messages), eager)
    np.testing.assert_array_equal(jax.jit(jax.vmap(sha256))(messages), eager)


def test_maps_over_axes_and_over_nothing(rng):
    messages = rng.integers(0, 256, (2, 3, 32), np.uint8)
    digests = np.asarray(jax.vmap(jax.vmap(sha256))(messages))
    assert [digests[i, j].tobytes() for i, j in np.ndindex(2, 3)] == [
        hashlib_digest(messages[i, j]) for i, j in np.ndindex(2, 3)
    ]
    assert jax.vmap(sha256)(messages[0, :0]).shape == (0, 32)


def test_a_digest_can_be_hashed_again():
    assert to_hex(sha256(sha256(octets(b"abc")))) == hashlib.sha256(hashlib.sha256(b"abc").digest()).hexdigest()


@pytest.mark.parametrize(
    ("message", "error", "got"),
    [
        (b"abc", TypeError, "got bytes"),
        ([1, 2], TypeError, "got list"),
        (np.zeros(3, np.int32), TypeError, r"got int32 \[3\]"),
        (np.zeros(3, np.float32), TypeError, r"got float32 \[3\]"),
        (np.zeros(3, bool), TypeError, r"got bool \[3\]"),
        (np.uint8(3), ValueError, r"got uint8 \[\]"),
        (np.zeros((2, 32), np.uint8), ValueError, r"got uint8 \[2, 32\]"),
    ],
)
def test_what_is_no_string_of_bytes_is_refused(message, error, got):
    with pytest.raises(error, match=rf"message must be uint8 \[L\], {got}"):
        sha256(message)
    with pytest.raises(error, match=rf"octets must be uint8 \[L\], {got}"):
        to_hex(message)


def test_refused_while_traced_too():
    with pytest.raises(ValueError, match=r"message must be uint8 \[L\], got uint8 \[2, 32\]"):
        jax.jit(sha256)(np.zeros((2, 32), np.uint8))


def test_required_shapes():
    given = np.zeros((4, 31), np.uint8)
    assert require_bytes("table", given, shape=("N", 31)).shape == (4, 31)
    assert require_bytes("table", given, shape=("N", "L")).shape == (4, 31)
    with pytest.raises(ValueError, match=r"table must be uint8 \[N, 32\], got uint8 \[4, 31\]"):
        require_bytes("table", given, shape=("N", 32))
    with pytest.raises(ValueError, match=r"table must be uint8 \[N\], got uint8 \[4, 31\]"):
        require_bytes("table", given, shape=("N",))


def test_whole_numbers():
    for value in (0, 1, 0x1234567890ABCDEF, 2**256 - 1):
        found = from_integer(value)
        assert (found.shape, found.dtype) == ((32,), np.uint8)
        assert int(to_hex(found), 16) == value
    assert from_integer(0, length=0).shape == (0,)
    assert to_hex(from_integer(0, length=0)) == ""


@pytest.mark.parametrize(
    ("value", "length", "error", "message"),
    [
        (2**256, 32, ValueError, rf"value must be in \[0, 256\^32\), got {2**256}"),
        (256, 1, ValueError, r"value must be in \[0, 256\^1\), got 256"),
        (-1, 32, ValueError, r"value must be in \[0, 256\^32\), got -1"),
        (1.0, 32, TypeError, "value must be an integer, got float"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(value, length, error, message):
    with pytest.raises(error, match=message):
        from_integer(value, length=length)
