import json
import tomllib
from pathlib import Path

import numpy as np
import pytest

import patterndim as pdm
from patterndim import cli, experiments, plot, summary
from patterndim.errors import ArgumentError, FileError
from patterndim.experiments import EXPERIMENTS, Table, saddles, sizes, spec_path, tabulate
from patterndim.heads import OUTPUTS
from patterndim.sweeps import as_tasks, trials

#: Every experiment so small that it takes a moment.
TINY = {
    "epochs": {
        "data.train": 20,
        "data.test": 12,
        "data.gaussian": 12,
        "network.widths": [64, 3, 10],
        "training.epochs": 2,
        "measure.at": [0, 1, 2],
        "grid.seed": [0, 1],
    },
    "width": {"grid.network.widths": [[64, 2, 10], [64, 3, 10]]},
    "noise": {"network.widths": [64, 3, 10], "grid.data.noise": [0.0, 0.5]},
    "corruption": {"network.widths": [64, 3, 10], "grid.data.corrupted": [0.0, 1.0]},
    "float32": {
        "data.train": 8,
        "data.test": 8,
        "data.gaussian": 8,
        "network.widths": [64, 3, 10],
        "training.epochs": 2,
        "measure.at": [0, 2],
        "grid.seed": [0],
    },
    "hidden_symmetries": {
        "measure.trials": 3,
        "grid.data.train": [40],
        "grid.network.widths": [[2, 3, 1], [2, 3, 3, 1]],
    },
    "full_rank": {
        "measure.trials": 4,
        "grid.data.train": [2, 5],
        "grid.network.widths": [[1, 4, 1], [1, 9, 1]],
    },
    "saddle_to_saddle": {"training.steps": 40, "measure.at": [0, 10, 40], "grid.seed": [0, 1]},
}
AFTER = {
    "data.train": 20,
    "data.test": 12,
    "data.gaussian": 12,
    "training.epochs": 2,
    "measure.at": [2],
    "grid.seed": [0, 1],
}
for name in ("width", "noise", "corruption"):
    TINY[name] |= AFTER


def test_every_experiment_has_a_tiny_version_here():
    assert TINY.keys() == EXPERIMENTS.keys()


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_spec_is_valid(name, tmp_path):
    assert sizes(name)[0] == "small"
    for size in sizes(name):
        spec = tomllib.loads(spec_path(name, size).read_text())
        if spec["data"]["source"] not in ("digits", "gaussian", "uniform"):
            inputs, outputs = spec["network"]["widths"][0], spec["network"]["widths"][-1]
            X = np.zeros((2600, inputs))
            y = np.arange(2600) % 10 if outputs == 10 else np.zeros((2600, outputs))
            np.savez(tmp_path / "data.npz", X=X, y=y)
            spec["data"]["source"] = str(tmp_path / "data.npz")
        assert len(as_tasks(spec)) == np.prod([len(v) for v in spec["grid"].values()])


def test_the_published_configuration_is_that_of_the_paper():
    spec = tomllib.loads(spec_path("epochs", "paper").read_text())
    assert spec["network"] == {"widths": [784, 30, 30, 30, 10], "init": "glorot"}
    assert [spec["data"][key] for key in ("train", "test", "gaussian")] == [600, 2000, 2000]
    assert spec["training"] == {"epochs": 680, "rate": 0.1, "batch": 256, "loss": "cross-entropy"}
    assert spec["measure"]["at"] == [0, 40, 80, 280, 680]


