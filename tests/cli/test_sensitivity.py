"""`jaxstake sensitivity`."""

from __future__ import annotations

import jax
import pytest

from jaxstake.core import leaves
from jaxstake.economy.apr import apr
from jaxstake.economy.scenario import Scenario

STAKE = "network.total_stake_eth"


def test_json_holds_every_leaf(cli):
    result = cli("sensitivity", "--json")
    assert result.code == 0
    assert result.err == ""
    found = result.json
    assert set(found) == {"output", "value", "gradient", "elasticity"}
    assert found["output"] == "net"
    assert list(found["gradient"]) == list(found["elasticity"]) == leaves.names(Scenario())


def test_gradient_is_that_of_jax_and_of_finite_differences(cli):
    found = cli("sensitivity", "--json", "--output", "gross").json
    with jax.enable_x64(True):
        base = Scenario()
        exact = jax.grad(lambda scenario: apr(scenario).gross)(base)
        step = 1e3
        ends = [
            float(apr(leaves.replace(base, {STAKE: base.network.total_stake_eth + sign * step})).gross)
            for sign in (-1, 1)
        ]
    slope = float(exact.network.total_stake_eth)
    assert found["gradient"][STAKE] == pytest.approx(slope, rel=1e-12)
    assert found["gradient"][STAKE] == pytest.approx((ends[1] - ends[0]) / (2 * step), rel=1e-6)
    expected = slope * base.network.total_stake_eth / found["value"]
    assert found["elasticity"][STAKE] == pytest.approx(expected, rel=1e-9)


def test_hessian_by_pair_of_leaves(cli):
    names = (STAKE, "validator.uptime")
    found = cli("sensitivity", "--json", "--hessian", "--leaf", names[0], "--leaf", names[1]).json
    assert list(found["gradient"]) == list(names)
    assert {name: list(row) for name, row in found["hessian"].items()} == {name: list(names) for name in names}
    assert found["hessian"][names[0]][names[1]] == pytest.approx(found["hessian"][names[1]][names[0]], rel=1e-9)
    assert found["hessian"][STAKE][STAKE] > 0


def test_no_number_that_json_lacks(cli):
    found = cli("sensitivity", "--json", "--output", "tips", "--leaf", STAKE).json
    assert found["value"] == 0.0
    assert found["elasticity"][STAKE] is None


def test_table_starts_with_the_largest_elasticity(cli):
    result = cli("sensitivity", "--leaf", "costs.commission", "--leaf", STAKE, "--hessian")
    rows = [line for line in result.out.splitlines() if line.startswith("│")]
    assert rows[0].split("│")[1].strip() == STAKE
    assert "Second derivatives" in result.out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--output", "nett"], ["unknown output 'nett'", "net"]),
        (["--leaf", "validator.uptme"], ["unknown leaf 'validator.uptme'", "validator.uptime"]),
        (["--set", "validator.uptime=1.5"], ["validator.uptime must be in [0, 1]", "1.5"]),
    ],
)
def test_bad_input_is_one_line(refused, options, words):
    message = refused("sensitivity", *options)
    for word in words:
        assert word in message
