from __future__ import annotations

import dataclasses
import json
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstake.core import leaves
from jaxstake.protocol import forks, queues, rewards

PRESETS = ("mainnet", "minimal")
EVERY_FORK = [(preset, name) for preset in PRESETS for name in forks.NAMES]
FAR_FUTURE = 2**64 - 1

# Names that stay defined although a constant of another name and unit took over: (fork, name).
RETIRED = {
    ("electra", "MAX_PER_EPOCH_ACTIVATION_CHURN_LIMIT"),
    ("fulu", "MAX_PER_EPOCH_ACTIVATION_CHURN_LIMIT"),
    ("gloas", "MAX_PER_EPOCH_ACTIVATION_EXIT_CHURN_LIMIT"),
}

CHURN_RULES = {
    "validators": "validators",
    "shared": "balance, activation and exit share one cap",
    "separate": "balance, activation/exit/consolidation separate",
}

# Where each entry of the section `effective` is found: a field, or a quantity that follows from fields.
EFFECTIVE = {
    "base_reward_factor": lambda fork: fork.base_reward_factor,
    "inactivity_penalty_quotient": lambda fork: fork.inactivity_penalty_quotient,
    "min_slashing_penalty_quotient": lambda fork: fork.min_slashing_penalty_quotient,
    "proportional_slashing_multiplier": lambda fork: fork.proportional_slashing_multiplier,
    "whistleblower_reward_quotient": lambda fork: fork.whistleblower_reward_quotient,
    "max_effective_balance_gwei": lambda fork: forks.max_effective_balance_eth(fork, compounding=True) * 1e9,
    "max_effective_balance_non_compounding_gwei": lambda fork: forks.max_effective_balance_eth(fork) * 1e9,
    "seconds_per_slot": lambda fork: fork.slot_duration_ms / 1000,
    "seconds_per_epoch": forks.seconds_per_epoch,
    "slashing_penalty_midpoint_epochs": lambda fork: fork.epochs_per_slashings_vector / 2,
    "activation_exit_delay_epochs": queues.lookahead_epochs,
    "hysteresis_downward_gwei": lambda fork: forks.hysteresis_eth(fork)[0] * 1e9,
    "hysteresis_upward_gwei": lambda fork: forks.hysteresis_eth(fork)[1] * 1e9,
    "inactivity_penalty_denominator": forks.inactivity_penalty_denominator,
    "timely_source_max_delay_slots": lambda fork: math.isqrt(int(fork.slots_per_epoch)),
    # No limit since EIP-7045, in the fork that brought blobs (Deneb).
    "timely_target_max_delay_slots": lambda fork: fork.slots_per_epoch if fork.max_blobs_per_block is None else None,
    "timely_head_max_delay_slots": lambda fork: fork.min_attestation_inclusion_delay,
    "proposer_attestation_reward_denominator": lambda fork: (
        (fork.weight_denominator - fork.proposer_weight) * fork.weight_denominator / fork.proposer_weight
    ),
    "churn_model": lambda fork: CHURN_RULES[fork.churn_rule],
}


@pytest.fixture(scope="module")
def golden(shared):
    return json.loads((shared / "vectors" / "constants.json").read_text())


def without_suffix(constant: str) -> tuple[str, int]:
    """Base name of a constant and the place of the fork in its suffix, -1 if it has none."""
    for place, name in enumerate(forks.NAMES):
        if constant.endswith(f"_{name.upper()}"):
            return constant.removesuffix(f"_{name.upper()}"), place
    return constant, -1


def test_reference_covers_exactly_the_known_forks(golden):
    assert {preset: tuple(golden[preset]) for preset in PRESETS} == dict.fromkeys(PRESETS, forks.NAMES)
    assert golden["newest_fork_active_on_mainnet"] == forks.NEWEST_ON_MAINNET


@pytest.mark.parametrize(("preset", "name"), EVERY_FORK)
def test_every_named_constant_equals_the_specification(golden, preset, name):
    assert forks.constants(name, preset=preset) == golden[preset][name]["constants"]


@pytest.mark.parametrize(("preset", "name"), EVERY_FORK)
def test_every_field_holds_the_value_in_effect(golden, preset, name):
    """Of the constants that share a base name the one with the newest fork in its suffix is in effect.

    It must be in the one field of that base name (with or without `_gwei`) that is defined; and every field that
    is defined must have been matched by a constant.
    """
    fork = forks.get(name, preset=preset)
    newest: dict[str, tuple[int, str, int]] = {}
    for constant, value in golden[preset][name]["constants"].items():
        base, place = without_suffix(constant)
        newest[base] = max(newest.get(base, (-2, "", 0)), (place, constant, value))
    matched = set()
    for base, (_, constant, value) in newest.items():
        candidates = (base.lower(), f"{base.lower()}_gwei")
        defined = [field for field in candidates if getattr(fork, field, None) is not None]
        if (name, constant) in RETIRED:
            assert defined == []
            continue
        assert len(defined) == 1, (constant, defined)
        assert getattr(fork, defined[0]) == value, constant
        matched.add(defined[0])
    every = {field.name for field in dataclasses.fields(fork) if getattr(fork, field.name) is not None}
    assert every - matched == {"churn_rule"}


