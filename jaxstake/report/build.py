"""Compute the report and write it to a folder."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jaxstake.core import leaves
from jaxstake.data.mainnet import Snapshot
from jaxstake.data.payments import Payments
from jaxstake.economy.scenario import Scenario
from jaxstake.report import page, scenario_sections, sections, study, summary
from jaxstake.report.dataset_file import check_replaceable, replace_store
from jaxstake.report.drawings import draw
from jaxstake.report.study import Study
from jaxstake.report.style import svg

DEFAULT_LANES = 1 << 20
_IDENTITY = "jaxstake report"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Built:
    """A written report: where its files are, and its numbers."""

    paths: dict[str, Path]
    headline: Mapping[str, Any]
    study: Study


def build(
    scenario: Scenario,
    day: Snapshot,
    out: Path,
    *,
    lanes: int = DEFAULT_LANES,
    payments: tuple[str, Payments] | None = None,
    command: str = "jaxstake report",
    progress: Callable[[str, int, int], None] | None = None,
) -> Built:
    """Compute the report and write index.html, sweep.zarr, summary.csv and figures/.

    Args:
        scenario: what the report is about.
        day: the snapshot whose reported APR it is held against.
        out: an existing folder; an earlier report in it is replaced.
        lanes: most scenarios in the sweep, at least 1.
        payments: name and content of a file of block payments, or None.
        command: what the page says it was made by.
        progress: called with (step, done, in all).

    Raises:
        ValueError: bad input, or `out` has a sweep.zarr that is no report's.
        OSError: the folder cannot be written.
    """
    tell = progress or (lambda step, done, total: None)
    check_replaceable(out / "sweep.zarr", identity=_IDENTITY)
    found = study.run(scenario, day, lanes=lanes, payments=payments, report=lambda n, m: tell("computing", n, 2 * m))
    drawn = {name: svg(figure) for name, figure in draw(found).items()}
    tell("writing", 3, 4)
    names = {"page": "index.html", "sweep": "sweep.zarr", "summary": "summary.csv", "figures": "figures"}
    paths = {key: out / name for key, name in names.items()}
    paths["figures"].mkdir(exist_ok=True)
    for name, content in drawn.items():
        (paths["figures"] / f"{name}.svg").write_bytes(content)
    summary.write_csv(paths["summary"], found.summary)
    replace_store(paths["sweep"], found.swept, identity=_IDENTITY)
    paths["page"].write_text(compose(found, drawn, command=command), encoding="utf-8")
    tell("done", 1, 1)
    return Built(paths=paths, headline=study.headline(found), study=found)


def compose(found: Study, drawn: Mapping[str, bytes], *, command: str) -> str:
    """The page of a study with its figures, as HTML."""
    used: list[str] = []

    def figure(name: str, title: str, caption: str) -> str:
        used.append(name)
        return page.figure(drawn[name], number=len(used), title=title, caption=caption)

    lanes = int(found.swept.attrs["lanes"])
    files = ["sweep.zarr", "summary.csv", *(f"figures/{name}.svg" for name in drawn)]
    chapters = [
        ("reported", "Computed and reported", sections.compared(found, figure)),
        ("parts", "What the yield is made of", sections.parts(found, figure)),
        ("sensitivities", "What moves it", sections.sensitivities(found, figure)),
        ("stake", "Against stake", scenario_sections.against_stake(found, figure)),
        ("sweep", scenario_sections.scenarios(lanes), scenario_sections.sweep(found, figure)),
        ("blocks", "Block value", scenario_sections.blocks(found, figure)),
        ("queues", "Queues", sections.waiting(found, figure)),
        ("method", "Method", scenario_sections.method(found, command, files)),
    ]
    network = found.scenario.network
    numbers = json.dumps({**study.headline(found), "identity": _digest(found)}, sort_keys=True)
    return page.document(
        title="Ethereum staking yield",
        lead=f"Mainnet on {found.day.date.isoformat()}: {float(network.total_stake_eth):,.0f} ETH at stake by "
        f"{float(network.active_validators):,.0f} validators.",
        sections=chapters,
        top=sections.overview(found),
        footer="Expected rates of a model, not advice."
        f'<script type="application/json" id="headline">{numbers}</script>',
    )


def _digest(found: Study) -> str:
    """Digest of the scenario, to tell two pages apart."""
    values = {name: float(value) for name, value in leaves.as_dict(found.scenario).items()}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]