@pytest.mark.compiled
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_makes_results_a_table_and_a_figure(name, tmp_path):
    found = experiments.reproduce(name, out=tmp_path, overrides=TINY[name], workers=0)
    assert found.results.failures == []
    rows = found.results.rows
    assert rows
    assert found.table.csv() == (tmp_path / "table.csv").read_text()
    assert found.table.text() == (tmp_path / "table.txt").read_text()
    counts = found.table.columns.index("values")
    assert sum(row[counts] for row in found.table.rows) == len(rows)
    if plot.available():
        assert found.figure.read_bytes().startswith(b"\x89PNG")
        assert found.figure.stat().st_size > 10_000
    if name == "epochs":  # its widths do not vary, but the bound behind a softmax needs them
        assert 235 - 3 - 3 - 1 in found.table.rows[-1]
    # What is there is not run again, and tells the same.
    before = (tmp_path / "results.jsonl").read_text()
    again = experiments.reproduce(name, out=tmp_path, overrides=TINY[name], workers=0)
    assert (tmp_path / "results.jsonl").read_text() == before
    assert again.table == found.table


def test_tables_have_means_spreads_and_what_is_proved():
    kinds = ("proved", "probable")
    rows = [
        {"seed": s, "n": n, "P": 9, "H": 2, "d": n + s, "d_kind": kinds[s], "loss": 0.5 * s}
        for s in (0, 1)
        for n in (30, 4)
    ]
    table = tabulate(experiments.reproduction.rows_of(rows), ["n"], "d", means=["loss"])
    columns = ("n", "P", "P - H", "d", "lowest", "highest", "values", "proved", "loss")
    first, second = (4, 9, 7, 4.5, 4, 5, 2, 1, 0.25), (30, 9, 7, 30.5, 30, 31, 2, 1, 0.25)
    assert table == Table(columns, [first, second])
    assert table.csv().splitlines()[1] == "4,9,7,4.5,4.0,5.0,2,1,0.25"
    lines = table.text().splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[2].split() == ["30", "9", "7", "30.5", "30", "31", "2", "1", "0.25"]


def test_a_value_that_is_missing_leaves_a_gap():
    rows = [{"n": 1, "d": 2, "loss": None}, {"n": 3, "d": 4, "loss": 12345.0}]
    table = tabulate(rows, ["n"], "d", means=["loss"])
    assert [row[-1] for row in table.rows] == [None, 12345.0]
    assert table.text().splitlines()[2].endswith("12,345")


def row(output="affine", **values):
    """A measurement of a network of widths 64-3-10 with biases, at 20 inputs."""
    known = {"P": 235, "H": 3, "N": 20, "n_L": 10, "local_dimension": 100, "seed": 0, "epoch": 0}
    known |= {"network.widths": [64, 3, 10], "sample": "train", "output": output, **values}
    return summary.rows_of([known])[0]


def test_bounds_behind_a_softmax_are_those_that_can_be_reached():
    assert (row()["P - H"], row()["N n_L"]) == (232, 200)
    soft = row("softmax")
    assert (soft["P - H - n_{L-1} - 1"], soft["N (n_L - 1)"]) == (228, 180)
    assert row("softmax", P=222)["P - H - n_{L-1}"] == 216  # no biases
    one = {"network.widths": [64, 3, 1], "P": 199, "n_L": 1}  # of one output nothing is left
    for other in ({"P": 230}, {"network.widths": None}, {"network.widths": [64, 10]}, one):
        found = row("softmax", **other)
        assert not {"P - H", "N n_L"} & {*found}
        assert summary.bound(found, summary.OF_PARAMETERS) is None
    # The bounds are reached: many inputs, generic parameters.
    network = pdm.Network.random((3, 4, 3), rng=0, bias_std=0.3)
    X = np.random.default_rng(0).standard_normal((60, 3))
    (reached,) = pdm.trace([network], X, outputs=["softmax"])
    (reached,) = summary.rows_of([{**reached, "network.widths": [3, 4, 3]}])
    assert reached["local_dimension"] == reached["P - H - n_{L-1} - 1"]