@pytest.mark.parametrize(("preset", "name"), EVERY_FORK)
def test_every_effective_entry_equals_a_field_or_derived_quantity(golden, preset, name):
    """All entries of the section, none skipped; an entry that the file lacks at a fork is undefined here too."""
    fork = forks.get(name, preset=preset)
    entries = golden[preset][name]["effective"]
    for entry, value in entries.items():
        assert EFFECTIVE[entry](fork) == value, entry
    if "inactivity_penalty_denominator" not in entries:
        with pytest.raises(ValueError, match="does not define inactivity_score_bias"):
            forks.inactivity_penalty_denominator(fork)


@pytest.mark.parametrize(("preset", "name"), EVERY_FORK)
def test_leaves_are_plain_floats_and_static_fields_are_not_leaves(preset, name):
    fork = forks.get(name, preset=preset)
    assert {type(value) for value in jax.tree.leaves(fork)} == {float}
    for field in ("far_future_epoch", "shuffle_round_count", "epochs_per_historical_vector"):
        assert type(getattr(fork, field)) is int
    assert fork.far_future_epoch == FAR_FUTURE  # exact: it must never pass through a float


@pytest.mark.parametrize(
    ("field", "gwei"), [("max_effective_balance_gwei", 2_048_000_000_000), ("ejection_balance_gwei", 16_000_000_000)]
)
def test_amounts_in_gwei_are_exact_floats(field, gwei):
    assert int(getattr(forks.get("fulu"), field)) == gwei


@pytest.mark.parametrize(("one", "other"), [("electra", "fulu"), ("altair", "bellatrix")])
@pytest.mark.parametrize("preset", PRESETS)
def test_forks_of_one_structure_share_a_compilation(one, other, preset):
    chex.clear_trace_counter()
    traced = chex.assert_max_traces(
        lambda fork, total: rewards.get_base_reward(fork, effective_balance_eth=32.0, total_stake_eth=total), n=1
    )
    compiled = jax.jit(traced)
    first, second = forks.get(one, preset=preset), forks.get(other, preset=preset)
    halved = dataclasses.replace(second, base_reward_factor=32.0)
    results = [float(compiled(fork, total)) for fork, total in ((first, 1e7), (second, 1e7), (halved, 1e7))]
    assert jax.tree.structure(first) == jax.tree.structure(second)
    assert results[0] == results[1] == 2 * results[2]


def test_forks_of_another_structure_do_not_share_a_compilation():
    """The control of the test above: the guard does notice a second trace."""
    chex.clear_trace_counter()
    compiled = jax.jit(chex.assert_max_traces(lambda fork: fork.base_reward_factor, n=1))
    assert compiled(forks.get("fulu")) == 64.0
    with pytest.raises(AssertionError, match="traced"):
        compiled(forks.get("gloas"))


def test_gradient_by_a_constant_two_ways(tolerance):
    """d(m b)/d(factor) = m b / factor, through `dataclasses.replace` and through the whole fork."""
    fork = forks.get("fulu")

    def reward(constants):
        return rewards.get_base_reward(constants, effective_balance_eth=32.0, total_stake_eth=1e7)

    by_replace = jax.grad(lambda factor: reward(dataclasses.replace(fork, base_reward_factor=factor)))(64.0)
    by_fork = jax.grad(reward)(fork)
    by_hand = 20_480e-9 / 64  # 10M ETH is 1e16 Gwei, so that b = 64e9/1e8 = 640 Gwei
    np.testing.assert_allclose([by_replace, by_fork.base_reward_factor], by_hand, rtol=tolerance)
    # The increment cancels (m is EB over it, b is proportional to it) to rounding, so no other constant moves it.
    elasticity = {name: value * leaves.get(fork, name) / 20_480e-9 for name, value in leaves.as_dict(by_fork).items()}
    assert {name for name, value in elasticity.items() if abs(value) > tolerance} == {"base_reward_factor"}


def test_gradient_of_the_year_by_the_slot_duration(tolerance):
    """Epochs per year go as 1/(slots per epoch * slot duration)."""
    gradient = jax.grad(forks.epochs_per_year)(forks.get("fulu"))
    np.testing.assert_allclose(gradient.slot_duration_ms, -82_181.25 / 12_000, rtol=tolerance)
    np.testing.assert_allclose(gradient.slots_per_epoch, -82_181.25 / 32, rtol=tolerance)


