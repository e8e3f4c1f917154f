"""The catalogue: every formula once, its text, its inputs and their ranges; and what every formula must do."""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib
import inspect
import json
import math
import pkgutil
import re
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxstake.articles import apr_guide, catalogue, microstaking_analysis
from jaxstake.articles.catalogue import Entry
from jaxstake.articles.entries import DOCUMENTS
from jaxstake.articles.inputs import LIMITS
from tests.oracles import printed_code

PACKAGES = {"apr-guide": apr_guide, "microstaking-analysis": microstaking_analysis}
HEADINGS = ("Printed", "Args", "Returns", "Outside", "Protocol", "Source")
TITLES = {"apr-guide": "APR guide", "microstaking-analysis": "Micro-staking analysis"}
NUMERIC = {"number", "vector"}
LANES = (1.0, 0.97, 0.9)
ROUNDING = 64 * float(jnp.finfo(jnp.result_type(float)).eps)

ENTRIES = list(catalogue.entries_by_name().values())
FORMULAS = [
    entry
    for entry in ENTRIES
    if entry.document == "apr-guide" and any(field.kind in NUMERIC for field in entry.inputs.values())
]
"""Those of the guide that take numbers; the other document's are tested beside their values."""


def named(entries: list[Entry]) -> Any:
    return pytest.mark.parametrize("entry", entries, ids=[entry.name for entry in entries])


def public_functions(package: ModuleType) -> Iterator[Any]:
    """Public functions defined in the modules of a package."""
    for info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{info.name}")
        for name, value in vars(module).items():
            if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_"):
                yield value


def resolve(dotted: str) -> Any:
    """The object of a dotted name: the longest module in it, then attributes."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        module = ".".join(parts[:length])
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not module.startswith(error.name):
                raise
            continue
        return functools.reduce(getattr, parts[length:], found)
    raise ModuleNotFoundError(dotted)


def point(entry: Entry, **changed: float) -> dict[str, jax.Array]:
    """The numbers among the inputs of a formula."""
    samples = {name: field.sample for name, field in entry.inputs.items() if field.kind in NUMERIC}
    return {name: jnp.asarray(value, float) for name, value in {**samples, **changed}.items()}


def call(entry: Entry, inputs: Mapping[str, Any]) -> dict[str, jax.Array]:
    """All numbers that the formula returns, by field, as arrays of floats; traceable in the inputs.

    Inputs that are not given are the document's.
    """
    values = {**{name: field.argument(field.sample) for name, field in entry.inputs.items()}, **inputs}
    own = [] if entry.container is None else [field.name for field in dataclasses.fields(entry.container)]
    first = [] if entry.container is None else [entry.container(**{name: values[name] for name in own})]
    parameters = inspect.signature(entry.function).parameters
    result = entry.function(*first, **{name: values[name] for name in parameters if name in values})
    found = vars(result) if dataclasses.is_dataclass(result) else {"value": result}
    return {name: jnp.asarray(value) * 1.0 for name, value in found.items()}


def numbers_in(result: Any) -> Iterator[Any]:
    """Numbers and texts in a result of `evaluate`."""
    if isinstance(result, Mapping):
        result = list(result.values())
    if isinstance(result, list):
        for inner in result:
            yield from numbers_in(inner)
    else:
        yield result


def evaluated(name: str, **given: str) -> dict[str, Any]:
    entry = catalogue.get(name)
    return catalogue.evaluate(entry, catalogue.settings(entry, given))


@pytest.fixture(scope="module")
def document(shared) -> printed_code.Printed:
    """The document's functions and classes."""
    return printed_code.run(printed_code.statements(printed_code.read(shared / "documents")))


# --- Entries --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("document", list(PACKAGES))
def test_every_public_function_is_in_the_catalogue_once(document):
    defined = sorted(f"{f.__module__}.{f.__name__}" for f in public_functions(PACKAGES[document]))
    assert sorted(entry.module for entry in ENTRIES if entry.document == document) == defined
    assert sorted(f"{f.__module__}.{f.__name__}" for f in DOCUMENTS[document]) == defined
    assert len(defined) > 20


def test_names_are_unique_and_of_two_documents():
    assert set(DOCUMENTS) == set(PACKAGES)
    assert len(ENTRIES) == sum(map(len, DOCUMENTS.values()))
    assert all(catalogue.get(name) is entry for name, entry in catalogue.entries_by_name().items())
    assert set(LIMITS) <= set(catalogue.entries_by_name())