def test_tables_and_figures_show_the_bounds_of_each_output():
    rows = [row(kind, accuracy=None, test_accuracy=None, loss=None) for kind in OUTPUTS]
    table = EXPERIMENTS["epochs"].table(rows)
    last = table.columns.index("local_dimension")
    names = ("P", "P - H", "P - H - n_{L-1} - 1", "N n_L", "N (n_L - 1)")
    assert table.columns[3:last] == names
    assert [one[3:last] for one in table.rows] == [
        (235, 232, None, 200, None),
        (235, None, 228, None, 180),
    ]
    if plot.available():
        figure = EXPERIMENTS["epochs"].figure(rows)
        texts = [[text.get_text() for text in ax.texts] for ax in figure.axes[:2]]
        assert texts == [["P - H = 232"], ["P - H - n_{L-1} - 1 = 228"]]
        first = figure.legends[0].get_texts()[0].get_text()
        assert first == "training sample, N n_L = 200, N (n_L - 1) = 180"


@pytest.mark.parametrize(
    ("outputs", "most", "fractions"),
    [
        (["affine"], "P - H", [0.5]),
        (["softmax"], "P - H - n_{L-1} - 1", [0.5]),
        (["affine", "softmax"], "P - H or P - H - n_{L-1} - 1", [0.5, 0.5]),
    ],
)
def test_hidden_symmetries_are_counted_from_the_bound_of_each_output(outputs, most, fractions):
    reached = {"affine": 232, "softmax": 228}
    rows = [row(o, local_dimension=reached[o] - k, trial=k) for k in (0, 1) for o in outputs]
    table = EXPERIMENTS["hidden_symmetries"].table(rows)
    assert table.columns[: len(outputs) + 2] == (
        *["output"][: len(outputs) - 1],
        "N",
        "depth",
        "width",
    )
    name = table.columns.index(f"fraction at {most}")
    assert [one[name] for one in table.rows] == fractions
    assert [one[table.columns.index("missing")] for one in table.rows] == fractions
    if plot.available():
        figure = EXPERIMENTS["hidden_symmetries"].figure(rows)
        label = figure.axes[0].get_ylabel().replace("\n", " ")
        assert label == f"networks with local dimension {most}"
        lines = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
        assert lines == [f"width 3, {o}" if len(outputs) > 1 else "width 3" for o in outputs]


def test_networks_whose_bound_is_not_known_do_not_count():
    rows = [row("softmax", P=230), row("softmax", local_dimension=228)]
    (one,) = EXPERIMENTS["hidden_symmetries"].table(rows).rows
    assert one[-4:] == (1.0, 1, 164.0, 0.0)  # fraction, values, dimension, missing


@pytest.mark.parametrize("name", ["float32", "full_rank", "saddle_to_saddle"])
def test_no_experiment_averages_over_kinds_of_outputs(name):
    extra = {"float32_rank": 9, "aligned_neurons_distinct": 3, "step": 0, "loss": 1.0}
    kinds = {"affine": 100, "softmax": 60}
    rows = [row(kind, **extra, local_dimension=value) for kind, value in kinds.items()]
    table = EXPERIMENTS[name].table(rows)
    value = table.columns.index("local_dimension")
    assert {one[0]: one[value] for one in table.rows} == kinds
    assert EXPERIMENTS[name].table(rows[:1]).columns[0] != "output"
    if plot.available():
        axes = EXPERIMENTS[name].figure(rows).axes
        texts = {text.get_text() for ax in axes for text in ax.texts}
        labels = {ax.get_ylabel() for ax in axes}
        if name == "full_rank":
            assert labels > {"probability of rank n n_L", "probability of rank n (n_L - 1)"}
        else:
            assert texts >= {"P - H = 232", "P - H - n_{L-1} - 1 = 228"}


def test_full_rank_of_one_output_is_n():
    if plot.available():
        figure = EXPERIMENTS["full_rank"].figure([row(N=2, n_L=1, local_dimension=2, width=3)])
        assert "probability of rank n" in {ax.get_ylabel() for ax in figure.axes}


