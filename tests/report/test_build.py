"""The report: its files, its page, and that what the page says is what was computed."""

from __future__ import annotations

import base64
import csv
import dataclasses
import json
import math
from html.parser import HTMLParser

import numpy as np
import pytest
import xarray

from jaxstake.analysis.sweep import sweep
from jaxstake.core import leaves
from jaxstake.data import mainnet, payments
from jaxstake.economy.apr import apr
from jaxstake.economy.block_value import LogNormal
from jaxstake.economy.scenario import Scenario
from jaxstake.protocol import forks
from jaxstake.report import build
from jaxstake.report.style import percent

LANES = 1500


class Page(HTMLParser):
    """What a page holds: text, references, embedded images, rows of tables."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, self.references, self.images, self.rows = "", [], [], []
        self.anchors: set[str] = set()
        self.inside = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.inside = tag
        self.anchors |= {found["id"]} if "id" in found else set()
        self.references += [found[name] for name in ("href", "src", "srcset", "data", "action") if name in found]
        if tag == "img":
            self.images.append(found)
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self.inside = ""
        if tag == "table":
            self.rows.append([])

    def handle_data(self, data):
        if self.inside in ("style", "script"):
            return
        self.text += data
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data

    def row(self, first: str) -> list[str]:
        return next(row for row in self.rows if row and row[0] == first)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    values = np.exp(np.random.default_rng(3).normal(-3.0, 1.0, 400))
    cells = [repr(float(value)) for value in values] + ["0", "", ""]
    path = tmp_path_factory.mktemp("data") / "blocks & <more>.csv"
    path.write_text("slot,payment_eth\n" + "".join(f"{row},{cell}\n" for row, cell in enumerate(cells)))
    return path


@pytest.fixture(scope="module")
def built(tmp_path_factory, file):
    out = tmp_path_factory.mktemp("report")
    given = (file.name, payments.read(file))
    return build.build(mainnet.scenario(), mainnet.newest(), out, lanes=LANES, payments=given)


@pytest.fixture(scope="module")
def page(built):
    return Page(built.paths["page"].read_text(encoding="utf-8"))


def test_page_is_self_contained(built, page):
    text = built.paths["page"].read_text(encoding="utf-8")
    assert all(reference.startswith(("data:", "#")) for reference in page.references)
    assert {reference[1:] for reference in page.references if reference.startswith("#")} <= page.anchors
    for outside in ("<link", "<iframe", "@import", "url(", "http:", "https:", "file:", "<script src"):
        assert outside not in text


def test_every_figure_is_embedded_and_described(built, page):
    files = {path.read_bytes() for path in built.paths["figures"].iterdir()}
    embedded = [base64.b64decode(image["src"].partition("base64,")[2]) for image in page.images]
    assert len(embedded) == 8
    assert set(embedded) == files
    assert all(image["alt"] for image in page.images)
    assert [f"Figure {number}." in page.text for number in range(1, 10)] == [True] * 8 + [False]


def test_headline_is_what_was_computed(built, page):
    rate = apr(Scenario())
    assert float(built.headline["net"]) == float(rate.net)
    assert percent(rate.net) in page.text
    assert f"{percent(mainnet.newest().reported_apr)}reported {mainnet.newest().date}" in page.text
    assert "42,228,608 ETH at stake by 901,697 validators" in page.text
    embedded = built.paths["page"].read_text().partition('id="headline">')[2].partition("</script>")[0]
    assert json.loads(embedded)["net"] == float(rate.net)
    assert build.build.__doc__


def test_component_table_adds_up(page):
    rate = apr(Scenario())
    for name, value in vars(rate).items():
        row = page.row(name)
        assert row[1] == percent(value, 5)
        assert float(row[2].replace("−", "-")) == pytest.approx(32 * float(value), abs=6e-7)


def test_comparison_is_the_snapshots(built, page):
    found = built.study.compared
    assert page.row("computed")[1] == percent(found.computed, 3)
    assert page.row("reported")[1] == percent(found.reported, 3)
    assert found.explanation in page.text


def test_tornado_is_the_model_at_the_ends(built, tolerance):
    table = built.study.tornado
    for row in range(table.sizes["leaf"]):
        line = table.isel(leaf=row)
        for end in ("low", "high"):
            moved = leaves.replace(Scenario(), {str(line["leaf"].item()): float(line[end].item())})
            assert line[f"output_{end}"].item() == pytest.approx(float(apr(moved).net), rel=100 * tolerance)


def test_second_order_terms_come_closer(built):
    moves = built.study.moves
    first = moves.first.sum()
    second = first + np.tril(moves.second).sum()
    assert abs(second - moves.exact) < 0.2 * abs(first - moves.exact)


def test_curve_is_the_model(built):
    stake = float(Scenario().network.total_stake_eth)
    middle = built.study.curve.isel({"block_value.log_mean": 20, "network.total_stake_eth": 30})
    assert float(middle["network.total_stake_eth"]) == pytest.approx(stake)
    assert float(middle["here.net"]) == pytest.approx(float(apr(Scenario()).net), rel=1e-5)
    perfect = leaves.replace(
        Scenario(), {"network.participation": 1.0, "network.block_rate": 1.0, "validator.uptime": 1.0}
    )
    assert float(middle["perfect.consensus"]) == pytest.approx(float(apr(perfect).consensus), rel=1e-5)


def test_sweep_file_is_labelled_and_right(built, page):
    with xarray.open_zarr(built.paths["sweep"], consolidated=False) as dataset:
        lanes = math.prod(dataset.sizes.values())
        assert LANES / 2 < lanes <= LANES
        assert lanes == dataset.attrs["lanes"] == built.headline["lanes"]
        assert dataset.attrs["invalid_lanes"] == 0
        assert len(dataset.sizes) == 7
        assert dataset["net"].dtype == np.float32
        assert dataset["network.total_stake_eth"].attrs["units"] == "ETH"
        place = dict.fromkeys(dataset.dims, -1)
        lane = dataset["net"].isel(place)
        moved = {str(name): float(dataset[name][-1]) for name in dataset.dims}
        assert float(lane) == pytest.approx(float(apr(leaves.replace(Scenario(), moved)).net), rel=1e-5)
    assert f"{lanes:,} scenarios" in page.text
    assert f"{LANES:,} were asked for" in page.text
    assert "invalid lanes: 0" in page.text


def test_quantiles_on_page_and_in_csv(built, page):
    with built.paths["summary"].open(newline="") as file:
        rows = {row["output"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"net", "gross", "consensus", "execution"}
    values = built.study.swept["net"].values.astype(float)
    assert float(rows["net"]["p95"]) == pytest.approx(np.quantile(values, 0.95))
    shown = [row for row in page.rows if row and row[0] == "net" and len(row) == 12]
    assert shown[0][1] == percent(values.min())
    assert shown[0][7] == percent(np.quantile(values, 0.95))


def test_block_value_fit(built, page, file):
    fitted = built.study.fitted
    logs = np.log(fitted.payments.payment_eth[fitted.payments.payment_eth > 0])
    assert float(fitted.fit.distribution.log_mean) == pytest.approx(logs.mean(), rel=1e-5)
    assert page.row("blocks: paid, zero, unknown")[1] == "400, 1, 2"
    assert page.row("mean of the logarithm")[1].startswith(f"{logs.mean():.4f}".replace("-", "−"))
    assert f"Fit to {file.name}" in page.text


def test_yield_with_the_fit_is_the_model_with_it(built):
    fitted = built.study.fitted
    log_mean = float(fitted.fit.distribution.log_mean) + math.log(400 / 401)  # one block in 401 paid nothing
    value = LogNormal(log_mean=log_mean, log_std=float(fitted.fit.distribution.log_std))
    base = Scenario()
    moved = Scenario(network=base.network, validator=base.validator, block_value=value, fork=base.fork)
    assert fitted.net_with_fit == pytest.approx(float(apr(moved).net), rel=1e-5)


def test_without_payments_and_without_withdrawals(tmp_path):
    """An early fork on an old day: the embedded block value is named, the change listed, and nobody can leave."""
    day = mainnet.snapshot("2023-12-31")
    base = dataclasses.replace(mainnet.scenario(day), fork=forks.get("altair"))
    done = build.build(leaves.replace(base, {"validator.uptime": 0.9}), day, tmp_path, lanes=1)
    page = Page(done.paths["page"].read_text(encoding="utf-8"))
    assert "the embedded one named 2023-2024" in page.text
    assert "No payments were given" in page.text
    assert page.row("validator.uptime")[2] == "0.9"
    assert len(page.images) == 6
    assert "1 scenario," in page.text
    assert done.headline["exit_wait_days"] is None
    assert "there is no exit wait" in page.text


def test_again_replaces_the_report_but_nothing_else(built, tmp_path):
    build.replace_store(built.paths["sweep"], built.study.swept, identity=build._IDENTITY)
    with xarray.open_zarr(built.paths["sweep"], consolidated=False) as dataset:
        assert dataset.attrs["lanes"] == built.headline["lanes"]
    sweep(apr, Scenario(), {"validator.uptime": [0.9, 1.0]}, outputs=["net"], store=tmp_path / "sweep.zarr")
    with pytest.raises(ValueError, match="another sweep"):
        build.build(Scenario(), mainnet.newest(), tmp_path, lanes=8)


def test_too_few_payments_are_refused(tmp_path):
    file = tmp_path / "blocks.csv"
    file.write_text("payment_eth,slot\n0.1,1\n0,2\n")
    with pytest.raises(ValueError, match=r"blocks.csv has 1 payments above 0"):
        build.build(Scenario(), mainnet.newest(), tmp_path, lanes=8, payments=(file.name, payments.read(file)))
