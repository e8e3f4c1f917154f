"""`jaxstake report`; what it writes is tested in tests/report."""

from __future__ import annotations

import pytest

from jaxstake.cli import common


def test_json_names_paths_and_numbers(cli, tmp_path):
    out = tmp_path / "new" / "folder"
    result = cli("report", "--out", out, "--lanes", 64, "--set", "costs.commission=0.1", "--json")
    assert result.code == 0
    assert result.err == ""
    found = result.json
    assert set(found) == {"paths", "headline"}
    assert found["paths"] == {
        "page": str(out / "index.html"),
        "sweep": str(out / "sweep.zarr"),
        "summary": str(out / "summary.csv"),
        "figures": str(out / "figures"),
    }
    assert (out / "index.html").is_file()
    expected = cli("apr", "--json", "--set", "costs.commission=0.1").json["net"]
    assert found["headline"]["net"] == pytest.approx(expected, rel=1e-9)
    assert found["headline"]["lanes"] == 64


def test_table_and_silence_in_a_pipe(cli, tmp_path):
    result = cli("report", "--out", tmp_path, "--lanes", 1)
    assert result.code == 0
    assert result.err == ""
    assert "2.620%" in result.out
    assert str(tmp_path / "index.html") in result.out


def test_bar_on_a_terminal_goes_to_standard_error(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with common.progress("working") as report:
        assert report is not None
        report(1, 2)
        report(2, 2)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "working" in captured.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--lanes", "0"], ["--lanes must be at least 1, got 0"]),
        (["--lanes", "-5"], ["--lanes must be at least 1, got -5"]),
        (["--lanes", "many"], ["--lanes", "integer"]),
        (["--mev-data", "absent.csv"], ["cannot read absent.csv"]),
        (["--fork", "electrum"], ["unknown fork 'electrum'", "electra"]),
        (["--set", "validator.uptime=1.5"], ["validator.uptime must be in [0, 1]", "1.5"]),
    ],
)
def test_bad_input_is_one_line(refused, tmp_path, options, words):
    message = refused("report", "--out", tmp_path, *options)
    for word in words:
        assert word in message
    assert not (tmp_path / "index.html").exists()


def test_payments_without_their_column_are_one_line(refused, tmp_path):
    file = tmp_path / "blocks.csv"
    file.write_text("slot,value\n1,2\n")
    message = refused("report", "--out", tmp_path, "--mev-data", file)
    assert "payment_eth" in message
    assert "slot, value" in message


def test_folder_is_tried_before_any_work(refused, tmp_path, monkeypatch):
    def work(*args, **kwargs):
        raise AssertionError("work began")

    monkeypatch.setattr("jaxstake.report.study.run", work)
    (tmp_path / "file").write_text("")
    assert f"cannot write to {tmp_path / 'file' / 'out'}" in refused("report", "--out", tmp_path / "file" / "out")
    assert f"cannot write to {tmp_path / 'file'}" in refused("report", "--out", tmp_path / "file")
    assert "--out" in refused("report")