def test_time_follows_from_the_slot():
    """Worked by hand: 365.25 * 86,400 s over 12 s and 384 s; the minimal preset has 6 s slots and 8 an epoch."""
    fork, minimal = forks.get("fulu"), forks.get("fulu", preset="minimal")
    assert (forks.slots_per_year(fork), forks.epochs_per_year(fork), forks.epochs_per_day(fork)) == (
        2_629_800.0,
        82_181.25,
        225.0,
    )
    assert (forks.slots_per_year(minimal), forks.epochs_per_year(minimal)) == (5_259_600.0, 657_450.0)
    assert forks.increment_eth(fork) == 1.0


def test_mainnet_fork_epochs(golden):
    """Each fork starts at its epoch and not one earlier; Gloas has none, written as the far future in the file."""
    epochs = golden["mainnet_fork_epochs"]
    assert set(epochs) == set(forks.NAMES)
    for before, name in zip(("phase0", *forks.NAMES), forks.NAMES, strict=False):
        if epochs[name] == FAR_FUTURE:
            assert name == "gloas"
            continue
        assert forks.at_epoch(epochs[name]) == name
        if epochs[name]:
            assert forks.at_epoch(epochs[name] - 1) == before
    assert forks.at_epoch(FAR_FUTURE) == forks.NEWEST_ON_MAINNET
    with pytest.raises(ValueError, match="epoch must be at least 0, got -1"):
        forks.at_epoch(-1)


@pytest.mark.parametrize("function", [forks.get, forks.constants])
def test_unknown_names_list_the_nearest(function):
    with pytest.raises(ValueError, match=r"unknown fork 'electrum'; did you mean electra\?"):
        function("electrum")
    with pytest.raises(ValueError, match=r"unknown fork 'Fulu'; did you mean fulu\?"):
        function("Fulu")
    with pytest.raises(ValueError, match="unknown preset 'main'; did you mean mainnet"):
        function("fulu", preset="main")


def test_undefined_constants_are_none_and_named_when_required():
    phase0, gloas = forks.get("phase0"), forks.get("gloas")
    assert phase0.sync_committee_size is None
    assert phase0.timely_head_flag_index is None
    assert gloas.min_per_epoch_churn_limit is None
    assert forks.get("deneb").max_pending_deposits_per_epoch is None
    with pytest.raises(ValueError, match="this fork does not define sync_committee_size"):
        forks.require_defined(phase0, "base_reward_factor", "sync_committee_size", "weight_denominator")
    assert forks.require_defined(gloas, "ptc_size", "sync_committee_size") is None


@pytest.mark.parametrize(
    ("name", "compounding", "eth"),
    [("phase0", True, 32.0), ("deneb", True, 32.0), ("electra", False, 32.0), ("electra", True, 2048.0)],
)
def test_largest_effective_balance(name, compounding, eth):
    """32 ETH, and 2,048 for compounding credentials since EIP-7251 (Electra)."""
    assert forks.max_effective_balance_eth(forks.get(name), compounding=compounding) == eth


def test_idle_remainder_of_a_compounding_validator(published):
    """EIP-8068: a growing balance idles between 0.25 and 1.25 ETH above the effective balance, 0.75 on average.

    Right after an upward step the remainder is what crossed the threshold less one increment; it then grows to the
    threshold. At 32.25 ETH the 0.75 ETH are 2.33 % of the stake, to the published rounding.
    """
    _, upward = forks.hysteresis_eth(forks.get("electra"))
    idle = (upward + (upward - forks.increment_eth(forks.get("electra")))) / 2
    value = published["maxeb_drag"]["value"]
    assert idle == value["idle_0x02"] == 0.75
    assert abs(idle / 32.25 - value["loss_at_32.25"]) < 5e-5


def test_derived_quantities_trace_and_batch(tolerance):
    """The derived functions accept traced constants, one lane per value."""
    fork = forks.get("fulu")
    durations = jnp.asarray([6_000.0, 12_000.0])

    def derived(duration):
        changed = dataclasses.replace(fork, slot_duration_ms=duration)
        return forks.epochs_per_year(changed), forks.epochs_per_day(changed), forks.hysteresis_eth(changed)[1]

    years, days, upward = jax.jit(jax.vmap(derived, out_axes=(0, 0, None)))(durations)
    np.testing.assert_allclose(years, [164_362.5, 82_181.25], rtol=tolerance)
    np.testing.assert_allclose(days, [450.0, 225.0], rtol=tolerance)
    assert upward == 1.25
