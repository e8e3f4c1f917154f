"""Scenario files and settings: what they change, what they refuse, and that what is written reads back the same."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxstake.core import leaves
from jaxstake.core.domain import NON_NEGATIVE
from jaxstake.core.pytree import leaf, pytree
from jaxstake.data import mainnet, scenario_file
from jaxstake.data.scenario_file import apply_settings, dump, parse, read
from jaxstake.economy import block_value
from jaxstake.economy.block_value import LogNormal
from jaxstake.economy.scenario import Scenario
from jaxstake.protocol import forks

FORKS = [name for name in forks.NAMES if name != "phase0"]


def assert_same(found: Scenario, wanted: Scenario) -> None:
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    assert leaves.as_dict(found) == leaves.as_dict(wanted)


def changed(values: dict[str, Any], *, fork: str = "fulu") -> Scenario:
    return leaves.replace(Scenario(fork=forks.get(fork)), values)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", Scenario()),
        ("[network]\nparticipation = 0.9", changed({"network.participation": 0.9})),
        ("network.participation = 0.9", changed({"network.participation": 0.9})),
        ("[costs]\ncommission = 0\n[hazards]", changed({"costs.commission": 0.0})),
        ('fork = "capella"', changed({}, fork="capella")),
        ('[fork]\nname = "gloas"', changed({}, fork="gloas")),
        ("[fork]\nbase_reward_factor = 32", changed({"fork.base_reward_factor": 32.0})),
        ('[fork]\nname = "electra"\nproposer_weight = 4', changed({"fork.proposer_weight": 4.0}, fork="electra")),
        ('fork.name = "deneb"\nfork.preset = "minimal"', Scenario(fork=forks.get("deneb", preset="minimal"))),
        ('snapshot = "2023-12-31"', mainnet.scenario("2023-12-31")),
        ("snapshot = 2023-12-31", mainnet.scenario("2023-12-31")),
        (
            'snapshot = "2025-12-31"\nfork = "gloas"\n[validator]\nuptime = 1',
            leaves.replace(
                Scenario(network=mainnet.scenario("2025-12-31").network, fork=forks.get("gloas")),
                {"validator.uptime": 1.0},
            ),
        ),
        ('block_value = "2023-2024"', Scenario(block_value=mainnet.scenario("2023-12-31").block_value)),
        ("[block_value]\nlog_mean = -3", changed({"block_value.log_mean": -3.0})),
        (
            '[block_value]\nfamily = "LogNormal"\nlog_mean = -3\nlog_std = 1',
            Scenario(block_value=LogNormal(log_mean=-3.0, log_std=1.0)),
        ),
    ],
)
def test_reads_on_top_of_the_base(text: str, wanted: Scenario, tmp_path: Path) -> None:
    assert_same(parse(text), wanted)
    path = tmp_path / "scenario.toml"
    path.write_text(text)
    assert_same(read(path), wanted)
    assert all(isinstance(value, float) for value in leaves.as_dict(parse(text)).values())


def test_base_of_the_caller_and_the_snapshot_that_replaces_it() -> None:
    base = changed({"costs.commission": 0.1})
    assert_same(parse("[validator]\nuptime = 0.9", base=base), leaves.replace(base, {"validator.uptime": 0.9}))
    assert_same(parse('snapshot = "2023-12-31"', base=base), mainnet.scenario("2023-12-31"))


BAD_ENTRIES = [
    ("network.particpation", "0.9", "unknown leaf 'network.particpation'; did you mean network.participation"),
    ("participation", "0.9", "unknown leaf 'participation'; did you mean network.participation"),
    ("network", "0.9", "unknown leaf 'network'"),
    ("fork.min_per_epoch_churn_limit", "4", "unknown leaf 'fork.min_per_epoch_churn_limit'; did you mean fork.min_per"),
    ("fork.churn_rule", "4", "unknown leaf 'fork.churn_rule'"),
    ("validator.uptime", "1.2", "validator.uptime must be in [0, 1], got 1.2"),
    ("network.total_stake_eth", "31", "network.total_stake_eth must be at least validator.effective_balance_eth"),
    ("network.total_stake_eth", "nan", "network.total_stake_eth must be finite, got nan"),
    ("hazards.leak_epochs", "inf", "hazards.leak_epochs must be finite, got inf"),
]


@pytest.mark.parametrize(("name", "value", "message"), BAD_ENTRIES)
def test_refuses_bad_entries_in_files_and_settings_alike(name: str, value: str, message: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(f"mine.toml: {message}")):
        parse(f"{name} = {value}", source="mine.toml")
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        apply_settings(Scenario(), [f"{name}={value}"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('network.participation = "high"', "network.participation must be a number, got 'high'"),
        ("network.participation = true", "network.participation must be a number, got True"),
        ("network.participation = [0.9]", "network.participation must be a number, got [0.9]"),
        ("network.participation = 2025-12-31", "network.participation must be a number"),
        ('fork = "fullu"', "unknown fork 'fullu'; did you mean fulu"),
        ("fork = 7", "fork must be a name, got 7"),
        ('fork.preset = "minimal"', "fork.preset needs fork.name"),
        ('fork.name = "fulu"\nfork.preset = "tiny"', "unknown preset 'tiny'"),
        ('snapshot = "2024-05-05"', "no snapshot of 2024-05-05; there are 2023-12-31, 2025-12-31, 2026-08-22"),
        ("snapshot = 2024", "snapshot must be a name, got 2024"),
        ('block_value = "2025"', "unknown block value '2025'; did you mean"),
        ('block_value.family = "LogNormall"', "unknown block_value.family 'LogNormall'; did you mean LogNormal"),
        ("[networks]", "unknown table 'networks'; did you mean network"),
    ],
)
def test_refuses_bad_files(text: str, message: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(f"scenario: {message}")):
        parse(text)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[network\nx = 1", "line 1, column"),
        ("[network]\nparticipation 0.9", "line 2, column"),
        ("a = 1\na = 2\n", "line 2, column"),
    ],
)
def test_syntax_errors_are_one_line_with_file_and_position(text: str, place: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match="is not valid TOML") as caught:
        read(path)
    message = str(caught.value)
    assert not isinstance(caught.value, tomllib.TOMLDecodeError)
    assert message.startswith(f"{path} ")
    assert place in message
    assert "\n" not in message


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=re.escape(f"cannot read {tmp_path / 'none.toml'}: No such file")):
        read(tmp_path / "none.toml")
    with pytest.raises(ValueError, match="Is a directory"):
        read(tmp_path)
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="is not UTF-8 text"):
        read(tmp_path / "bytes.toml")


def test_settings() -> None:
    assert_same(apply_settings(Scenario(), []), Scenario())
    several = [
        "network.participation = 0.9",
        "fork=electra",
        "fork.base_reward_factor=32",
        "network.participation=1e-1",
    ]
    wanted = changed({"network.participation": 0.1, "fork.base_reward_factor": 32.0}, fork="electra")
    assert_same(apply_settings(Scenario(), several), wanted)
    assert apply_settings(Scenario(), ["block_value=2026"]).block_value == Scenario().block_value
    with pytest.raises(ValueError, match=r"a setting must be name=value, got 'network\.participation'"):
        apply_settings(Scenario(), ["network.participation"])
    with pytest.raises(ValueError, match=r"network\.participation must be a number, got 'high'"):
        apply_settings(Scenario(), ["network.participation=high"])
    with pytest.raises(ValueError, match=r"network\.participation must be a number, got ''"):
        apply_settings(Scenario(), ["network.participation="])


@pytest.mark.parametrize("fork", forks.NAMES)
@pytest.mark.parametrize("preset", ["mainnet", "minimal"])
def test_every_fork_reads_back(fork: str, preset: forks.Preset) -> None:
    scenario = Scenario(fork=forks.get(fork, preset=preset))
    assert_same(parse(dump(scenario)), scenario)


@pytest.mark.parametrize("day", ["2023-12-31", "2025-12-31", "2026-08-22"])
def test_every_snapshot_reads_back(day: str) -> None:
    assert_same(parse(dump(mainnet.scenario(day)), base=changed({"costs.commission": 0.5})), mainnet.scenario(day))


def in_domain(name: str) -> st.SearchStrategy[float]:
    """Values of a leaf that leave the whole scenario valid."""
    if name == "network.total_stake_eth":
        return st.floats(2_048.0, 1e12)
    if name == "validator.effective_balance_eth":
        return st.floats(1e-6, 32.0)
    domain = leaves.domains(Scenario()).get(name)
    if domain is None or domain.low == -float("inf"):
        return st.floats(-1e6, 1e6)
    high = domain.high if domain.high < float("inf") else 1e18
    return st.floats(domain.low, high, exclude_min=domain.open_low, exclude_max=domain.open_high)


NAMES = [name for name in leaves.names(Scenario()) if name not in ("fork.max_effective_balance_gwei",)]


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_any_scenario_reads_back_to_the_same_number_in_every_leaf(data: st.DataObject) -> None:
    fork = data.draw(st.sampled_from(FORKS))
    base = Scenario(fork=forks.get(fork))
    names = [name for name in NAMES if name in leaves.as_dict(base)]
    chosen = data.draw(st.lists(st.sampled_from(names), unique=True, max_size=12))
    scenario = leaves.replace(base, {name: data.draw(in_domain(name), label=name) for name in chosen})
    text = dump(scenario)
    assert_same(parse(text), scenario)
    assert dump(parse(text)) == text


@given(st.data())
@settings(deadline=None, max_examples=40)
def test_settings_equal_files(data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=5))
    values = {name: data.draw(in_domain(name), label=name) for name in chosen}
    text = "\n".join(f"{name} = {value!r}" for name, value in values.items())
    assert_same(apply_settings(Scenario(), [f"{name}={value!r}" for name, value in values.items()]), parse(text))


def test_arrays_without_axes_are_written_and_others_refused() -> None:
    arrays = jax.tree.map(lambda value: jnp.asarray(value, float), Scenario())
    again = parse(dump(arrays))
    assert {name: float(value) for name, value in leaves.as_dict(arrays).items()} == leaves.as_dict(again)
    for name in ("network.participation", "fork.base_reward_factor"):
        with pytest.raises(ValueError, match=re.escape(f"{name} must be one number to be written, got an array")):
            dump(changed({name: jnp.ones(3)}))
    with pytest.raises(ValueError, match=r"costs\.commission must be finite, got nan"):
        dump(changed({"costs.commission": float("nan")}))


def test_what_is_written_is_short_where_it_can_be() -> None:
    written = tomllib.loads(dump(Scenario()))
    assert written["fork"] == "fulu"
    assert written["block_value"]["family"] == "LogNormal"
    custom = tomllib.loads(dump(changed({"fork.base_reward_factor": 32.0})))
    assert custom["fork"] == {"name": "fulu", "preset": "mainnet", "base_reward_factor": 32.0}


@pytree
class Uniform:
    """A family that the package does not know."""

    low_eth: Any = leaf(unit="ETH", domain=NON_NEGATIVE)
    high_eth: Any = leaf(unit="ETH", domain=NON_NEGATIVE)


@block_value.mean.register
def _(distribution: Uniform) -> Any:
    return 0.5 * (distribution.low_eth + distribution.high_eth)


def test_a_registered_family_is_read_and_written_by_name() -> None:
    scenario = Scenario(block_value=Uniform(low_eth=0.0, high_eth=0.02))
    assert_same(parse(dump(scenario)), scenario)
    with pytest.raises(ValueError, match=r"block_value\.family 'Uniform' needs block_value\.high_eth"):
        parse('[block_value]\nfamily = "Uniform"\nlow_eth = 0')
    assert (
        parse('block_value.family = "Uniform"\nblock_value.low_eth = 0.01', base=scenario).block_value.high_eth == 0.02
    )


def test_the_example_of_the_module_reads() -> None:
    assert scenario_file.__doc__ is not None
    example = scenario_file.__doc__.split("::\n")[1].split("\nA table")[0]
    text = "\n".join(line.removeprefix("    ") for line in example.splitlines())
    result = parse(text)
    assert result.costs.commission == 0.1
    assert result.network.total_stake_eth == mainnet.snapshot("2025-12-31").total_stake_eth
