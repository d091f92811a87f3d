"""What a task computes, what its table says, and the command from end to end."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest

import patterndim as pdm
from patterndim import cli, tracing
from patterndim.errors import ArgumentError, FileError, KindError
from patterndim.progress import ProgressLine
from patterndim.quantities import View
from patterndim.sweeps import as_tasks, display, experiment, export, run, sources, table
from patterndim.sweeps.schema import read_settings
from tests.test_cli import Terminal
from tests.test_sweep_survival import lines, measured

ROOT = Path(__file__).parent.parent
TINY = {"data": {"train": 8}, "network": {"widths": [64, 3, 10]}}

SPEC = """
[data]
train = 12
test = 6
[network]
widths = [64, 4, 10]
init = "glorot"
[training]
epochs = 3
batch = 8
[measure]
at = [1, 3]
samples = ["train", "test"]
outputs = ["affine", "softmax"]
[grid]
seed = [0, 1]
"data.noise" = [0.0, 0.3]
"""


def with_(**changes):
    return {name: {**TINY.get(name, {}), **value} for name, value in (TINY | changes).items()}


@pytest.mark.compiled
def test_rows_are_those_of_the_same_steps_by_hand():
    changes = {
        "data": {"train": 30, "test": 20, "gaussian": 25, "noise": 0.1, "corrupted": 0.5},
        "network": {"widths": [64, 6, 5, 10], "init": "torch", "scale": 0.5, "slope": 0.1},
        "training": {"epochs": 4, "batch": 16, "momentum": 0.9, "decay": 0.01, "rate": 0.05},
        "measure": {"at": [0, 3], "samples": ["gaussian", "train"], "trials": 2},
    }
    changes["training"]["milestones"] = [[2, 0.01]]
    (task,) = as_tasks([with_(**changes) | {"seed": 7}])
    rows = run(task)
    expected = []
    for trial in range(2):
        rng = [np.random.default_rng([7, stream, trial]) for stream in range(6)]
        X, y = pdm.data.digits()
        order = rng[0].permutation(1797)
        X_train, y_train = X[order[:30]], y[order[:30]].copy()
        X_test, y_test = X[order[30:50]], y[order[30:50]]
        X_train = X_train + rng[1].normal(0, 0.1, (30, 64))
        wrong = rng[2].permutation(30)[:15]
        y_train[wrong] = rng[2].integers(10, size=15)
        gaussian = rng[3].normal(0.5, 1, (25, 64))
        network = pdm.Network.random((64, 6, 5, 10), rng=rng[4], init="torch", slope=0.1)
        halved = [W / 2 for W in network.weights]
        network = pdm.Network.from_layers(halved, network.biases, slope=0.1)
        snapshots = pdm.training.sgd(
            network,
            X_train,
            y_train,
            epochs=4,
            batch=16,
            rate={0: 0.05, 4: 0.01},
            momentum=0.9,
            decay=0.01,
            every=[3],
            rng=rng[5],
        )
        for snapshot in list(snapshots)[:2]:
            for name, sample in [("gaussian", gaussian), ("train", X_train)]:
                found = pdm.local_dimension(snapshot.network, sample, rng=7)
                guess = pdm.outputs(snapshot.network, X_test).argmax(axis=1)
                expected.append(
                    {
                        "trial": trial,
                        "step": snapshot.step,
                        "epoch": snapshot.epoch,
                        "loss": snapshot.loss,
                        "accuracy": snapshot.accuracy,
                        "test_accuracy": np.mean(guess == y_test),
                        "sample": name,
                        "output": "affine",
                        "local_dimension": found.value,
                        "local_dimension_kind": found.kind,
                        "local_dimension_failure_probability": found.failure_probability,
                        "N": len(sample),
                        "P": network.parameter_count,
                    }
                )
    assert len(rows) == len(expected) == 8
    for row, by_hand in zip(rows, expected, strict=True):
        assert {name: row[name] for name in by_hand} == by_hand
    assert [row["step"] for row in rows[::2]] == [0, 6, 0, 6]


def settings(**changes):
    return sources.resolve(read_settings(with_(**changes)), Path())[0]


def test_the_first_trial_has_the_streams_of_the_seed():
    """SeedSequence fills up with zeros, so [seed, k] and [seed, k, 0] are one stream."""
    samples = sources.draw(settings(data={"gaussian": 2}), None, 0)
    order = np.random.default_rng([0, 0]).permutation(1797)
    assert (samples.inputs["train"] == pdm.data.digits()[0][order[:8]]).all()
    assert (
        samples.inputs["gaussian"] == np.random.default_rng([0, 3]).normal(0.5, 1, (2, 64))
    ).all()
    samples.inputs["train"][:] = 0  # what is shared stays as it is
    assert (sources.draw(settings(), None, 0).inputs["train"] != 0).any()
    second = sources.draw(settings(data={"gaussian": 2}), None, 1)
    assert not (samples.inputs["gaussian"] == second.inputs["gaussian"]).any()


def test_targets_of_the_square_loss():
    square = {"training": {"loss": "square", "steps": 1}}
    samples = sources.draw(settings(data={"test": 3}, **square), None, 0)
    assert samples.targets.shape == (8, 10)
    assert samples.targets.sum(axis=1).tolist() == [1.0] * 8
    assert samples.test_targets.shape == (3, 10)


@pytest.mark.parametrize(
    ("y", "outputs", "targets"),
    [
        ([-1, 1, 1, -1], 1, [[-1.0], [1.0], [1.0], [-1.0]]),
        ([0, 1, 1, 0], 1, [[0.0], [1.0], [1.0], [0.0]]),
        ([0, 1, 1, 0], 2, [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]]),
        ([[-1, 2]] * 4, 2, [[-1.0, 2.0]] * 4),
    ],
)
def test_integers_of_the_square_loss_are_labels_or_values(y, outputs, targets, tmp_path):
    np.savez(tmp_path / "d.npz", X=np.eye(4), y=y)
    spec = {"data": {"source": str(tmp_path / "d.npz"), "train": 4}}
    spec["network"] = {"widths": [4, 2, outputs]}
    (task,) = as_tasks([spec | {"training": {"loss": "square", "steps": 1}}])
    samples = sources.draw(task.settings, task.path, 0)
    order = np.random.default_rng([0, 0, 0]).permutation(4)
    assert samples.targets.dtype == np.float64
    assert samples.targets.tolist() == np.array(targets)[order].tolist()
    (first, last) = pdm.sweep([task], workers=0).rows
    assert np.isfinite([first["loss"], last["loss"]]).all()


@pytest.mark.parametrize(("source", "low"), [("gaussian", -9.0), ("uniform", 0.0)])
def test_random_inputs(source, low):
    network = {"widths": [3, 4, 2], "bias_std": 1.0}
    (task,) = as_tasks([with_(data={"source": source, "test": 2}, network=network)])
    samples = sources.draw(task.settings, None, 0)
    assert samples.inputs["train"].shape == (8, 3)
    assert samples.inputs["test"].shape == (2, 3)
    assert samples.inputs["train"].min() >= low
    (row,) = run(task)
    assert (row["loss"], row["accuracy"], row["test_accuracy"]) == (None, None, None)
    assert 0 < row["local_dimension"] <= 16


# Tables.


def record(key, task, rows, **options):
    about = {"patterndim": "0", "host": "h"}
    found = {"key": key, "task": task, "grid": [], "status": "done", "rows": rows}
    return found | {"seconds": 1.0, "about": about, "error": None} | options


def test_columns_have_the_type_of_what_is_in_them():
    rows = [
        {"n": 1, "x": 1, "flag": True, "word": "a", "list": [1, 2], "big": 2**70, "gone": None},
        {"n": 2, "x": 0.5, "flag": False, "word": None, "list": [], "big": 1, "gone": None},
    ]
    found = table.Results([record("k", {"seed": 3}, rows)]).table()
    assert found.dtype["n"] == np.int64
    assert found["x"].tolist() == [1.0, 0.5]
    assert found["flag"].tolist() == [True, False]
    assert found["word"].tolist() == ["a", ""]
    assert found["list"].tolist() == ["[1, 2]", "[]"]
    assert found["big"].tolist() == [2.0**70, 1.0]
    assert np.isnan(found["gone"]).all()
    assert found["seed"].tolist() == [3, 3]
    assert found["host"].tolist() == ["h", "h"]
    assert len(table.Results([]).table()) == 0


def test_columns_of_a_function_win():
    task = {"n": 1, "host": "where it should run"}
    rows = [{"seconds": 0.5, "task": "mine", "n": 2}, {}]
    records = [record("k", task, rows), record("l", {"n": 3, "host": "elsewhere"}, [])]
    first, second = table.Results(records).rows
    assert (first["seconds"], first["task"], first["n"]) == (0.5, "mine", 2)
    assert (second["seconds"], second["task"], second["n"]) == (1.0, "k", 1)
    assert first["host"] == second["host"] == "where it should run"


def test_rows_are_in_the_order_of_what_varies():
    values = [None, 2, 10, "a", [1, 5], [2], [2, 0]]
    records = [record(str(i), {"v": v, "same": 0}, [{"i": i}]) for i, v in enumerate(values)]
    for shuffled in (records, records[::-1], records[3:] + records[:3]):
        results = table.Results(shuffled)
        assert results.varied == ["v"]
        assert [row["i"] for row in results.rows] == list(range(7))


def test_a_table_with_pandas_or_without(tmp_path, monkeypatch):
    out = tmp_path / "results.jsonl"
    results = pdm.sweep([{"n": n} for n in (2, 1)], run=square, out=out, workers=0)
    assert repr(results) == "Results(2 rows of 2 tasks, 0 failed)"
    assert pdm.load_results(out)["square"].tolist() == [1, 4]
    with pytest.raises(ArgumentError, match="as_ must be one of numpy, pandas, got 'polars'"):
        pdm.load_results(out, as_="polars")
    pandas = pytest.importorskip("pandas")
    frame = pdm.load_results(out, as_="pandas")
    assert isinstance(frame, pandas.DataFrame)
    assert frame["square"].tolist() == [1, 4]
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(KindError, match="needs pandas: pip install pandas"):
        pdm.load_results(out, as_="pandas")


def square(task):
    return {"square": task["n"] ** 2, "word": "ab,c"}


def test_tables_in_files(tmp_path, monkeypatch):
    results = pdm.sweep([{"n": n} for n in (2, 1)], run=square, workers=0)
    path = tmp_path / "t.csv"
    results.save(path)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["n"], row["square"], row["word"]) for row in rows] == [
        ("1", "1", "ab,c"),
        ("2", "4", "ab,c"),
    ]
    with pytest.raises(ArgumentError, match=r"path must end in .csv or .parquet, got 't.txt'"):
        results.save(tmp_path / "t.txt")
    with pytest.raises(FileError, match=r"path must be writable, got .*: No such file"):
        results.save(tmp_path / "no" / "t.csv")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "t.parquet"
    results.save(path)
    assert parquet.read_table(path).to_pylist() == results.rows
    assert {p.name for p in tmp_path.iterdir()} == {"t.csv", "t.parquet"}
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(KindError, match="parquet needs pyarrow: pip install"):
        export.write_table({}, path)


def test_text_that_is_none_is_written_all_the_same(tmp_path):
    results = table.Results([record("k", {"seed": 3}, [{"name": "a\udc80"}])])
    results.save(tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(newline="") as file:
        assert next(csv.DictReader(file))["name"] == "a\\udc80"
    parquet = pytest.importorskip("pyarrow.parquet")
    results.save(tmp_path / "t.parquet")
    assert parquet.read_table(tmp_path / "t.parquet")["name"].to_pylist() == ["a\\udc80"]


# The command.


@pytest.fixture
def spec(tmp_path):
    path = tmp_path / "spec.toml"
    path.write_text(SPEC)
    return path


@pytest.mark.compiled
def test_the_command_prints_what_varies(spec, tmp_path, capsys):
    out = tmp_path / "results.jsonl"
    path = tmp_path / "t.csv"
    status = cli.main(
        ["sweep", str(spec), "--out", str(out), "--workers", "0", "--table", str(path)]
    )
    printed = capsys.readouterr().out.splitlines()
    assert status == 0
    header = "data.noise seed step epoch loss accuracy test_accuracy sample output local_dimension"
    assert " ".join(printed[0].split()).startswith(header)
    assert len(printed) == 23
    assert printed[-2:] == ["... 12 more rows", f"32 rows of 4 tasks in {out}"]
    assert len(lines(path)) == 33
    assert cli.main(["sweep", str(spec), "--out", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert len(found["rows"]) == 32
    assert found["failures"] == []
    assert len(lines(out)) == 4


def test_failures_are_printed_and_are_the_exit_status(spec, tmp_path, capsys, monkeypatch):
    def fail(*_, **__):
        raise MemoryError("too large")

    monkeypatch.setattr(experiment, "traced", fail)
    out = tmp_path / "results.jsonl"
    assert cli.main(["sweep", str(spec), "--out", str(out), "--workers", "0"]) == 1
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "failed: data.noise = 0.0, seed = 0: MemoryError: too large"
    assert printed[-1] == (
        f"0 rows of 4 tasks in {out}, 4 tasks failed (--retry-failed runs them again)"
    )


def test_the_command_counts_one_row_of_one_task(tmp_path, capsys):
    spec, out = tmp_path / "spec.toml", tmp_path / "results.jsonl"
    spec.write_text('[data]\nsource = "uniform"\ntrain = 3\n[network]\nwidths = [2, 3, 1]\n')
    assert cli.main(["sweep", str(spec), "--out", str(out), "--workers", "0"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"1 row of 1 task in {out}"


@pytest.mark.compiled
def test_what_an_experiment_measured_before_it_failed_is_kept(spec, tmp_path, capsys, monkeypatch):
    """Of two snapshots, two samples and two kinds of output, the last sample is too large."""
    whole = pdm.sweep(spec, workers=0).rows
    seen = []

    def view(*arguments):
        seen.append(arguments)
        if len(seen) % 4 == 0:
            raise MemoryError("too large")
        return View(*arguments)

    monkeypatch.setattr(tracing, "View", view)
    out = tmp_path / "results.jsonl"
    assert cli.main(["sweep", str(spec), "--out", str(out), "--workers", "0"]) == 1
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "failed: data.noise = 0.0, seed = 0: MemoryError: too large (after 6 rows)"
    assert cli.main(["sweep", str(spec), "--out", str(out), "--json"]) == 1
    assert printed[-1].startswith(f"0 rows of 4 tasks in {out}, 4 tasks failed (")
    found = json.loads(capsys.readouterr().out)["unfinished"]
    expected = [row for i, row in enumerate(whole) if i % 8 < 6]
    assert [row | {"seconds": 0} for row in found] == [row | {"seconds": 0} for row in expected]


@pytest.mark.compiled
def test_ctrl_c_says_how_to_go_on(spec, tmp_path):
    """With workers, as in a terminal: the whole process group gets the signal."""
    spec.write_text(SPEC.replace("seed = [0, 1]", f"seed = {list(range(12))}"))
    out = tmp_path / "results.jsonl"
    command = [sys.executable, "-m", "patterndim", "sweep", str(spec), "--out", str(out)]
    options = {"cwd": ROOT, "start_new_session": True, "text": True, "stderr": subprocess.PIPE}
    whole = pdm.sweep(spec, workers=0)
    for signaled in (signal.SIGKILL, signal.SIGINT):
        count = len(lines(out))
        process = subprocess.Popen([*command, "--workers", "2"], **options)
        while len(lines(out)) < count + 2:
            time.sleep(0.01)
            assert process.poll() is None
        if signaled == signal.SIGINT:
            os.killpg(process.pid, signaled)
        else:
            process.kill()
        err = process.communicate()[1]
        if signaled == signal.SIGINT:
            done = len(lines(out))
            assert process.returncode == 130
            assert err == (
                f"patterndim: interrupted: {done} of 24 tasks are in {out}; "
                "the same command does the rest\n"
            )
    assert 4 <= len(lines(out)) < 24
    results = pdm.sweep(spec, out=out, workers=0)
    assert measured(results) == measured(whole)
    assert len(lines(out)) == 24


def test_dask_is_an_extra(spec, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert cli.main(["sweep", str(spec), "--out", str(tmp_path / "r"), "--dask", "local"]) == 2
    assert 'pip install "patterndim[dask]"' in capsys.readouterr().err


def test_the_example_of_the_help_is_a_spec(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["sweep", "--help"])
    text = capsys.readouterr().out
    example = text.split("on the bundled digits:\n")[1].split("keys that a grid")[0]
    assert len(as_tasks(tomllib.loads(example))) == 6
    assert "  training.epochs\n      passes over the training inputs; this or steps\n" in text
    assert '  data.source = "digits"\n' in text
    assert "  network.widths (required)\n" in text


# Progress.


def test_one_line_says_rate_and_time_left():
    assert display.describe(0, 0, 1200, (0.0, 0), 0.0) == "0 of 1,200 tasks"
    assert display.describe(40, 2, 100, (0.0, 30), 4.0) == (
        "40 of 100 tasks, 2 failed, 2.5 a second, 0:24 left"
    )
    assert display.describe(2, 0, 400, (5.0, 0), 65.0) == (
        "2 of 400 tasks, 30.0 s each, 3:19:00 left"
    )


@pytest.mark.parametrize("installed", [True, False])
def test_progress_is_shown_on_terminals_and_goes_away(installed, monkeypatch):
    if installed:
        pytest.importorskip("tqdm")
    else:
        monkeypatch.setitem(sys.modules, "tqdm", None)
    quiet, terminal = Terminal(), Terminal()
    monkeypatch.setattr(quiet, "isatty", lambda: False)
    for stream in (quiet, terminal):
        bar = display.Bar(stream)
        for finished in range(3, 6):
            bar(finished, int(finished > 4), 5)
            time.sleep(0.11)
        bar.close()
    assert quiet.getvalue() == ""
    shown = terminal.getvalue()
    assert "3 of 5" in shown or "3/5" in shown
    assert shown.rsplit("\r", 2)[1].strip() == ""
    assert isinstance(display.Bar(terminal).line, ProgressLine)