@named(ENTRIES)
def test_docstrings_have_their_sections_in_order(entry):
    found = [name for name in entry.sections if name in HEADINGS]
    assert found == list(HEADINGS)
    assert all(entry.sections[name].strip() for name in HEADINGS)
    assert set(entry.sections) <= {*HEADINGS, "Raises", "Example"}
    for name, text in entry.sections.items():
        assert not re.search(r"(?:^|[.`)] )(?:Printed|Args|Returns|Raises|Outside|Protocol|Source|Example): ", text), (
            name
        )
    assert entry.title
    assert not entry.title.endswith(".")
    assert entry.sections["Source"].startswith(TITLES[entry.document])
    assert re.fullmatch(r"[A-Z]?\.?[\d.]*\d", entry.section)


@named(ENTRIES)
def test_arguments_are_described_and_are_inputs(entry):
    parameters = inspect.signature(entry.function).parameters
    described = re.findall(r"^(\w+): \S", entry.sections["Args"], flags=re.MULTILINE)
    assert described == list(parameters)
    own = [] if entry.container is None else [field.name for field in dataclasses.fields(entry.container)]
    containers = {"calculator", "model", "optimizer"} if entry.container else set()
    assert set(entry.inputs) == {*own, *parameters} - containers
    assert list(entry.inputs)[: len(own)] == own
    for name, parameter in parameters.items():
        if parameter.default is not parameter.empty:
            assert entry.inputs[name].sample == parameter.default


@named(ENTRIES)
def test_what_the_protocol_has_instead_exists(entry):
    """Never another printed formula."""
    other = re.match(r"As (?:for )?`(\w+)`", entry.sections["Protocol"])
    replacements = entry.replacements or (catalogue.get(other[1]).replacements if other else [])
    assert replacements
    for name in replacements:
        assert not name.startswith("jaxstake.articles")
        assert resolve(name) is not None


def test_names_that_do_not_exist_do_not_resolve():
    with pytest.raises(AttributeError):
        resolve("jaxstake.protocol.rewards.nothing_of_the_kind")
    with pytest.raises(AttributeError):
        resolve("jaxstake.nothing_of_the_kind.at_all")
    with pytest.raises(ModuleNotFoundError):
        resolve("nothing_of_the_kind.at_all")


@pytest.mark.parametrize(
    ("name", "section"),
    [
        ("selection_probability", "1.1"),
        ("base_reward_definition", "2.1"),
        ("leak-penalty", "3.3"),
        ("risk-adjusted-apr", "5.1"),
        ("total_reward", "A.2"),
    ],
)
def test_sections_of_the_documents(name, section):
    assert catalogue.get(name).section == section


@pytest.mark.parametrize(
    ("name", "near"), [("leak_penalti", "leak_penalty"), ("base-rewards", "base_reward"), ("entropie", "entropy")]
)
def test_an_unknown_formula_lists_the_nearest(name, near):
    with pytest.raises(ValueError, match=rf"unknown formula '{name}'; did you mean .*\b{near}\b"):
        catalogue.get(name)


# --- Inputs ---------------------------------------------------------------------------------------------------------


@named(ENTRIES)
def test_samples_pass_and_evaluate(entry):
    """Finite numbers of Python, and the same when the samples are given as text."""
    inputs = catalogue.settings(entry)
    result = catalogue.evaluate(entry, inputs)
    assert json.loads(json.dumps(result)) == result
    for number in numbers_in(result):
        assert isinstance(number, str) or math.isfinite(number)
    texts = {name: as_text(value) for name, value in inputs.items() if entry.inputs[name].kind != "function"}
    again = catalogue.settings(entry, texts)
    assert {name: again[name] for name in texts} == {name: inputs[name] for name in texts}
    for field in entry.inputs.values():
        if field.kind in NUMERIC:
            assert all(bool(field.domain.contains(float(value))) for value in np.ravel(field.sample))


FREE = {
    *(
        "block_reward",
        "attestors",
        "total_participation",
        "level",
        "reward_variance",
        "n",
        "returns",
        "draws",
        "payments",
    ),
    *("loss_probabilities", "gas_prices", "gas_used", "base", "attestation", "proposer", "sync", "mev", "tips"),
}
"""Inputs of the guide for which it prints no value."""

