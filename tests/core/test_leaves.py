from __future__ import annotations

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

from jaxstake.core import leaves
from jaxstake.core.domain import FRACTION, POSITIVE
from jaxstake.core.pytree import branch, leaf, pytree, static


@pytree
class Network:
    label: str = static(default="net")
    total_stake_eth: float = leaf(default=3e7, unit="ETH", domain=POSITIVE, meaning="stake of all")
    supply_eth: float = leaf(default=1.2e8, unit="ETH")


@pytree
class Costs:
    yearly_eth: float = leaf(default=0.1, unit="ETH/year")
    share: float = leaf(default=0.2, domain=FRACTION, meaning="a share")
    optional: float = leaf(default=None, unit="ETH")


@pytree
class Model:
    network: Network = branch(default_factory=Network)
    costs: Costs = branch(default_factory=Costs)
    extra: dict = branch(default_factory=lambda: {"first": 1.0, "more": {"second": 2.0}})


NAMES = [
    "network.total_stake_eth", "network.supply_eth", "costs.yearly_eth", "costs.share",
    "extra.first", "extra.more.second",
]  # fmt: skip


def test_names_are_the_leaves_in_the_order_of_the_fields():
    model = Model()
    assert leaves.names(model) == NAMES
    assert leaves.names(Costs(optional=5.0)) == ["yearly_eth", "share", "optional"]
    assert leaves.names({"b": 1.0, "a": Costs()}) == ["b", "a.yearly_eth", "a.share"]
    assert leaves.names(3.0) == [""]
    assert leaves.names(None) == []
    assert leaves.names([1.0, 2.0]) == [""]  # neither container nor mapping: one leaf


def test_get_and_as_dict():
    model = Model()
    assert leaves.get(model, "extra.more.second") == 2.0
    assert leaves.as_dict(model) == dict(zip(NAMES, [3e7, 1.2e8, 0.1, 0.2, 1.0, 2.0], strict=True))
    assert leaves.get(7.0, "") == 7.0


def test_replace_copies_and_leaves_the_rest_alone():
    model = Model()
    changed = leaves.replace(model, {"costs.share": 0.5, "extra.more.second": 9.0})
    assert leaves.as_dict(changed) == leaves.as_dict(model) | {"costs.share": 0.5, "extra.more.second": 9.0}
    assert leaves.get(model, "costs.share") == 0.2
    assert changed.network is model.network
    assert changed.network.label == "net"
    assert leaves.replace(model, {}) == model
    assert leaves.replace(7.0, {"": 8.0}) == 8.0


def test_replace_keeps_the_keys_of_mappings():
    """Keys need not be text, and may contain dots themselves."""
    table = {1: 10.0, "a.b": {"c": 20.0}}
    assert leaves.names(table) == ["1", "a.b.c"]
    assert leaves.replace(table, {"1": 11.0, "a.b.c": 21.0}) == {1: 11.0, "a.b": {"c": 21.0}}
    assert table == {1: 10.0, "a.b": {"c": 20.0}}


def test_metadata_by_name():
    model = Model()
    assert leaves.units(model) == dict(zip(NAMES, ["ETH", "ETH", "ETH/year", "1", "1", "1"], strict=True))
    assert leaves.domains(model) == {"network.total_stake_eth": POSITIVE, "costs.share": FRACTION}
    meanings = leaves.meanings(model)
    assert set(meanings) == set(NAMES)
    assert (meanings["network.total_stake_eth"], meanings["extra.first"]) == ("stake of all", "")


@pytest.mark.parametrize(
    ("name", "hints"),
    [
        ("costs.shore", ["costs.share"]),
        ("total_stake_eth", ["network.total_stake_eth"]),  # the last part alone
        ("network.totl_stake", ["network.total_stake_eth"]),
        ("cost.yearly_eht", ["costs.yearly_eth"]),
    ],
)
def test_unknown_names_list_the_nearest(name, hints):
    for call in (lambda: leaves.get(Model(), name), lambda: leaves.replace(Model(), {name: 1.0})):
        with pytest.raises(ValueError, match=rf"^unknown leaf '{name}'; did you mean ") as caught:
            call()
        assert all(hint in str(caught.value) for hint in hints)


@pytest.mark.parametrize("name", ["zzz", "network", "network.label", "costs.optional", "costs.share.deeper", ""])
def test_what_is_no_leaf_is_unknown(name):
    """A branch, a static field, a field that is None, and something below a leaf are no leaves."""
    with pytest.raises(ValueError, match=r"^unknown leaf"):
        leaves.get(Model(), name)
    with pytest.raises(ValueError, match=r"^unknown leaf"):
        leaves.replace(Model(), {"costs.share": 0.1, name: 1.0})


def test_unknown_without_neighbours_lists_what_there_is():
    assert leaves.unknown_name("fork", "qqq", ["altair", "deneb"]) == "unknown fork 'qqq'; known: altair, deneb"


def test_leaves_work_inside_transformations():
    def product(model, share):
        return leaves.get(leaves.replace(model, {"costs.share": share}), "costs.share") * model.costs.yearly_eth

    assert float(jax.jit(product)(Model(), 0.5)) == pytest.approx(0.05)
    assert float(jax.grad(product, argnums=1)(Model(), 0.5)) == pytest.approx(0.1)
    assert jax.vmap(product, in_axes=(None, 0))(Model(), jnp.asarray([1.0, 2.0])).shape == (2,)
    gradient = jax.grad(lambda m: product(m, 0.5))(Model())
    assert leaves.names(gradient) == NAMES
    assert leaves.get(gradient, "costs.yearly_eth") == 0.5


keys = st.text(alphabet="abcdefg_", min_size=1, max_size=4)
trees = st.recursive(
    st.floats(allow_nan=False), lambda children: st.dictionaries(keys, children, max_size=4), max_leaves=12
)


@given(tree=trees)
def test_round_trip_of_any_tree(tree):
    """Reading all leaves and writing them back changes nothing, others are read back, JAX sees the same leaves."""
    flat = leaves.as_dict(tree)
    assert leaves.replace(tree, flat) == tree
    assert list(flat) == leaves.names(tree)
    assert sorted(flat.values()) == sorted(jax.tree.leaves(tree))
    changed = {name: float(place) for place, name in enumerate(flat)}
    written = leaves.replace(tree, changed)
    assert leaves.as_dict(written) == changed
    assert jax.tree.structure(written) == jax.tree.structure(tree)


@given(values=st.lists(st.floats(allow_nan=False), min_size=6, max_size=6), chosen=st.sets(st.sampled_from(NAMES)))
def test_replacing_some_changes_those_only(values, chosen):
    new = {name: value for name, value in zip(NAMES, values, strict=True) if name in chosen}
    before, after = leaves.as_dict(Model()), leaves.as_dict(leaves.replace(Model(), new))
    assert after == before | new
    assert np.all([after[name] == before[name] for name in NAMES if name not in chosen])
