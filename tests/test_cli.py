import io
import json
import subprocess
import sys

import numpy as np
import pytest

import patterndim as pdm
from patterndim import cli, plot
from patterndim.demo import Demo, DemoRow
from patterndim.errors import FileError
from patterndim.progress import ProgressLine


@pytest.fixture
def files(tmp_path):
    network = pdm.Network.random((3, 4, 2), rng=0, bias_std=0.1)
    X = np.random.default_rng(0).standard_normal((5, 3))
    pdm.save(network, tmp_path / "network.npz")
    np.save(tmp_path / "X.npy", X)
    return network, X, str(tmp_path / "network.npz"), str(tmp_path / "X.npy")


def test_dimension_prints_a_report(files, capsys):
    network, X, *paths = files
    assert cli.main(["dimension", *paths]) == 0
    out, err = capsys.readouterr()
    dimension = pdm.local_dimension(network, X)
    assert f"local dimension  {dimension.value}\n" in out
    assert f"kind             {dimension.kind}: " in out
    assert "5 inputs, 2 outputs each (affine)" in out
    assert "P, P - H         26, 22" in out
    assert err == ""


@pytest.mark.parametrize("method", ["modular", "sketched", "numerical"])
@pytest.mark.parametrize("output", ["affine", "softmax"])
def test_dimension_prints_json(files, capsys, method, output):
    network, X, *paths = files
    options = ["--method", method, "--output", output, "--seed", "3", "--memory", "1GB", "--json"]
    assert cli.main(["dimension", *paths, *options]) == 0
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    expected = pdm.local_dimension(network, X, method=method, output=output, rng=3)
    for name in ("value", "kind", "lower", "upper", "bound", "ties", "uncertain", "modulus"):
        assert found[name] == getattr(expected, name)
    assert found["widths"] == [3, 4, 2]
    assert (found["parameter_count"], found["hidden_neurons"], found["inputs"]) == (26, 4, 5)