COMPUTED = {
    "reference_apr": ("participation_sensitivity", "apr"),
    "penalty": ("missed_attestation_penalty", "base_penalty"),
    "tips_per_block": ("tips_reward_model", "tips_per_block"),
}
"""Inputs of the guide that another of its formulas returns."""


def test_samples_are_the_documents_numbers(shared):
    """Of the guide's inputs without a default: a number in its code, or what another formula returns."""
    sections = printed_code.statements(printed_code.read(shared / "documents")).values()
    code = "\n".join(source for sources in sections for source in sources)
    literals = {node.value for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Constant)}
    seen = set()
    for entry in ENTRIES:
        for name, parameter in inspect.signature(entry.function).parameters.items():
            if entry.document == "apr-guide" and name in entry.inputs and parameter.default is parameter.empty:
                sample, seen = entry.inputs[name].sample, seen | {name}
                if entry.inputs[name].kind == "number" and name not in FREE | COMPUTED.keys():
                    assert sample in literals, (entry.name, name)
    assert seen >= COMPUTED.keys() | FREE
    for name, (source, output) in COMPUTED.items():
        given = {"missed_count": "1"} if name == "penalty" else {}
        (sample,) = {entry.inputs[name].sample for entry in ENTRIES if name in entry.inputs}
        assert sample == pytest.approx(evaluated(source, **given)[output], rel=1e-5)


def as_text(value: Any) -> str:
    return ",".join(map(repr, value)) if isinstance(value, list) else str(value)


REFUSED = [
    ("leak_penalty", {"distence": "1"}, "unknown input 'distence'; did you mean distance?"),
    ("leak_penalty", {"distance": "far"}, "distance must be a number, got 'far'"),
    ("leak_penalty", {"distance": ""}, "distance must be a number, got ''"),
    ("leak_penalty", {"distance": "nan"}, "distance must be at least 0 and finite, got nan"),
    ("leak_penalty", {"distance": "inf"}, "distance must be at least 0 and finite, got inf"),
    ("leak_penalty", {"distance": "-1"}, "distance must be at least 0 and finite, got -1"),
    ("leak_penalty", {"distance": "1,2"}, "distance must be one number, got '1,2'"),
    ("leak_penalty", {"eta": "0"}, "eta must be greater than 0 and finite, got 0"),
    (
        "leak_penalty",
        {"distance": "10000"},
        "distance must be at most 5792.62, at which nothing of the balance is left, got 10000",
    ),
    (
        "leak_penalty",
        {"distance": "11", "eta": "100"},
        "distance must be at most 10, at which nothing of the balance is left, got 11",
    ),
    (
        "leak_penalty_formula",
        {"distance": "6000", "leakage_rate": "1"},
        "distance must be at most 5792.62, at which nothing of the balance is left, got 6000",
    ),
    (
        "missed_attestation_penalty",
        {"epochs_since_finality": "5797"},
        "epochs_since_finality must be at most 5796.62, at which nothing of the balance is left, got 5797",
    ),
    ("leak_distance", {"loss_ratio": "1"}, "loss_ratio must be in [0, 1), got 1"),
    ("leak_distance", {"loss_ratio": "-0.1"}, "loss_ratio must be in [0, 1), got -0.1"),
    ("expected_proposals_per_day", {"validators": "0"}, "validators must be greater than 0 and finite, got 0"),
    ("base_reward", {"effective_balance": "0"}, "effective_balance must be greater than 0 and finite, got 0"),
    ("attestation_reward", {"participation_rate": "0"}, "participation_rate must be in (0, 1], got 0"),
    ("mev_quantile", {"level": "1"}, "level must be in (0, 1), got 1"),
    ("mev_quantile", {"std_log_return": "-1"}, "std_log_return must be at least 0 and finite, got -1"),
    ("fit_mev_model", {"payments": "0.1,-0.1"}, "payments must be at least 0 and finite, got -0.1"),
    ("fit_mev_model", {"payments": "0.1,,0.1"}, "payments must be a number, got ''"),
    ("annual_apr", {"include_mev": "maybe"}, "include_mev must be true or false, got 'maybe'"),
    ("allocations", {"max_validators": "1.5"}, "max_validators must be a whole number, got 1.5"),
    ("allocations", {"max_validators": "0"}, "max_validators must be in [1, 1e+06], got 0"),
    ("allocation", {"risk_tolerance": "1.1"}, "risk_tolerance must be in [0, 1], got 1.1"),
    ("randao_entropy", {"contributions": "1,x"}, "contributions must be whole numbers such as 0x12ab, got 'x'"),
    ("randao_entropy", {"contributions": "-1"}, "contributions must be at least 0 and less than 2^256, got -1"),
    ("randao_entropy", {"contributions": hex(2**256)}, "contributions must be at least 0 and less than 2^256, got 0x1"),
    ("exit_advice", {"outlook": "rosy"}, "outlook must be one of stable, falling, falling sharply, rising, got 'rosy'"),
    ("tips_formula", {"gas_used": "1,2"}, "gas_prices, gas_used must be of one length, got [3, 2]"),
    (
        "portfolio_objective",
        {"losses": "0.5"},
        "returns, loss_probabilities, losses must be of one length, got [2, 2, 1]",
    ),
    ("is_tolerated", {"malicious": "4", "validators": "3"}, "malicious must be at most validators = 3, got 4"),
    ("byzantine_margin", {"malicious": "4", "validators": "3"}, "malicious must be at most validators = 3, got 4"),
    ("entropy", {"shares": "0.5,0.6"}, "shares must add up to 1, got 1.1"),
    ("depth", {"half_width": "3000"}, "half_width must be less than price = 3000, got 3000"),
    ("constant_product_depth", {"price": "2", "half_width": "3"}, "half_width must be less than price = 2, got 3"),
    ("depth", {"liquidity": "1"}, "liquidity is a function, which the document leaves open; it cannot be set here"),
    ("validator_quality", {"key": "-1"}, "key must be in [0, 2.14748e+09], got -1"),
    ("validator_quality", {"key": "0.5"}, "key must be a whole number, got 0.5"),
]


