"""Every example of the README runs and prints what the README shows."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

README = (Path(__file__).parents[1] / "README.md").read_text()
MAKEFILE = (Path(__file__).parents[1] / "Makefile").read_text()

PYTHON = re.findall(r"## ([^\n]*)\n\n```python\n(.*?)```\n(?:\n```text\n(.*?)```)?", README, flags=re.DOTALL)
SHELL = [line.removeprefix("$ ") for block in re.findall(r"```console\n(.*?)```", README, flags=re.DOTALL)
         for line in block.splitlines() if line.startswith("$ ")]  # fmt: skip


def test_every_block_is_found() -> None:
    assert len(PYTHON) == README.count("```python") == 6
    assert sum(bool(shown) for _, _, shown in PYTHON) == README.count("```text") == 5
    assert len(SHELL) == 13


@pytest.mark.parametrize(("code", "shown"), [pytest.param(code, shown, id=title) for title, code, shown in PYTHON])
def test_python(code: str, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), jax.numpy_dtype_promotion("standard"):
        exec(compile(code, "README.md", "exec"), {"__name__": "readme"})
    assert printed.getvalue() == shown
    if "savefig" in code:
        assert (tmp_path / "apr.png").stat().st_size > 5000


@pytest.mark.parametrize("command", SHELL)
def test_command_line(command: str, tmp_path: Path, only_x64: None) -> None:  # a process of its own: one run will do
    program, *arguments = shlex.split(command)
    assert program == "jaxstake"
    root = str(Path(__file__).parents[1])
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}  # compile as users do
    if "payments.csv" in arguments:
        values = np.random.default_rng(1).lognormal(-3.0, 0.9, 400)
        (tmp_path / "payments.csv").write_text("payment_eth\n" + "\n".join(f"{value:.9f}" for value in values) + "\n")
    done = subprocess.run(
        [sys.executable, "-m", "jaxstake", *arguments],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert "Traceback" not in done.stderr
    if "report" in arguments:
        assert (tmp_path / "report" / "index.html").is_file()


@pytest.mark.parametrize("target", re.findall(r"make ([a-z]+)", README))
def test_make_targets_exist(target: str) -> None:
    assert re.search(rf"^{target}:", MAKEFILE, flags=re.MULTILINE)
