"""The comparison of the documents with the protocol: both columns against arithmetic by hand, and its files."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import importlib
import math
import re

import jax
import numpy as np
import pytest

from jaxstake.articles.apr_guide import statements
from jaxstake.data import mainnet
from jaxstake.report import compare
from jaxstake.report.compare.output import FIELDS
from jaxstake.report.compare.row import Comparison, Row

EPOCHS, SLOTS = 82_181.25, 2_629_800.0
TODAY = mainnet.newest()
EXIT_EPOCHS = 1 + 4 + 256
EJECTED = math.sqrt(2**25 * math.log(32 / 16.75))
MEV = math.exp(-2.5 + 1.2**2 / 2)


def consensus_apr(stake: float) -> float:
    """Percent per year when every duty is fulfilled."""
    return 100 * 64 / math.sqrt(stake * 1e9) * EPOCHS


def base_reward(stake: float) -> float:
    """Of 32 ETH, ETH per epoch."""
    return 32 * 64e9 / math.sqrt(stake * 1e9) / 1e9


def printed_part(power: int, stake: float = 20e6) -> float:
    """The part of the document's daily reward that falls with this power of the stake, ETH."""
    base = 32 * 64 / stake
    return base * 225 + base * 2 / 512 * 225 if power == 1 else base / 8 * 0.98 * (7200 / stake / 32)


def printed_apr(stake: float) -> float:
    """The document's base APR, percent."""
    return (printed_part(1, stake) + printed_part(2, stake)) * 365 / 32 * 100


def consensus_share(uptime: float) -> float:
    """Consensus income of a validator of the newest scenario over its base reward."""
    p, rho = 0.9965, 0.9906
    flags = uptime * p * (14 + 26) + uptime * rho * p * rho * 14
    sync = (2 * uptime - 1) * 2 * rho
    proposer = uptime * 8 / 56 * ((p * 40 + p * rho * 14) / rho + p * 2)
    return (flags - (1 - uptime) * 40 + sync + proposer) / 64


