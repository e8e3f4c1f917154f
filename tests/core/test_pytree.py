from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstake.core import leaves
from jaxstake.core.domain import FRACTION, NON_NEGATIVE
from jaxstake.core.pytree import branch, data_fields, domain_of, leaf, meaning_of, pytree, static, unit_of


@pytree
class Inner:
    rate: float = leaf(unit="1/year", domain=NON_NEGATIVE, meaning="a rate")
    share: float = leaf(default=0.25, domain=FRACTION)


@pytree
class Outer:
    name: str = static(default="plain", meaning="a label")
    size: int = static(default=3)
    weight: float = leaf(default=2.0, unit="ETH")
    inner: Inner = branch(default_factory=lambda: Inner(rate=0.5))
    absent: float = leaf(default=None)


def value(outer: Outer):
    """2 * 0.5^2 + 0.25 * 3 = 1.25 by default."""
    return outer.weight * outer.inner.rate**2 + outer.inner.share * outer.size


def test_containers_are_frozen_and_keyword_only():
    outer = Outer()
    with pytest.raises(dataclasses.FrozenInstanceError):
        outer.weight = 3.0
    with pytest.raises(TypeError, match="positional"):
        Inner(0.1)
    with pytest.raises(TypeError, match="rate"):
        Inner()
    with pytest.raises(TypeError, match="unexpected keyword"):
        Outer(wieght=1.0)
    assert value(outer) == 1.25


def test_static_fields_are_structure_and_the_others_leaves():
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(Outer())]
    assert paths == [".weight", ".inner.rate", ".inner.share"]  # in the order of the fields; None is no leaf
    one, other, longer = (jax.tree.structure(Outer(**kw)) for kw in ({}, {"name": "other"}, {"size": 4}))
    assert len({one, other, longer}) == 3
    assert jax.tree.structure(Outer(weight=7.0)) == one
    assert jax.tree.structure(Outer(absent=1.0)) != one


def test_flatten_and_unflatten_take_anything_as_a_leaf():
    """JAX rebuilds containers around tracers, shapes, None and bare objects; none of them may be looked at."""
    outer = Outer()
    flat, structure = jax.tree.flatten(outer)
    for strange in (object(), None, "text", jnp.zeros((2, 3)), float("nan"), jax.ShapeDtypeStruct((2,), jnp.float32)):
        rebuilt = jax.tree.unflatten(structure, [strange] * len(flat))
        assert rebuilt.inner.rate is strange
        assert rebuilt.name == "plain"
    assert jax.tree.unflatten(structure, flat) == outer
    assert jax.tree.map(lambda x: x + 1, outer).weight == 3.0
    shapes = jax.eval_shape(lambda o: jax.tree.map(lambda x: jnp.stack([x, x]), o), outer)
    assert shapes.weight.shape == (2,)


def test_every_leaf_is_differentiable_and_static_fields_survive(tolerance):
    """d/dweight = rate^2, d/drate = 2 weight rate, d/dshare = size."""
    gradient = jax.jit(jax.grad(value))(Outer(weight=4.0, size=5, name="other"))
    found = [gradient.weight, gradient.inner.rate, gradient.inner.share]
    np.testing.assert_allclose([float(x) for x in found], [0.25, 4.0, 5.0], rtol=tolerance)
    assert (gradient.name, gradient.size, gradient.absent) == ("other", 5, None)
    along = jax.jvp(value, (Outer(),), (jax.tree.map(jnp.ones_like, Outer()),))[1]
    assert float(along) == pytest.approx(0.25 + 2.0 + 3.0, rel=tolerance)


def test_new_values_do_not_recompile_and_new_structure_does():
    traces = []

    @jax.jit
    def compiled(outer):
        traces.append(outer.size)
        return value(outer)

    results = [float(compiled(Outer(weight=w))) for w in (1.0, 2.0, 3.0)]
    assert results == [1.0, 1.25, 1.5]
    assert traces == [3]
    compiled(Outer(size=4))
    compiled(Outer(name="other"))
    assert traces == [3, 4, 3]


def test_vmap_over_a_structure_of_arrays():
    stacked = Outer(weight=jnp.asarray([1.0, 2.0, 3.0]), inner=Inner(rate=jnp.asarray([0.5, 1.0, 2.0])))
    axes = jax.tree.map(lambda x: 0 if jnp.ndim(x) else None, stacked)
    found = jax.jit(jax.vmap(value, in_axes=(axes,)))(stacked)
    assert found.tolist() == [1.0, 2.75, 12.75]
    gradient = jax.vmap(jax.grad(value), in_axes=(axes,))(stacked)
    assert gradient.inner.rate.tolist() == [1.0, 4.0, 12.0]
    result = jax.vmap(lambda x: Inner(rate=x, share=2 * x))(jnp.arange(3.0))
    assert isinstance(result, Inner)
    assert result.share.tolist() == [0.0, 2.0, 4.0]


def test_containers_pass_through_scan_and_cond():
    def step(inner, x):
        return Inner(rate=inner.rate + x, share=inner.share), inner.rate

    start = Inner(rate=jnp.asarray(0.0), share=jnp.asarray(0.5))
    last, history = jax.lax.scan(step, start, jnp.asarray([1.0, 2.0, 3.0]))
    assert float(last.rate) == 6.0
    assert history.tolist() == [0.0, 1.0, 3.0]
    chosen = jax.lax.cond(True, lambda i: i, lambda i: jax.tree.map(jnp.zeros_like, i), last)
    assert float(chosen.rate) == 6.0


def test_defaults_are_built_anew_and_replaced_by_copies():
    assert Outer().inner is not Outer().inner
    outer = Outer()
    changed = dataclasses.replace(outer, weight=9.0)
    assert (changed.weight, outer.weight) == (9.0, 2.0)
    assert changed.inner is outer.inner
    assert Outer() == Outer()
    assert Outer() != changed


def test_metadata_of_fields():
    fields = data_fields(Outer)
    assert list(fields) == ["weight", "inner", "absent"]
    assert list(data_fields(Outer())) == list(fields)
    rate = data_fields(Inner)["rate"]
    assert (unit_of(rate), domain_of(rate), meaning_of(rate)) == ("1/year", NON_NEGATIVE, "a rate")
    bare = fields["inner"]
    assert (unit_of(bare), domain_of(bare), meaning_of(bare)) == ("1", None, "")
    assert meaning_of({f.name: f for f in dataclasses.fields(Outer)}["name"]) == "a label"


def test_bad_values_are_not_refused_on_construction():
    """Domains are checked where a model starts, not here: construction also happens inside transformations."""
    assert Inner(rate=-1.0).rate == -1.0
    assert leaves.domains(Inner(rate=-1.0))["rate"] is NON_NEGATIVE