@pytest.mark.parametrize(
    ("name", "given", "message"),
    REFUSED,
    ids=[f"{name}-{'-'.join(given)}-{i}" for i, (name, given, _) in enumerate(REFUSED)],
)
def test_what_lies_outside_is_refused(name, given, message):
    """The message names the input, the rule and the value."""
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        catalogue.settings(catalogue.get(name), given)


def test_every_limit_is_tested():
    joint = {name for name, given, _ in REFUSED if not given.keys() - catalogue.get(name).inputs.keys()}
    assert set(LIMITS) <= joint


@named(ENTRIES)
def test_every_input_refuses_what_is_no_value_of_it(entry):
    for name, field in entry.inputs.items():
        kind = field.kind
        texts = {
            "number": ("x", "nan", "1,2"),
            "vector": ("x", "nan"),
            "whole": ("x", "nan", "1.5"),
            "key": ("x", "1.5"),
        }
        others = {"switch": ("x", "2"), "contributions": ("x", "1.5"), "function": ("1",), "text": ("x",)}
        outside = [repr(edge) for edge in edges(field.domain)] if kind in ("number", "vector", "whole") else []
        for text in (*({**texts, **others}[kind]), *outside):
            with pytest.raises(ValueError, match=name):
                catalogue.settings(entry, {name: text})


def edges(domain: Any) -> list[float]:
    """Values just outside a domain."""
    found = [math.inf, -math.inf]
    if math.isfinite(domain.low):
        found.append(domain.low if domain.open_low else domain.low - 1.0)
    if math.isfinite(domain.high):
        found.append(domain.high if domain.open_high else domain.high + 1.0)
    return found


@named(ENTRIES)
def test_formulas_themselves_check_nothing(entry):
    """Outside, one input at a time: a number, infinite or NaN, and no error."""
    for name, field in entry.inputs.items():
        if field.kind not in NUMERIC:
            continue
        for edge in edges(field.domain):
            value = [edge] * len(field.sample) if field.kind == "vector" else edge
            result = catalogue.evaluate(entry, {**catalogue.settings(entry), name: value})
            assert all(isinstance(number, int | float) for number in numbers_in(result))