def test_figures_of_what_has_no_curve(tmp_path):
    """A single input has no log n to divide by, an untrained network has no loss."""
    if not plot.available():
        pytest.skip("no matplotlib")
    one = row(N=1, n_L=1, local_dimension=1, width=3)
    row_of_none = {"step": 0, "loss": None, "aligned_neurons_distinct": 3}
    plot.save(EXPERIMENTS["full_rank"].figure([one]), tmp_path / "one.png")
    plot.save(EXPERIMENTS["full_rank"].figure([one, row(N=2, width=3)]), tmp_path / "two.png")
    plot.save(EXPERIMENTS["saddle_to_saddle"].figure([row(**row_of_none)]), tmp_path / "none.png")
    none = {"float32_rank": 1, "accuracy": None, "test_accuracy": None}
    for name in ("float32", "epochs"):
        plot.save(EXPERIMENTS[name].figure([row(**none)]), tmp_path / "empty.png")


def test_the_teacher_is_three_orthogonal_neurons():
    X, y = saddles.teacher()
    assert (X.shape, y.shape) == ((100, 3), (100, 1))
    # A network with these three neurons fits exactly, and its hyperplanes are orthogonal.
    rng = np.random.default_rng(0)
    rng.standard_normal((100, 3))
    directions = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    network = pdm.Network.from_layers([directions.T, [saddles.WEIGHTS]], None)
    np.testing.assert_allclose(pdm.outputs(network, X), y, atol=1e-12)


@pytest.mark.parametrize("output", ["affine", "softmax"])
def test_trials_in_bulk_are_those_one_by_one(output, monkeypatch):
    spec = {
        "data": {"source": "gaussian", "train": 12, "gaussian": 7},
        "network": {"widths": [2, 4, 3, 2], "bias_std": 0.1},
        "measure": {"trials": 7, "samples": ["train", "gaussian"], "outputs": [output]},
    }
    monkeypatch.setattr(trials, "SAMPLES", 8 * 2 * 19 * 3)  # three trials at a time
    together = pdm.sweep(spec, workers=0).rows
    monkeypatch.setattr(trials, "suit", lambda settings: False)
    alone = pdm.sweep(spec, workers=0).rows
    assert len(together) == len(alone) == 14
    evidence = ("bound", "failure_probability", "kind", "modulus", "upper")
    for one, other in zip(together, alone, strict=True):
        assert one.keys() == other.keys()
        for key in one.keys() - {f"local_dimension_{name}" for name in evidence} - {"seconds"}:
            assert one[key] == other[key], key


@pytest.mark.compiled
def test_full_rank_probabilities_are_those_known(tmp_path):
    """Reference: n = 10, d_1 = 90: 0.49 +- 0.05, from 200 draws of float64 ranks."""
    grid = {"grid.data.train": [10], "grid.network.widths": [[1, 90, 1]], "measure.trials": 60}
    found = experiments.reproduce("full_rank", out=tmp_path, overrides=grid, workers=0)
    (row,) = found.table.rows
    probability = row[found.table.columns.index("full rank")]
    # Four standard errors of 60 draws and of the reference.
    assert probability == pytest.approx(0.49, abs=4 * (0.25 / 60 + 0.25 / 200) ** 0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "width_of"}, "name must be one of epochs, width, noise"),
        ({"name": "epochs", "size": "large"}, "size must be one of small, paper, got 'large'"),
        ({"name": "float32", "size": "paper"}, "size must be small for float32, got 'paper'"),
        ({"name": "epochs", "size": "paper"}, "data must be given for this size: MNIST"),
        ({"name": "epochs", "overrides": {"data.trian": 3}}, "'data.trian' is no key of a sweep"),
        ({"name": "epochs", "overrides": {"data": 5}}, "overrides must leave data a table, got"),
        ({"name": "epochs", "overrides": {"title.x": 5}}, "must leave title no table, got"),
    ],
)
def test_what_cannot_be_reproduced_is_refused(options, message, tmp_path):
    with pytest.raises(ArgumentError, match=message):
        experiments.reproduce(out=tmp_path / "out", workers=0, **options)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_a_file_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="out must be a folder to write to, got"):
        experiments.reproduce("full_rank", out=tmp_path / "file", workers=0)


