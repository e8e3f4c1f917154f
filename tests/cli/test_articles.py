"""`jaxstake articles`: list, show, table, compare, and what they refuse."""

from __future__ import annotations

import csv
import math

import pytest

from jaxstake.articles import catalogue, tables
from jaxstake.articles.tables import layout
from jaxstake.report import compare

pytestmark = pytest.mark.usefixtures("only_x64")  # the command line always computes in double precision


def test_list_names_everything(cli):
    result = cli("articles", "list")
    assert result.code == 0
    for name in [*catalogue.entries_by_name(), *tables.TABLES]:
        assert name in result.out
    found = cli("articles", "list", "--json").json
    assert [entry["name"] for entry in found["formulas"]] == list(catalogue.entries_by_name())
    assert found["tables"] == list(tables.TABLES)
    assert {entry["document"] for entry in found["formulas"]} == {"apr-guide", "microstaking-analysis"}


def test_show_says_what_was_printed_and_what_is_right(cli):
    result = cli("articles", "show", "leak-penalty", "--set", "distance=5000")
    assert result.code == 0
    for words in ("section 3.3", "L(d) = B * d^2 / eta", "jaxstake.protocol.penalties.leak_loss", "23.84185791"):
        assert words in result.out


@pytest.mark.parametrize("name", list(catalogue.entries_by_name()))
def test_show_knows_every_formula(cli, name):
    entry = catalogue.get(name)
    found = cli("articles", "show", name, "--json").json
    assert found["section"] == entry.section != ""
    assert found["printed"] == entry.sections["Printed"]
    assert found["instead"] == entry.replacements
    assert found["result"]


@pytest.mark.parametrize("name", ["allocations", "depth", "exit_advice", "randao_entropy", "simulate_from_draws"])
def test_show_prints_every_kind_of_result(cli, name):
    result = cli("articles", "show", name)
    assert result.code == 0
    assert "result" in result.out


def test_show_evaluates_at_given_inputs(cli):
    given = ("--set", "total_stake=1e7", "--set", "include_mev=false")
    found = cli("articles", "show", "annual_apr", *given, "--json").json
    assert found["result"]["base_apr"] == pytest.approx(52.76531314385999, rel=1e-12)
    assert found["result"]["mev_apr"] == 0.0
    assert found["inputs"]["total_stake"] == 1e7
    shares = cli("articles", "show", "entropy", "--set", "shares=0.25,0.25,0.25,0.25", "--json").json
    assert shares["result"]["value"] == pytest.approx(2.0, rel=1e-12)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", "leak_penalty", "--set", "distance=10000"], ["distance must be at most 5792.62", "got 10000"]),
        (["show", "leak_distance", "--set", "loss_ratio=-0.1"], ["loss_ratio must be in [0, 1)", "got -0.1"]),
        (["show", "selection_probability", "--set", "validators=0"], ["validators must be greater than 0", "got 0"]),
        (["show", "liquidity_indicator", "--set", "volatility=0"], ["volatility must be greater than 0", "got 0"]),
        (["show", "liquidity_efficiency", "--set", "volatility=0"], ["volatility must be greater than 0"]),
        (["show", "annual_apr", "--set", "total_stake=nan"], ["total_stake", "nan"]),
        (["show", "annual_apr", "--set", "total_stake=much"], ["total_stake must be a number, got 'much'"]),
        (["show", "annual_apr", "--set", "stake=1"], ["unknown input 'stake'", "total_stake"]),
        (["show", "annual_apr", "--set", "total_stake"], ["name=value", "total_stake"]),
        (["show", "annual_apr", "--set", "include_mev=maybe"], ["include_mev must be true or false", "maybe"]),
        (["show", "allocations", "--set", "max_validators=2.5"], ["max_validators must be a whole number, got 2.5"]),
        (["show", "entropy", "--set", "shares=0.5,0.6"], ["shares must add up to 1, got 1.1"]),
        (["show", "exit_advice", "--set", "outlook=rosy"], ["outlook must be one of", "rosy"]),
        (["show", "depth", "--set", "liquidity=1"], ["liquidity is a function"]),
        (["show", "depth", "--set", "half_width=3000"], ["half_width must be less than price = 3000, got 3000"]),
        (["show", "randao_entropy", "--set", "contributions=zz"], ["contributions", "zz"]),
        (["show", "leek_penalty"], ["unknown formula 'leek_penalty'", "leak_penalty"]),
        (["show"], ["NAME"]),
        (["table", "leek"], ["unknown table 'leek'", "leak"]),
        (["compare", "--fork", "electrum"], ["unknown fork 'electrum'", "electra"]),
        (["compare", "--fork", "phase0"], ["capella or a later fork", "phase0"]),
        (["compere"], ["compere"]),
    ],
)
def test_bad_input_is_one_line(refused, arguments, words):
    message = refused("articles", *arguments)
    for word in words:
        assert word in message


def test_compare_needs_a_folder_that_can_be_written(refused, tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot write to" in refused("articles", "compare", "--out", tmp_path / "file")


@pytest.mark.parametrize("name", list(tables.TABLES))
def test_tables_are_reprinted(cli, name):
    result = cli("articles", "table", name)
    assert result.code == 0
    assert result.out.splitlines()[0] == tables.get(name).title
    found = cli("articles", "table", name, "--json").json
    assert found["name"] == name
    assert found["rows"] or found["values"]


def test_a_table_keeps_its_layout(cli):
    lines = cli("articles", "table", "strategies").out.splitlines()
    assert lines[1] == "=" * 80
    assert lines[3] == "-" * 80
    assert lines[-1].split("|")[0].strip() == "pool (ETH2x)"
    assert [cell.strip() for cell in lines[-1].split("|")[1:]] == ["200.0", "7.20%", "14.400 ETH", "7.20%"]


def test_compare_prints_one_page_and_writes_files(cli, tmp_path):
    result = cli("articles", "compare", "--out", tmp_path)
    assert result.code == 0
    assert "claims under the rules of fulu" in result.out
    assert "1/1,024" in result.out
    with (tmp_path / "comparison.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["key"]: row for row in csv.DictReader(file)}
    assert float(rows["base-apr-10m"]["printed"]) == pytest.approx(52.76531314385999, rel=1e-12)
    assert float(rows["base-apr-10m"]["protocol"]) == pytest.approx(
        100 * 64 / math.sqrt(10e6 * 1e9) * 82_181.25, rel=1e-12
    )
    assert "<!doctype html>" in (tmp_path / "comparison.html").read_text(encoding="utf-8")


def test_compare_as_json(cli):
    found = cli("articles", "compare", "--json").json
    assert found["fork"] == "fulu"
    assert found["claims"] == len(found["rows"]) == found["agree"] + found["differ"]
    row = next(row for row in found["rows"] if row["key"] == "proposer-factor")
    assert row["ratio"] == pytest.approx(1 / 1024, rel=1e-12)
    assert row["verdict"] == "differs"
    assert row["module"] == "jaxstake.protocol.duties.proposal_probability"
    assert set(row) == set(compare.output.FIELDS)
    assert found["files"] == {}


def test_without_a_command_it_helps(cli):
    result = cli("articles")
    assert result.code == 0
    for command in ("list", "show", "table", "compare"):
        assert command in result.out


def test_values_are_those_of_the_library(cli):
    found = cli("articles", "table", "leak", "--json").json
    assert found["rows"][-1]["remaining_ratio"] == pytest.approx(-198.02322387695312, rel=1e-12)
    assert set(found) == set(layout.values(tables.get("leak")))