def test_texts_are_read():
    entry = catalogue.get("annual_apr")
    for text, value in {"true": True, "False": False, "1": True, "0": False}.items():
        assert catalogue.settings(entry, {"include_mev": text})["include_mev"] is value
    assert catalogue.settings(entry, {"total_stake": "3e7"})["total_stake"] == 3e7
    found = catalogue.settings(catalogue.get("randao-entropy"), {"contributions": "0x10,17,0b1"})
    assert found == {"contributions": [16, 17, 1]}
    assert catalogue.settings(catalogue.get("allocations"), {"max_validators": "2"})["max_validators"] == 2
    highest = catalogue.settings(catalogue.get("validator_quality"), {"key": str(2**31)})
    assert math.isfinite(catalogue.evaluate(catalogue.get("validator_quality"), highest)["value"])


def test_evaluation(tolerance):
    """Containers, switches, vectors, bytes and words, from text to plain values."""
    assert evaluated("leak_penalty", distance="5000")["penalty"] == pytest.approx(23.841857910, rel=1e-6)
    without = evaluated("annual_apr", include_mev="false", include_tips="0", effective_balance="64")
    assert (without["mev_apr"], without["tips_apr"]) == (0.0, 0.0)
    np.testing.assert_allclose(without["total_apr"], without["base_apr"], rtol=tolerance)
    assert evaluated("allocations", max_validators="3")["stake"] == [32.0, 64.0, 96.0]
    assert evaluated("exit_advice", outlook="falling") == {
        "apr": 3.0,
        "outlook": "falling",
        "advice": "consider leaving or moving",
    }
    digest = "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925"
    assert evaluated("randao_entropy", contributions="7,7") == {"exclusive_or": "00" * 32, "digest": digest}


def test_one_input_of_two_meanings_reaches_both():
    """An argument with the name of a field of the container: the balance of the study replaces the calculator's."""
    found = evaluated("effective_balance_sensitivity", effective_balance="64")
    assert found["annual_reward"] == pytest.approx(2 * evaluated("effective_balance_sensitivity")["annual_reward"])


# --- Outside the range ----------------------------------------------------------------------------------------------

ALL = None
STOPS = [
    ("selection_probability", {"validators": 0.0}, ALL),
    ("expected_proposals_per_day", {"validators": 0.0}, ALL),
    ("proposer_reward_per_epoch", {"validators": 0.0}, ALL),
    ("proposer_reward_formula", {"total_participation": 0.0}, ALL),
    ("base_reward_calculation", {"total_effective_stake": 0.0}, {"reward_eth"}),
    ("annual_base_reward", {"total_effective_stake": 0.0}, ALL),
    ("annual_base_reward", {"validator_effective_balance": 0.0}, {"apr"}),
    ("base_reward_definition", {"total_participation": 0.0}, ALL),
    ("base_reward_simplified", {"validator_effective_balance": 0.0}, ALL),
    ("base_reward_simplified", {"slots_per_epoch": 0.0}, ALL),
    ("base_reward_further_simplified", {"total_effective_stake": 0.0}, ALL),
    ("base_reward_further_simplified", {"slots_per_epoch": 0.0}, ALL),
    ("base_reward", {"total_stake": 0.0}, ALL),
    ("attestation_reward", {"total_stake": 0.0}, ALL),
    ("attestation_reward", {"participation_rate": 0.0}, ALL),
    ("proposer_reward", {"total_stake": 0.0}, ALL),
    ("sync_committee_reward", {"total_stake": 0.0}, ALL),
    ("sync_committee_reward", {"sync_committee_size": 0.0}, {"average", "annual"}),
    ("annual_apr", {"total_stake": 0.0}, {"base_apr", "total_apr", "annual_reward_eth"}),
    ("stake_sensitivity", {"total_stake": 0.0}, ALL),
    ("stake_sensitivity", {"reference_stake": 0.0}, ALL),
    ("participation_sensitivity", {"total_stake": 0.0}, ALL),
    ("participation_sensitivity", {"participation_rate": 0.0}, ALL),
    ("effective_balance_sensitivity", {"total_stake": 0.0}, ALL),
    ("effective_balance_sensitivity", {"effective_balance": 0.0}, {"apr"}),
    ("relative_loss", {"base_reward": 0.0}, ALL),
    ("leak_penalty", {"effective_balance": 0.0}, {"remaining_ratio"}),
    ("leak_distance", {"loss_ratio": -0.1}, ALL),
    ("leak_distance", {"effective_balance": 0.0}, ALL),
    ("mev_quantile", {"level": 1.5}, ALL),
    ("mev_quantile", {"level": -0.5}, ALL),
    ("annual_mev_expectation", {"validator_count": 0.0}, {"proposal_probability", "annual_mev"}),
    ("annual_mev_formula", {"validator_count": 0.0}, ALL),
    ("validator_tips", {"validator_count": 0.0}, ALL),
    ("validator_availability", {"base_apr": 0.0}, {"relative_loss"}),
]