@pytest.mark.compiled
def test_data_takes_the_place_of_that_of_the_spec(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "mine.npz", X=rng.random((40, 6)), y=np.arange(40) % 10)
    tiny = {**TINY["noise"], "network.widths": [6, 3, 10], "grid.seed": [0]}
    data = tmp_path / "mine.npz"
    found = experiments.reproduce("noise", out=tmp_path, data=data, overrides=tiny, workers=0)
    assert {row["P"] for row in found.results.rows} == {6 * 3 + 3 + 40}


def test_the_command_lists_experiments(capsys):
    assert cli.main(["reproduce", "--list"]) == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines()] == list(EXPERIMENTS)
    assert cli.main(["reproduce", "--list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["epochs"]["sizes"] == ["small", "paper"]
    assert cli.main(["reproduce", "width", "--list"]) == 0
    assert capsys.readouterr().out.startswith("width  local dimension after training against")
    assert cli.main(["reproduce", "widht", "--list"]) == 2
    assert "name must be one of epochs, width, noise" in capsys.readouterr().err
    assert cli.main(["reproduce"]) == 2
    assert "NAME must be given; --list shows them" in capsys.readouterr().err


@pytest.fixture
def tiny_specs(tmp_path, monkeypatch):
    """Specs of the small size that take a moment, from a folder of their own."""
    original = spec_path("full_rank").read_text()
    text = original.split("[grid]")[0].replace("trials = 200", "trials = 3")
    path = tmp_path / "full_rank_small.toml"
    path.write_text(text + '[grid]\n"data.train" = [2, 3]\n"network.widths" = [[1, 4, 1]]\n')
    monkeypatch.setattr(experiments.reproduction, "spec_path", lambda name, size: path)
    return path


def test_the_command_prints_a_table_and_says_where_everything_is(tiny_specs, tmp_path, capsys):
    out = tmp_path / "out"
    options = ["reproduce", "full_rank", "--out", str(out), "--workers", "0"]
    assert cli.main(options) == 0
    text, err = capsys.readouterr()
    assert (out / "table.txt").read_text() in text
    assert f"Results and table are in {out}." in text
    assert err == ""
    assert cli.main([*options, "--json"]) == 0
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert (found["name"], found["size"], found["failures"]) == ("full_rank", "small", [])
    assert len(found["rows"]) == 2
    assert len(found["rows"][0]) == len(found["columns"])
    if plot.available():
        assert Path(found["figure"]).exists()


def test_without_matplotlib_there_is_a_table(tiny_specs, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(plot, "available", lambda: False)
    options = ["--out", str(tmp_path / "out"), "--workers", "0"]
    assert cli.main(["reproduce", "full_rank", *options]) == 0
    assert 'pip install "patterndim[plot]"' in capsys.readouterr().out
    assert not (tmp_path / "out" / "figure.png").exists()


def test_failures_are_told(tiny_specs, tmp_path, capsys, monkeypatch):
    def broken(*_, **__):
        raise ValueError("no rank today")

    monkeypatch.setattr(trials, "local_dimensions", broken)
    options = ["--out", str(tmp_path / "out"), "--workers", "0"]
    assert cli.main(["reproduce", "full_rank", *options]) == 1
    assert "failed: ValueError: no rank today" in capsys.readouterr().out


def test_an_interruption_says_how_to_go_on(tmp_path, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(experiments.reproduction, "sweep", interrupted)
    assert cli.main(["reproduce", "full_rank", "--out", str(tmp_path)]) == 130
    expected = "patterndim: interrupted: the same command does the rest\n"
    assert capsys.readouterr().err == expected