def expected() -> dict[str, tuple[float, float]]:
    """Printed and protocol value of what the documents get most wrong, and of what they get right, by hand."""
    found = {
        f"base-apr-{million}m": (printed_apr(million * 1e6), consensus_apr(million * 1e6))
        for million in (10, 15, 20, 25, 30)
    }
    found |= {f"mev-year-{n}": (MEV * 225 * 365 / n, MEV * SLOTS / n) for n in (100_000, 500_000, 5_000_000)}
    found |= {f"double-attestation-{name}": (1.0, 32 / q) for name, q in
              (("phase0", 128), ("altair", 64), ("bellatrix", 32), ("electra", 4096))}  # fmt: skip
    found |= {f"double-block-{name}": (0.25, 32 / q) for name, q in
              (("phase0", 128), ("altair", 64), ("bellatrix", 32), ("electra", 4096))}  # fmt: skip
    found |= {
        f"leak-{d}": (100 * (1 - d**2 / 2**25), 100 * math.exp(-(min(d, EJECTED) ** 2) / 2**25))
        for d in (100, 1000, 5000, 10000)
    }
    found |= {
        f"leak-days-{x:g}": (math.sqrt(x * 2**25) / 225, math.sqrt(-math.log1p(-x) * 2**25) / 225) for x in (0.1, 0.25)
    }
    found |= {
        f"availability-{u:g}": (100 * (1 - u), 100 * (1 - consensus_share(u) / consensus_share(1.0)))
        for u in (0.999, 0.99, 0.98, 0.95, 0.9, 0.8)
    }
    balanced = -consensus_share(0.0) / (consensus_share(1.0) - consensus_share(0.0))
    exit_hours = EXIT_EPOCHS * 6.4 / 60
    return found | {
        "proposals-per-day": (7200 / 5e5, 7200 / 5e5),
        "daily-chance": (100 / 5e5, 100 * (1 - (1 - 1 / 5e5) ** 7200)),
        "uniform-selection": (100 / 5e5, 100 * 2048 / 16e6),
        "proposer-share": (0.99 / 8, 0.99 / 8),
        "base-reward-function": (32 * 64 / 10e6 / 1e9, base_reward(10e6)),
        "base-reward-definition": (32 * 64 * 64 / 10e6, base_reward(10e6)),
        "base-reward-simplified": (32 * 64 * (10e6 * 64) / 32 / (32 / 32), base_reward(10e6)),
        "base-reward-further-simplified": (32**2 * 64**2 / (10e6 * 32), base_reward(10e6)),
        "base-reward-appendix": (32 * 64 * 64 / 10e6, base_reward(10e6)),
        "base-reward-law": (0.5, 1 / math.sqrt(2)),
        "income-per-day": (32 * 64 / 10e6 / 1e9 * 225 * 365, base_reward(10e6) * 225),
        "attestation-reward": (32 * 64 / 10e6 / 32, base_reward(10e6) * 54 / 64),
        "attestation-unused": (0.0, 100 * 54 / 64),
        "proposer-factor": (7200 / 10e6 / 32, 7200 * 32 / 10e6),
        "proposer-income": (32 * 64 / 10e6 / 8 * 0.98 * 7200 / 10e6 / 32 * 365, base_reward(10e6) / 8 * EPOCHS),
        "sync-member": (32 * 64 / 10e6 * 2 / 512, base_reward(10e6) * 10e6 / 32 * 2 / 64 / 512),
        "sync-period": (1.0, 1 / 256),
        "sync-annual": (32 * 64 / 10e6 * 2 / 512 * 225 * 365, base_reward(10e6) * 2 / 64 * EPOCHS),
        "sync-weighted": (32 * 64 / 10e6 * 2 * 225 * 365 * 32 / 10e6, base_reward(10e6) * 2 / 64 * EPOCHS),
        "mev-dilution": (1.0, 0.5),
        "sum-of-parts": (1 + 1 / 32 + 0.98 / 8 + 2 / 512, 1.0),
        "stake-elasticity": (-(printed_part(1) + 2 * printed_part(2)) / (printed_part(1) + printed_part(2)), -0.5),
        "participation-elasticity": (0.0, 0.9686),
        "balance-elasticity": (0.0, 0.0),
        "missed-penalty": (0.75, 40 / 64),
        "missed-loss": (0.75, 94 / 64),
        "leak-without-balance": (996**2 / 2**25, 32 * -math.expm1(-(996**2) / 2**25)),
        "leak-coefficient": (32 * 0.75 * 1000**2 / 2**25, 32 * -math.expm1(-(1000**2) / 2**25)),
        "leak-eta-altair": (2**25, 2 * 3 * 2**24),
        "leak-eta-bellatrix": (2**25, 2 * 2**24),
        "double-block-over-attestation": (0.25, 1.0),
        "double-together": (1.0, 32 / 4096 + 32 * 0.3 + 8192 * base_reward(TODAY.total_stake_eth) * 40 / 64),
        "mev-stated-mean": (0.05, MEV),
        "mev-year-formula": (MEV * SLOTS / 365.25 * 365 * 7200 / 5e5, MEV * SLOTS / 5e5),
        "tips-per-block": (0.09, 0.015),
        "tips-formula": (1.0, 0.2),
        "tips-of-a-validator": (0.09 * 2_628_000 / 5e5, 0.09 * SLOTS / 5e5),
        "expected-slash-loss": (0.0005, 0.05),
        "sharpe-units": (4.5 - 0.0225, 4.5 - 2.25),
        "variance-coefficient": (2.0, 1.0),
        "availability-break-even": (0.0, 100 * balanced),
        "optimizer-net-rate": (4.5 * (1 - 0.0005), 4.5 - 0.05),
        "optimizer-stake": (992.0, 1000.0),
        "strategy-full": (4.5, 4.5),
        "strategy-partial": (4.5 * 0.95**2, 4.5 * 0.95),
        "strategy-pool": (4.05, 4.05),
        "strategy-leveraged": (14.4, 7.2),
        "leverage-with-interest": (14.4, 2.7),
        "exit-delay": (648.0, exit_hours),
        "exit-stated": (27.0, exit_hours),
        "seconds-per-epoch": (27.0, 384.0),
        "exit-cost": (34 * 0.045 * 27 / 365, 32 * 0.045 * EXIT_EPOCHS / 225 / 365),
        "yearly-income": (2.0, 1.44),
        "threshold-in-validators": (TODAY.total_stake_eth / 96, TODAY.total_stake_eth / 3 / 2048),
        "attack-threshold": (51.0, 200 / 3),
        "micro-entry": (32.0, 2.0),
        "entropy-direction": (-2.0, 0.75),
        "simulation-results": (0.0, 2.0),
        "finding-attack-cost": (300.0, 0.0),
        "finding-entropy": (45.0, 200 / math.log2(TODAY.active_validators)),
        "finding-slippage": (-60.0, -200 / 3),
    }  # fmt: skip