def test_every_kind_is_told_in_words(tmp_path, capsys):
    # Two neurons with opposite masks, which no bound knows about, and one with ties.
    W, b = [[1.0, 0.0], [-1.0, 0.0], [0.0, -1.0]], [0.5, -0.5, 0.0]
    network = pdm.Network.from_layers([W, [[1.0, 1.0, 1.0]]], [b, [0.0]])
    pdm.save(network, tmp_path / "n.npz")
    np.save(tmp_path / "X.npy", [[x, y] for x in range(-3, 3) for y in (-1, 0, 1)])
    words = {"modular": "probable: at least", "numerical": "numerical: singular values above"}
    for method, expected in words.items():
        cli.main(
            ["dimension", str(tmp_path / "n.npz"), str(tmp_path / "X.npy"), "--method", method]
        )
        out = capsys.readouterr().out
        assert expected in out
        assert "6 exact zeros (ties)" in out
        assert "the network is not differentiable" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{net}", "missing.npy"], "source must be a readable .npy array, got 'missing.npy'"),
        (["missing.npz", "{X}"], "source must be a readable .npz archive, got 'missing.npz'"),
        (["{net}", "{net}"], "source must be a readable .npy array, got"),
        (["{X}", "{X}"], "source must end in .npz or .safetensors or "),
        (["{net}", "{bad}"], "inputs must have shape (N, 3), got (5, 4)"),
        (["{net}", "{pickle}"], "source must be a readable .npy array"),
        (["{net}", "{X}", "--memory", "lots"], "memory must be a positive number of bytes"),
        (["{net}", "{X}", "--memory", "10"], "memory must be at least"),
        (["{net}", "{X}", "--seed", "-1"], "rng must be at least 0, got -1"),
    ],
)
def test_errors_are_one_line(files, tmp_path, capsys, arguments, message):
    _, _, net, X = files
    np.save(tmp_path / "bad.npy", np.ones((5, 4)))
    np.save(tmp_path / "pickle.npy", np.array([{}], dtype=object))
    names = {"net": net, "X": X, "bad": tmp_path / "bad.npy", "pickle": tmp_path / "pickle.npy"}
    assert cli.main(["dimension", *(word.format(**names) for word in arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"patterndim: error: {message}")
    assert err.count("\n") == 1


@pytest.mark.compiled
def test_demo_prints_a_table_and_draws(tmp_path, capsys):
    picture = tmp_path / "curve.png"
    options = ["--steps", "30", "--samples", "40", "--out", str(picture)]
    assert cli.main(["demo", *options]) == 0
    out, err = capsys.readouterr()
    rows = [line.split() for line in out.splitlines() if line.strip()[:1].isdigit()]
    assert [row[0] for row in rows] == ["0", "10", "30"]
    assert all(row[6] in ("proved", "probable") and int(row[4]) <= int(row[5]) for row in rows)
    assert "P - H = 1346" in out
    assert err == ""
    if plot.available():
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert f"The picture is in {picture}." in out


@pytest.mark.compiled
def test_demo_without_matplotlib_says_what_to_install(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(plot, "available", lambda: False)
    assert cli.main(["demo", "--steps", "1", "--samples", "20", "--out", "never.png"]) == 0
    assert 'pip install "patterndim[plot]"' in capsys.readouterr().out


@pytest.mark.compiled
def test_demo_prints_json(capsys, tmp_path):
    options = ["--steps", "10", "--samples", "20", "--json", "--out", str(tmp_path / "c.png")]
    assert cli.main(["demo", *options]) == 0
    rows = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert [row["step"] for row in rows] == [0, 10]
    assert rows[0]["train"]["kind"] in ("proved", "probable")
    assert 0 < rows[0]["gaussian"]["value"] <= 200


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--steps", "0"], "--steps must be at least 1, got 0"),
        (["--samples", "0"], "--samples must be from 1 to 1200, got 0"),
        (["--samples", "1201"], "--samples must be from 1 to 1200, got 1201"),
        (["--seed", "-1"], "--seed must be at least 0, got -1"),
    ],
)
def test_demo_refuses_bad_options(options, message, capsys):
    assert cli.main(["demo", *options]) == 2
    assert capsys.readouterr().err == f"patterndim: error: {message}\n"


def test_a_picture_that_cannot_be_written_is_a_file_error(tmp_path):
    pytest.importorskip("matplotlib")
    with pytest.raises(FileError, match="the picture must be writable"):
        plot.training_curve(rows(), tmp_path / "nowhere" / "x.png", title="", maximum=9)


def rows():
    dimension = pdm.local_dimension(pdm.Network.random((2, 2)), np.eye(2))
    return [DemoRow(step, 1.0, 0.5, 0.5, dimension, dimension, 0.1) for step in (0, 10)]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_is_for_terminals_and_leaves_nothing_behind():
    quiet, terminal = io.StringIO(), Terminal()
    for stream in (quiet, terminal):
        line = ProgressLine(stream)
        line(1000, 2000)
        line.show("short")
        line.clear()
        line.clear()
    assert quiet.getvalue() == ""
    text = terminal.getvalue()
    assert "rank 1,000 of at most 2,000" in text
    screen = [" "] * 80
    column = 0
    for character in text:
        if character == "\r":
            column = 0
        else:
            screen[column] = character
            column += 1
    assert "".join(screen).strip() == ""
    assert column == 0


def test_help_version_and_interruption(capsys, monkeypatch):
    assert cli.main([]) == 0
    assert "demo" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"patterndim {pdm.__version__}\n"

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Demo, "build", interrupted)
    assert cli.main(["demo"]) == 130


@pytest.mark.compiled
def test_module_runs_and_survives_a_closed_pipe(files):
    _, _, net, X = files
    command = [sys.executable, "-m", "patterndim", "dimension", net, X]
    whole = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "local dimension" in whole.stdout
    assert whole.stderr == ""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait() == 1