@pytest.mark.parametrize(("name", "changed", "stops"), STOPS, ids=[f"{n}-{'-'.join(c)}" for n, c, _ in STOPS])
def test_where_the_documents_code_stops_value_and_gradient_are_nan(name, changed, stops):
    """As the docstring says, and nothing else that the formula returns."""
    entry = catalogue.get(name)
    (of,) = changed
    inputs = point(entry, **changed)
    values = call(entry, inputs)
    slopes = jax.jacfwd(lambda x: call(entry, {**inputs, of: x}))(inputs[of])
    stops = set(values) if stops is ALL else stops
    assert {output for output, value in values.items() if np.isnan(value)} == stops
    assert {output for output, slope in slopes.items() if np.isnan(slope)} >= stops
    assert "NaN" in entry.sections["Outside"]


@pytest.mark.parametrize(
    "statement",
    [
        "base_reward_calculation(total_effective_stake=0)",
        "POSConsensusModel(0).expected_proposals_per_day()",
        "POSConsensusModel(0).proposer_reward_per_epoch(1.0)",
        "StakingRewardCalculator().calculate_base_reward(0)",
        "StakingRewardCalculator().calculate_attestation_reward(0)",
        "StakingRewardCalculator().calculate_attestation_reward(1e7, 0)",
        "StakingRewardCalculator().calculate_proposer_reward(0)",
        "StakingRewardCalculator().calculate_sync_committee_reward(0)",
        "StakingRewardCalculator().calculate_sync_committee_reward(1e7, 0)",
        "StakingRewardCalculator().calculate_annual_apr(0)",
        "MEVRewardModel().annual_mev_expectation(0)",
    ],
)
def test_there_the_documents_code_divides_by_zero(document, statement):
    with pytest.raises(ZeroDivisionError):
        eval(statement, dict(document.names))


def test_no_stake_per_validator_gives_no_number():
    """NaN; the derivative of a whole number is 0 there too."""
    entry = catalogue.get("optimal_validator_count")
    value, slope = jax.value_and_grad(lambda x: call(entry, {"validator_stake": x})["value"])(0.0)
    assert np.isnan(value)
    assert float(slope) == 0.0


def test_beyond_the_balance_as_printed():
    """-198.02 % of the balance is left after 10,000 epochs; the same share, without its unit, of section 3.1."""
    found = catalogue.evaluate(entry := catalogue.get("leak_penalty"), {**catalogue.settings(entry), "distance": 1e4})
    assert f"{found['remaining_ratio']:.2f}" == "-198.02"
    assert found["remaining"] == pytest.approx(32 - 95.367431640625, rel=1e-6)
    entry = catalogue.get("missed_attestation_penalty")
    found = catalogue.evaluate(entry, {**catalogue.settings(entry), "epochs_since_finality": 10_004.0})
    assert found["leak_penalty"] == pytest.approx(1e8 / 2**25, rel=1e-6)
    found = catalogue.evaluate(catalogue.get("leak_distance"), {"loss_ratio": 4.0, "effective_balance": 32, "eta": 100})
    assert found["distance"] == pytest.approx(20.0)


@pytest.mark.parametrize("epochs", [-3.0, 0.0, 4.0])
def test_no_leak_up_to_four_epochs(epochs):
    entry = catalogue.get("missed_attestation_penalty")
    value, slope = jax.value_and_grad(lambda x: call(entry, {"epochs_since_finality": x})["leak_penalty"])(epochs)
    assert (float(value), float(slope)) == (0.0, 0.0)


