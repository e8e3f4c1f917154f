"""Files that describe simulations: what ships, what they mean in rows and epochs, and what is refused."""

from __future__ import annotations

import dataclasses
import math
import re
import textwrap
import tomllib
from importlib import resources

import jax
import numpy as np
import pytest

from jaxstake.data import simulation_file, simulation_notes, simulation_setup
from jaxstake.data.simulation_file import NAMES, parse, read
from jaxstake.economy import block_value

BASE = "epochs = 8\n[registry]\nvalidators = 200\n"


def _shipped(name):
    return (resources.files("jaxstake.data") / "simulations" / f"{name}.toml").read_text()


def test_every_file_that_ships_is_named():
    folder = resources.files("jaxstake.data") / "simulations"
    assert {entry.name for entry in folder.iterdir()} == {f"{name}.toml" for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_what_ships_says_what_every_number_is(name):
    lines = _shipped(name).splitlines()
    bare = [line for line in lines if "=" in line and not line.startswith(("#", "title")) and "#" not in line]
    assert bare == []
    assert lines[0].startswith("# ")


@pytest.mark.parametrize("name", NAMES)
def test_options_are_stronger_than_the_file(name):
    plan = read(name, overrides={"validators": 640, "epochs": 9, "seed": 5, "record_every": 3})
    assert (plan.registry["validators"], plan.epochs, plan.seed, plan.record_every) == (640, 9, 5, 3)
    whole, table = read(name), tomllib.loads(_shipped(name))
    assert whole.epochs == 225 * table["days"]
    assert whole.registry["validators"] == table["registry"]["validators"]


def test_the_five_do_what_their_names_say():
    bug, majority, slashing, merge = (read(name) for name in NAMES[1:])
    n = bug.registry["validators"]
    (away,) = bug.schedules["offline"]
    assert away["count"] / n == pytest.approx(1 / 3, abs=1e-3)
    assert away["count"] > n / 3
    assert away["to_epoch"] - away["from_epoch"] == 7 * 225
    (away,) = majority.schedules["offline"]
    assert (away["count"] / n, away["until_finality"]) == (pytest.approx(0.6, abs=1e-4), True)
    (event,) = slashing.schedules["slashings"]
    assert event["count"] == event["per_epoch"] == n // 10
    (merge_entry,) = merge.schedules["merges"]
    assert (merge_entry["group"], merge_entry["count"]) == (64, merge.registry["validators"])


def test_shares_and_days_are_rows_and_epochs():
    text = BASE + (
        "[[offline]]\nfirst_share = 0.25\nshare = 0.5\nfrom_day = 2\ndays = 0.2\n"
        "[[exits]]\nfirst = 7\ncount = 10\nfrom_epoch = 3\nepochs = 4\n"
        "[[slashings]]\nshare = 0.1\n"
        "[[deposits]]\nstake_share = 0.1\namount_eth = 64\nper_epoch = 3\n"
    )
    found = parse(text).schedules
    assert found["offline"] == [
        {"first": 50, "count": 100, "from_epoch": 450, "to_epoch": 495, "until_finality": False}
    ]
    assert found["exits"] == [{"first": 7, "count": 10, "from_epoch": 3, "per_epoch": 10, "every": 4}]
    assert found["slashings"] == [{"first": 0, "count": 20, "from_epoch": 0, "per_epoch": 20, "every": 1}]
    assert found["deposits"] == [
        {
            "from_epoch": 0,
            "to_epoch": 4,
            "count": 10,
            "amount": 64 * 10**9,
            "per_epoch": 3,
            "every": 1,
            "cred_prefix": 2,
        }
    ]
    slow = parse(f"{BASE}[[slashings]]\nshare = 0.1\nevery = 9\n").schedules["slashings"]
    assert slow == [{"first": 0, "count": 20, "from_epoch": 0, "per_epoch": 1, "every": 9}]
    minimal = parse('preset = "minimal"\ndays = 1\n[registry]\nvalidators = 64\n')
    assert minimal.epochs == 1800


@pytest.mark.parametrize(
    ("validators", "compounding"), [(901_697, 6_634), (20_620, 20_619), (1_000, 1_000), (2_000_000, 0)]
)
def test_the_registry_comes_as_close_to_a_stake_as_it_can(validators, compounding):
    plan = read("normal-year", overrides={"validators": validators})
    assert plan.registry["compounding"] == compounding


def test_block_values_of_a_mean_and_a_median():
    value = read("client-bug").block_value
    assert np.exp(value["log_mean"]) == pytest.approx(0.011)
    assert np.exp(value["log_mean"] + value["log_std"] ** 2 / 2) == pytest.approx(0.015)
    assert parse(BASE).block_value is None


@pytest.mark.parametrize(
    "family",
    [
        block_value.LogNormalMixture(
            first_log_mean=-3.0, first_log_std=0.5, second_log_mean=-1.0, second_log_std=1.0, second_share=0.2
        ),
        block_value.SkewLogNormal(log_location=-3.0, log_scale=1.0, log_shape=2.0),
        block_value.LogNormalPareto(
            log_mean=-3.0, log_std=0.7, threshold_eth=0.1, tail_share=0.2, tail_scale_eth=0.07, tail_shape=0.3
        ),
    ],
    ids=lambda family: type(family).__name__,
)
def test_block_values_of_any_family(x64, family):
    """Draws of the sampler have the mean of the family, within five standard errors."""
    if not x64:
        pytest.skip("needs double precision")
    lines = [f"{name} = {value}" for name, value in dataclasses.asdict(family).items()]
    text = f'{BASE}[block_value]\nfamily = "{type(family).__name__}"\n' + "\n".join(lines)
    sampler = simulation_setup.build(parse(text)).sample_block_value
    drawn = np.asarray(sampler(jax.random.key(1), (100_000,)))
    error = math.sqrt(float(block_value.variance(family)) / drawn.size)
    assert abs(drawn.mean() - float(block_value.mean(family))) < 5 * error
    assert sampler == simulation_setup.build(parse(text)).sample_block_value


def test_the_example_of_the_documentation_is_a_simulation(x64):
    """With every key that there is, but those of merges and those that exclude another."""
    text = textwrap.dedent(simulation_file.__doc__.partition("::\n")[2].partition("Slashings, exits")[0])
    plan = parse(text)
    assert {kind for kind, entries in plan.schedules.items() if entries} == {"offline", "exits", "deposits"}
    assert plan.block_value["family"] == "LogNormalPareto"
    if x64:
        setup = simulation_setup.build(plan)
        assert setup.traced == (0, 20_000)
        assert simulation_notes.notes(plan) == []


def test_rarer_chances_follow_the_likelier_ones():
    assert parse(BASE + "[chances]\nsource = 0.9").chances == {"source": 0.9, "target": 0.9, "head": 0.9}
    assert parse(BASE + "[chances]\ntarget = 0.9\nhead = 0.8").chances == {"target": 0.9, "head": 0.8}


@pytest.mark.usefixtures("only_x64")
def test_what_cannot_happen_is_noted():
    def notes(text):
        return simulation_notes.notes(parse(text))

    assert notes(BASE + "stake_eth = 6400\n[[exits]]\nshare = 0.1") == []
    (note,) = notes(BASE + "stake_eth = 42e6")
    assert "200 validators hold 409,600 ETH, not the 42,000,000 of registry.stake_eth" in note
    (note,) = notes(BASE + "[[offline]]\nshare = 0.1\nfrom_epoch = 8\nepochs = 2")
    assert note == "nothing comes of offline[0]: it starts after 8 epochs, the simulation ends after 8"
    crowd = "epochs = 8\n[registry]\nvalidators = 2000\n[[exits]]\nshare = 1\nepochs = 3\n"
    (note,) = notes(crowd)
    assert "exits[0] has 667 in an epoch, where blocks have room for 512 exits" in note
    assert notes(crowd.replace("epochs = 3", "epochs = 4")) == []
    (note,) = notes(BASE + "[[deposits]]\ncount = 1\namount_eth = 31")
    assert "the validators of deposits[0] never become active: that takes 32 ETH, and they have 31" in note


def test_rows_may_be_traced():
    assert parse("traced = [3, 199]\n" + BASE).traced == [3, 199]
    assert parse(BASE, overrides={"traced": [7]}).traced == [7]
    assert parse(BASE).traced == []


BAD = [
    ("epochs = = 1", ["not valid TOML", "line 1"]),
    ("[registry]\nvalidators = 9", ["days or epochs must be given"]),
    ("epochs = 8", ["registry.validators must be given"]),
    ("days = 1\n" + BASE, ["days and epochs must not be given together"]),
    ("records = 3\n" + BASE, ["unknown key 'records'", "record_every"]),
    ("record_every = 0\n" + BASE, ["record_every must be at least 1, got 0"]),
    ("seed = 1.5\n" + BASE, ["seed must be a whole number, got 1.5"]),
    ("title = 3\n" + BASE, ["title must be text, got 3"]),
    ('fork = "phase0"\n' + BASE, ["unknown fork 'phase0'"]),
    ('fork = "fulo"\n' + BASE, ["unknown fork 'fulo'", "fulu"]),
    ('preset = "mini"\n' + BASE, ["unknown preset 'mini'", "minimal"]),
    (BASE + "compounding = 0.5", ["unknown key of registry 'compounding'", "compounding_share"]),
    (BASE + "compounding_share = 1.5", ["registry.compounding_share must be in [0, 1], got 1.5"]),
    (BASE + "compounding_share = 0.1\nstake_eth = 1e4", ["compounding_share and stake_eth", "together"]),
    (BASE + "compounding_balance_eth = 4096", ["compounding_balance_eth must be at most 2048, got 4096"]),
    (BASE + "[chances]\nhaed = 1", ["unknown key of chances 'haed'", "head"]),
    (BASE + "[chances]\nhead = 1.01", ["chances.head must be in [0, 1], got 1.01"]),
    (BASE + "[chances]\nhead = [0.9, 0.8]", ["chances.head must be one number or one for each of the 200", "got 2"]),
    (BASE + "[chances]\nhead = [0.9, '1']", ["chances.head[1] must be a number, got '1'"]),
    (BASE + "[block_value]\nmedian_eth = 0.01", ["median_eth and mean_eth and no more, got median_eth"]),
    (
        BASE + "[block_value]\nlog_mean = -3\nlog_std = 1\nmean_eth = 0.1",
        ["mean_eth and no more, got log_mean, log_std"],
    ),
    (BASE + "[block_value]\nlog_mean = -3", ["LogNormal must hold log_mean, log_std (or median_eth", "got no log_std"]),
    (BASE + "[block_value]\nlog_maen = -3", ["unknown key of block_value 'log_maen'", "log_mean"]),
    (BASE + "[block_value]\nfamily = 'Pareto'", ["unknown block_value.family 'Pareto'", "LogNormalPareto"]),
    (
        BASE + "[block_value]\nfamily = 'SkewLogNormal'\nlog_location = -3\nlog_scale = 0\nlog_shape = 1",
        ["block_value.log_scale must be greater than 0 and finite, got 0"],
    ),
    (BASE + "[block_value]\nfamily = 'SkewLogNormal'\nmedian_eth = 1", ["unknown key of block_value 'median_eth'"]),
    ("epochs = 8\n[registry]\nvalidators = 16777217", ["registry.validators must be at most 16777216, got 16777217"]),
    ("days = 1e8\n[registry]\nvalidators = 9", ["days must be at most 9,544,372, got 1e+08"]),
    ("traced = 3\n" + BASE, ["traced must be a list of rows, got 3"]),
    ("traced = [1, 200]\n" + BASE, ["traced[1] must be at most 199, got 200"]),
    ("traced = [5, 5]\n" + BASE, ["traced must name each row once, got [5, 5]"]),
    (BASE + "[[exits]]\nshare = 0.5\nevery = 0", ["exits[0].every must be at least 1, got 0"]),
    (BASE + "[[exits]]\nshare = 0.5\nepochs = 4\nevery = 2", ["every and epochs", "exits[0]"]),
    (BASE + "[block_value]\nmedian_eth = 0.2\nmean_eth = 0.1", ["mean_eth must be at least median_eth = 0.2, got 0.1"]),
    (
        BASE + "[block_value]\nlog_mean = -3\nlog_std = -1",
        ["block_value.log_std must be at least 0 and", "got -1"],
    ),
    (
        BASE + "[outages]\nshares = [0.5, 0.1]\noutage_chance = [0.1]\nrecovery_chance = [0.1, 0.1]",
        ["outages.outage_chance must be as long as shares (2), got length 1"],
    ),
    (
        BASE + "[outages]\nshares = [0.6, 0.6]\noutage_chance = [0.1, 0.1]\nrecovery_chance = [0.1, 0.1]",
        ["outages.shares must add up to at most 1, got 1.2"],
    ),
    (BASE + "[offline]\nshare = 0.5", ["offline must be a list of tables, [[offline]]"]),
    (BASE + "[[offline]]\nshare = 0.5", ["offline[0] needs days, epochs or until_finality"]),
    (BASE + "[[offline]]\ndays = 1", ["offline[0] needs share or count, got neither"]),
    (BASE + "[[offline]]\nshare = 0.5\ncount = 3\ndays = 1", ["share and count", "offline[0]"]),
    (BASE + "[[offline]]\nshare = 0\ndays = 1", ["offline[0].share must be greater than 0, got 0"]),
    (BASE + "[[offline]]\nshare = 0.5\ndays = -1", ["offline[0].days must be greater than 0, got -1"]),
    (BASE + "[[offline]]\nshare = 0.5\ndays = 1\nfrom_day = -1", ["offline[0].from_day must be at least 0, got -1"]),
    (BASE + "[[offline]]\nshare = 0.5\nuntil_finality = 1", ["until_finality must be true or false, got 1"]),
    (BASE + "[[exits]]\nshare = 0.5\ngroup = 3", ["unknown key of exits[0] 'group'"]),
    (BASE + "[[exits]]\nshare = 0.5\ndays = 1\nper_epoch = 3", ["per_epoch and days", "exits[0]"]),
    (BASE + "[[merges]]\nshare = 0.5", ["merges[0].group must be given"]),
    (BASE + "[[deposits]]\namount_eth = 32", ["deposits[0] needs count or stake_share"]),
    (BASE + "[[deposits]]\ncount = 1\namount_eth = 4096", ["deposits[0].amount_eth must be at most 2048, got 4096"]),
]


@pytest.mark.parametrize(("text", "words"), BAD, ids=range(len(BAD)))
def test_bad_text_names_key_rule_and_value(text, words):
    with pytest.raises(ValueError, match=r"^mine(:| is not valid TOML:) ") as error:
        parse(text, source="mine")
    for word in words:
        assert word in str(error.value)


def test_bad_names_and_files(tmp_path):
    with pytest.raises(ValueError, match="unknown simulation 'normal-yaer'; did you mean normal-year"):
        read("normal-yaer")
    with pytest.raises(ValueError, match=re.escape(f"cannot read {tmp_path / 'absent.toml'}")):
        read(str(tmp_path / "absent.toml"))
    (tmp_path / "bad.toml").write_bytes(b"\xff")
    with pytest.raises(ValueError, match="is not UTF-8 text"):
        read(str(tmp_path / "bad.toml"))


def test_identity_is_what_decides_the_result():
    one, other = parse('title = "a"\n' + BASE), parse('title = "b"\n' + BASE)
    assert simulation_file.identity(one) == simulation_file.identity(other)
    assert simulation_file.identity(one) != simulation_file.identity(dataclasses.replace(one, seed=2))
    slashing = simulation_file.identity(read("mass-slashing"))
    assert slashing["schedules.slashings[0].count"] == 2062


# --- The state and the behaviour --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("only_x64")
def test_compounding_validators_are_spread_evenly():
    setup = simulation_setup.build(parse(BASE + "compounding_share = 0.25\ncompounding_balance_eth = 100"))
    held = np.asarray(setup.state.balances).reshape(50, 4)
    assert (np.sort(held, axis=1) == np.array([32, 32, 32, 100], np.uint64) * np.uint64(10**9)).all()
    assert (np.asarray(setup.state.cred_prefix) == np.where(held.ravel() > 32 * 10**9, 2, 1)).all()


@pytest.mark.usefixtures("only_x64")
def test_rows_for_deposits_and_outages():
    text = BASE + (
        "[chances]\nsource = 1\ntarget = 0.9\nhead = [" + "0.5, 0.7, " * 100 + "]\n"
        "[outages]\nshares = [0.5, 0.25]\noutage_chance = [0.1, 0.2]\nrecovery_chance = [0.3, 0.4]\n"
        "[[deposits]]\ncount = 5\nper_epoch = 2\n"
    )
    setup = simulation_setup.build(parse(text))
    assert setup.state.balances.shape == (205,)
    assert np.bincount(setup.behaviour.group).tolist() == [100, 50, 55]
    assert setup.behaviour.outage_chance.tolist() == [0.1, 0.2, 0.0]
    assert setup.behaviour.head[200:] == pytest.approx(0.6)


@pytest.mark.usefixtures("only_x64")
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[offline]]\nfirst = 190\ncount = 11\ndays = 1", "offline[0] must be within the registry of 200 validators"),
        ("[[exits]]\nshare = 0.6\nfirst_share = 0.5", "exits[0] must be within the registry of 200 validators"),
        ("[[slashings]]\nshare = 0.5\n[[slashings]]\nshare = 0.1\nfirst_share = 0.45", "slashings must not overlap"),
        ("[chances]\nhead = 0.9\ntarget = 0.8", "head must be at most target"),
    ],
)
def test_what_the_engine_refuses(text, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        simulation_setup.build(parse(BASE + text))


@pytest.mark.usefixtures("only_x64")
def test_early_forks_have_no_compounding_validators():
    with pytest.raises(ValueError, match="compounding validators need Electra or later, got 100 of them at deneb"):
        simulation_setup.build(parse('fork = "deneb"\n' + BASE + "compounding_share = 0.5"))


@pytest.mark.usefixtures("only_x64")
def test_merges_that_cannot_happen_are_noted():
    assert simulation_notes.notes(read("consolidation")) == []
    (note,) = simulation_notes.notes(read("consolidation", overrides={"validators": 600}))
    assert "gloas ignores them" in note
    assert "0 ETH" in note