AGREE = {
    "proposals-per-day", "proposer-share", "epochs-per-year", "sync-chance", "balance-elasticity", "leak-threshold",
    "double-block-phase0", "double-attestation-bellatrix", "leak-eta-bellatrix", "leak-100", "leak-1000",
    "mev-sample-mean", "tips-of-a-validator", "variable-share-2023-12-31", "strategy-full", "strategy-pool",
    "exit-stated",
}  # fmt: skip


@pytest.fixture(scope="module")
def found() -> Comparison:
    return compare.run()


def test_both_columns_by_hand(found, x64):
    rows = {row.key: row for row in found.rows}
    rounding = 1e-9 if x64 else 2e-3  # some are differences of nearly equal rates

    def close(value, wanted, rel):
        return value == pytest.approx(wanted, rel=rel, abs=0 if wanted else 1e-6)

    for key, (printed, protocol) in expected().items():
        typed = key == "participation-elasticity"  # to four digits; derived in a test of its own
        assert close(float(rows[key].printed), printed, rounding), key
        assert close(float(rows[key].protocol), protocol, 1e-4 if typed else rounding), key


def test_participation_elasticity_follows_from_the_weights(found):
    """Everything but the sync committee's own 2/64 is proportional to what the others do."""
    row = next(row for row in found.rows if row.key == "participation-elasticity")
    p, rho = 0.99, 0.9906
    flags = p * 40 + rho * p * rho * 14
    proposer = 8 / 56 * ((p * 40 + p * rho * 14) / rho + p * 2)
    assert float(row.protocol) == pytest.approx((flags + proposer) / (flags + proposer + 2 * rho), rel=1e-4)


def test_verdicts(found):
    assert {row.key for row in found.rows if row.agrees} == AGREE
    keys = [row.key for row in found.rows]
    assert len(keys) == len(set(keys)) > 100


def test_rows_are_complete(found):
    for row in found.rows:
        for text in (row.section, row.claim, row.why):
            assert text, row.key
            assert "  " not in text
        assert row.why.endswith("."), row.key
        assert row.document in ("apr-guide", "microstaking-analysis")
        assert math.isfinite(float(row.printed)) or row.printed_text
        assert row.protocol is None or math.isfinite(float(row.protocol))
        module, _, name = row.module.rpartition(".")
        assert not module.startswith("jaxstake.articles")
        assert hasattr(importlib.import_module(module), name), row.module


def test_the_two_randao_outputs_are_hashes(found):
    numbers = [0x1234567890ABCDEF, 0xFEDCBA0987654321, 0x1111111111111111, 0x2222222222222222]
    contributions = [number.to_bytes(32, "big") for number in numbers]
    combined = np.bitwise_xor.reduce([np.frombuffer(part, np.uint8) for part in contributions])
    hashed = [np.frombuffer(hashlib.sha256(part).digest(), np.uint8) for part in contributions]
    row = next(row for row in found.rows if row.key == "randao-output")
    assert row.printed_text == f"0x{hashlib.sha256(bytes(combined)).hexdigest()[:8]}..."
    assert row.protocol_text == f"0x{bytes(np.bitwise_xor.reduce(hashed)).hex()[:8]}..."
    control = next(row for row in found.rows if row.key == "randao-control")
    assert control.printed == 256
    assert 90 < control.protocol < 166


def test_what_never_happens_has_no_number(found):
    rows = {row.key: row for row in found.rows}
    for loss in ("0.5", "0.75", "0.9"):
        row = rows[f"leak-days-{loss}"]
        assert row.protocol is None
        assert compare.cells(row)["protocol"] == "never"
        assert f"{EJECTED / 225:.1f} days" in row.why