def test_at_no_deviation_mev_is_its_median(tolerance):
    """Every statistic; the deviation is 0, and its derivative not finite there."""
    certain = {"mean_log_return": -1.0, "std_log_return": 0.0}
    expected = math.exp(-1.0)
    for name, output in (("expected_mev_per_block", "value"), ("mev_quantile", "value"), ("mev_samples", "value")):
        np.testing.assert_allclose(call(catalogue.get(name), certain)[output], expected, rtol=tolerance)
    statistics = call(catalogue.get("mev_distribution"), certain)
    np.testing.assert_allclose(float(statistics.pop("std")), 0.0, atol=1e-7)
    np.testing.assert_allclose(list(statistics.values()), expected, rtol=tolerance)
    entry = catalogue.get("mev_standard_deviation")
    value, slope = jax.value_and_grad(lambda x: call(entry, {**certain, "std_log_return": x})["value"])(0.0)
    assert float(value) == 0.0
    assert not np.isfinite(slope)


def test_edges_of_quantiles():
    entry = catalogue.get("mev_quantile")
    assert [float(call(entry, {"level": level})["value"]) for level in (0.0, 1.0)] == [0.0, math.inf]


def test_payments_below_the_shift_are_nan():
    found = call(catalogue.get("fit_mev_model"), {"payments": jnp.array([0.1, -0.1])})
    assert all(np.isnan(value) for value in found.values())


def test_empty_sums_and_no_rows():
    nothing = jnp.zeros(0)
    assert float(call(catalogue.get("tips_formula"), {"gas_prices": nothing, "gas_used": nothing})["value"]) == 0.0
    assets: dict[str, Any] = dict.fromkeys(("returns", "loss_probabilities", "losses"), nothing)
    assert float(call(catalogue.get("portfolio_objective"), assets)["value"]) == 0.0
    for count in (0, -2):
        rows = call(catalogue.get("allocations"), {"max_validators": count})
        assert {value.shape for value in rows.values()} == {(0,)}
    below = call(catalogue.get("optimal_validator_count"), {"total_capital": -1.0})
    assert float(below["value"]) == -1.0


def test_an_unknown_outlook_is_a_key_error():
    with pytest.raises(KeyError, match="rosy"):
        catalogue.get("exit_advice").function(outlook="rosy")


# --- Modes of execution and gradients -------------------------------------------------------------------------------


def test_formulas_without_numbers_are_two():
    rest = [entry.name for entry in ENTRIES if entry.document == "apr-guide" and entry not in FORMULAS]
    assert rest == ["randao_entropy", "exit_advice"]


@named(FORMULAS)
def test_modes_agree(entry):
    """Each lane scales each input by another factor."""
    start = point(entry)
    lanes = [
        {name: value * LANES[(lane + place) % 3] for place, (name, value) in enumerate(start.items())}
        for lane in range(3)
    ]
    function = functools.partial(call, entry)
    compiled = jax.jit(function)
    mapped = jax.jit(jax.vmap(function))(jax.tree.map(lambda *values: jnp.stack(values), *lanes))
    eager, jitted = [function(lane) for lane in lanes], [compiled(lane) for lane in lanes]
    for name, found in mapped.items():
        expected = np.stack([values[name] for values in eager])
        assert np.isfinite(expected).all()
        scale = float(np.abs(expected).max())
        for other in (np.stack([values[name] for values in jitted]), found):
            np.testing.assert_allclose(other, expected, rtol=ROUNDING, atol=ROUNDING * scale)


