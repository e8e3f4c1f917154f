from __future__ import annotations

import functools
import hashlib
import json
import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstake.articles.apr_guide.randao import randao_entropy
from jaxstake.core.sha256 import from_integer, to_hex
from jaxstake.protocol.randao import randao_mix


def document(numbers: list[int]) -> tuple[int, str]:
    """The document's code, with the standard library."""
    exclusive_or = functools.reduce(operator.xor, numbers, 0)
    return exclusive_or, hashlib.sha256(exclusive_or.to_bytes(32, "big")).hexdigest()


def contributions(numbers: list[int]) -> np.ndarray:
    return np.stack([from_integer(number) for number in numbers])


def as_document(result) -> tuple[int, str]:
    return int(to_hex(result.exclusive_or), 16), to_hex(result.digest)


@pytest.fixture
def numbers(rng):
    """Seven numbers of 256 bits."""
    return [int.from_bytes(rng.bytes(32), "big") for _ in range(7)]


def test_printed_example(shared):
    printed = json.loads((shared / "published" / "published_tables.json").read_text())["randao"]
    numbers = [int(number, 16) for number in printed["inputs"]]
    result = randao_entropy(contributions=contributions(numbers))
    assert as_document(result) == (int(printed["xor"], 16), printed["sha256"])


def test_types(numbers):
    result = randao_entropy(contributions=contributions(numbers))
    for part in (result.exclusive_or, result.digest):
        assert (part.shape, part.dtype) == ((32,), jnp.uint8)


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_any_numbers(numbers, count):
    given = contributions(numbers)[:count]
    assert as_document(randao_entropy(contributions=given)) == document(numbers[:count])


def test_no_contribution_is_the_hash_of_zero():
    result = randao_entropy(contributions=np.zeros((0, 32), np.uint8))
    assert as_document(result) == (0, hashlib.sha256(bytes(32)).hexdigest())


@pytest.mark.parametrize("numbers", [[0], [2**256 - 1], [2**255, 1], [2**256 - 1] * 3])
def test_edges_of_the_range(numbers):
    assert as_document(randao_entropy(contributions=contributions(numbers))) == document(numbers)


def test_modes_agree_bit_for_bit(rng):
    batch = rng.integers(0, 256, (4, 3, 32), np.uint8)
    eager = [randao_entropy(contributions=lane) for lane in batch]
    compiled = jax.jit(lambda lane: randao_entropy(contributions=lane))
    mapped = jax.vmap(compiled)(batch)
    for i, lane in enumerate(batch):
        for found in (compiled(lane), jax.tree.map(lambda part, i=i: part[i], mapped)):
            assert as_document(found) == as_document(eager[i])


def test_equal_contributions_cancel(numbers):
    given = contributions(numbers)
    twice = randao_entropy(contributions=np.concatenate([given, given[2:3], given[2:3]]))
    assert as_document(twice) == document(numbers)
    pairs = randao_entropy(contributions=np.concatenate([given, given]))
    assert as_document(pairs)[0] == 0


def test_the_last_contributor_sets_the_outcome(numbers):
    """Knowing the others, it reaches any number: all but one honest do not suffice."""
    others = contributions(numbers)
    for wanted in (0, 42, 2**256 - 1):
        before = randao_entropy(contributions=others).exclusive_or
        own = np.asarray(before) ^ from_integer(wanted)
        result = randao_entropy(contributions=np.concatenate([others, own[None]]))
        assert as_document(result) == (wanted, hashlib.sha256(from_integer(wanted).tobytes()).hexdigest())


def test_the_protocol_hashes_before_it_mixes(numbers):
    """So the same choice of a last contribution misses its aim there."""
    others = contributions(numbers)
    mix = np.zeros(32, np.uint8)
    for other in others:
        mix = randao_mix(mix, reveal=other)
    own = np.asarray(mix) ^ from_integer(42)
    assert to_hex(randao_mix(mix, reveal=own)) != to_hex(from_integer(42))
    assert to_hex(mix) != to_hex(randao_entropy(contributions=others).exclusive_or)


@pytest.mark.parametrize(
    ("given", "error", "got"),
    [
        (np.zeros(32, np.uint8), ValueError, r"uint8 \[32\]"),
        (np.zeros((4, 33), np.uint8), ValueError, r"uint8 \[4, 33\]"),
        (np.zeros((4, 32), np.uint32), TypeError, r"uint32 \[4, 32\]"),
        ([1, 2], TypeError, "list"),
    ],
)
def test_other_types_are_refused(given, error, got):
    with pytest.raises(error, match=rf"contributions must be uint8 \[N, 32\], got {got}"):
        randao_entropy(contributions=given)