def test_stated_values_are_read_from_the_document(monkeypatch, found):
    monkeypatch.setattr(statements, "MEV_PER_BLOCK_ETH", 0.07)
    changed = {row.key: row for row in compare.income.rows(compare.basis())}["mev-stated-mean"]
    assert changed.printed == 0.07
    assert changed.protocol == pytest.approx(MEV, rel=1e-5)


@pytest.mark.parametrize(("fork", "loss"), [("bellatrix", None), ("capella", 1.0), ("gloas", 32 / 4096)])
def test_the_fork_decides(fork, loss):
    if loss is None:
        with pytest.raises(ValueError, match="the rules of capella or a later fork, got bellatrix"):
            compare.run(fork=fork)
        return
    rows = compare.penalties.rows(compare.basis(fork))
    row = next(row for row in rows if row.key == "double-alone")
    waiting = 8192 * base_reward(TODAY.total_stake_eth) * 40 / 64
    correlation = 32 * 3 * 32 / TODAY.total_stake_eth
    assert float(row.protocol) == pytest.approx(loss + waiting + correlation, rel=1e-4)


def test_an_unknown_fork_is_refused():
    with pytest.raises(ValueError, match="unknown fork 'electrum'"):
        compare.run(fork="electrum")


ROW = Row(key="k", section="1", claim="c", printed=2.0, protocol=1.0, why="w.", module="jaxstake.economy.apr.apr")


@pytest.mark.parametrize(
    ("changes", "agrees", "ratio"),
    [
        ({}, False, 2.0),
        ({"printed": 1.01}, True, 1.01),
        ({"printed": 1.01, "tolerance": 1e-3}, False, 1.01),
        ({"printed": 0.5, "printed_high": 1.5}, True, None),
        ({"printed": 1.5, "printed_high": 2.5}, False, None),
        ({"protocol": None}, False, None),
        ({"protocol": 0.0}, False, None),
        ({"printed": 0.0, "protocol": 0.0}, True, None),
        ({"printed": -1.0, "protocol": -1.0}, True, 1.0),
        ({"printed": math.nan, "printed_text": "TypeError"}, False, None),
    ],
)
def test_agreement_and_ratio(changes, agrees, ratio):
    row = dataclasses.replace(ROW, **changes)
    assert row.agrees is agrees
    assert row.ratio == ratio


def test_dictionary_and_csv_hold_the_numbers(found, tmp_path):
    paths = compare.write(found, tmp_path)
    records = compare.as_dict(found)
    assert records["claims"] == len(found.rows) == records["agree"] + records["differ"]
    with paths["csv"].open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [line["key"] for line in lines] == [row.key for row in found.rows]
    assert list(lines[0]) == list(FIELDS)
    for line, row, record in zip(lines, found.rows, records["rows"], strict=True):
        assert float(line["printed"]) == pytest.approx(float(row.printed), rel=0, abs=0, nan_ok=True)
        assert record["why"] == row.why == line["why"]
        assert line["ratio"] == ("" if row.ratio is None else str(row.ratio))
        assert record["verdict"] == line["verdict"] == ("agrees" if row.agrees else "differs")


def test_the_page_stands_alone(found, tmp_path):
    page = compare.write(found, tmp_path)["page"].read_text(encoding="utf-8")
    assert page.count("<tr") >= len(found.rows)
    assert page.count("data:image/svg+xml;base64,") == 3
    assert not re.search(r"(?:src|href)=\"(?!#|data:)", page)
    assert "http" not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", page)
    assert "nan" not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", page).lower().replace("finance", "")
    for row in found.rows:
        assert row.module.removeprefix("jaxstake.") in page
    assert f"<b>{len(found.rows)}</b>" in page
    for title in found.chapters:
        assert title in page


def test_values_do_not_depend_on_the_order_of_computation(found):
    """A second run gives the same numbers: nothing is random and nothing is left over."""
    again = compare.microstaking.rows(compare.basis())
    first = [row for row in found.rows if row.document == "microstaking-analysis"]
    assert [float(row.printed) for row in again] == [float(row.printed) for row in first]
    assert jax.tree.map(float, [row.protocol for row in again]) == jax.tree.map(float, [row.protocol for row in first])