@named(FORMULAS)
def test_gradients(entry, x64):
    """By relative changes of the inputs, so that one step suits all: finite, and equal to differences."""
    start = point(entry)
    scale = {name: float(jnp.abs(value).max()) or 1.0 for name, value in call(entry, start).items()}

    def changed(change: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        inputs = {name: jnp.where(at == 0, change[name], at * (1.0 + change[name])) for name, at in start.items()}
        return {name: value / scale[name] for name, value in call(entry, inputs).items()}

    zero = jax.tree.map(jnp.zeros_like, start)
    slopes = jax.grad(lambda change: sum(jnp.sum(value) for value in changed(change).values()))(zero)
    assert all(np.isfinite(slope).all() for slope in slopes.values())
    if x64:
        check_grads(changed, (zero,), order=1, modes=("fwd", "rev"), atol=1e-5, rtol=1e-5)


@named(FORMULAS)
def test_the_precision_of_the_inputs_is_kept(entry):
    """Single precision stays single under x64, under strict promotion."""
    inputs = {name: value.astype(jnp.float32) for name, value in point(entry).items()}
    for value in call(entry, inputs).values():
        assert value.weak_type or value.dtype == jnp.float32


ELASTICITIES = [
    ("selection_probability", "value", "validators", -1),
    ("expected_proposals_per_day", "value", "validators", -1),
    ("proposer_reward_per_epoch", "value", "validators", 0),
    ("base_reward_calculation", "reward_eth", "total_effective_stake", -1),
    ("base_reward_calculation", "reward_eth", "validator_effective_balance", 1),
    ("annual_base_reward", "apr", "total_effective_stake", -1),
    ("annual_base_reward", "apr", "validator_effective_balance", 0),
    ("base_reward_definition", "value", "base_reward_factor", 2),
    ("base_reward_simplified", "value", "total_effective_stake", 1),
    ("base_reward_simplified", "value", "validator_effective_balance", 1),
    ("base_reward_further_simplified", "value", "validator_effective_balance", 2),
    ("base_reward_further_simplified", "value", "total_effective_stake", -1),
    ("base_reward", "value", "total_stake", -1),
    ("attestation_reward", "value", "participation_rate", 0),
    ("attestation_reward", "value", "slots_per_epoch", -1),
    ("proposer_reward", "value", "total_stake", -1),
    ("sync_committee_reward", "annual", "sync_committee_size", -1),
    ("sync_committee_reward", "selection_probability", "total_stake", -1),
    ("participation_sensitivity", "apr", "participation_rate", 0),
    ("effective_balance_sensitivity", "apr", "effective_balance", 0),
    ("missed_attestation_penalty", "base_penalty", "missed_count", 1),
    ("leak_penalty", "penalty", "distance", 2),
    ("leak_penalty", "penalty", "eta", -1),
    ("leak_distance", "distance", "loss_ratio", 0.5),
    ("leak_distance", "distance", "effective_balance", 0),
    ("expected_mev_per_block", "value", "mean_log_return", -2.5),
    ("expected_mev_per_block", "value", "std_log_return", 1.2**2),
    ("mev_quantile", "value", "std_log_return", 1.2 * 1.6448536269514722),
    ("annual_mev_expectation", "annual_mev", "validator_count", -1),
    ("tips_reward_model", "annual_tips", "tips_fraction", 1),
    ("validator_tips", "annual_tips", "validator_count", -1),
    ("validator_availability", "loss", "uptime", -99),
    ("optimal_validator_count", "value", "total_capital", 0),
    ("strategy_return", "annual_return", "stake_fraction", 2),
    ("exit_analysis", "opportunity_cost", "exit_delay_epochs", 1),
]


@pytest.mark.parametrize(
    ("name", "output", "of", "expected"), ELASTICITIES, ids=[f"{name}-{of}" for name, _, of, _ in ELASTICITIES]
)
def test_elasticities(name, output, of, expected, tolerance):
    found = elasticity(name, output, of)
    np.testing.assert_allclose(found, expected, rtol=100 * tolerance, atol=100 * tolerance)


def elasticity(name: str, output: str, of: str, **changed: float) -> float:
    """Relative change of an output per relative change of an input."""
    entry = catalogue.get(name)
    inputs = point(entry, **changed)
    value, slope = jax.value_and_grad(lambda x: call(entry, {**inputs, of: x})[output])(inputs[of])
    return float(slope * inputs[of] / value)


def test_elasticity_of_the_leak_beyond_the_threshold(tolerance):
    """`(e - 4)^2`: 2 e / (e - 4)."""
    found = elasticity(
        "missed_attestation_penalty", "leak_penalty", "epochs_since_finality", epochs_since_finality=104.0
    )
    np.testing.assert_allclose(found, 2.08, rtol=100 * tolerance)


def test_elasticity_of_the_annual_rate(tolerance):
    """-1 but for the proposer's term, which has the stake twice: -(1 + its share)."""
    stake, reward = 20e6, 32 * 64 / 20e6
    proposer = reward / 8 * 0.98 * 7200 / stake / 32
    daily = reward * 225 + proposer + reward * 2 / 512 * 225
    found = elasticity("annual_apr", "base_apr", "total_stake", total_stake=stake)
    np.testing.assert_allclose(found, -(1 + proposer / daily), rtol=100 * tolerance)
