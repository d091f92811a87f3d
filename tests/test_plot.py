import numpy as np
import pytest

import patterndim as pdm
from patterndim import cli, plot, summary
from patterndim.errors import ArgumentError, FileError, KindError
from patterndim.plot.style import STYLES

pytest.importorskip("matplotlib")

from matplotlib.axes import Axes
from matplotlib.colors import to_rgb


def rows():
    """Two seeds, two samples, two times; the test sample at time 10 is proved for one seed."""
    found = []
    for seed in (0, 1):
        for sample, start in (("train", 10), ("test", 20)):
            for epoch in (0, 10):
                kind = "proved" if sample == "train" or (epoch, seed) == (10, 0) else "probable"
                value = start + epoch + 4 * seed
                row = {"seed": seed, "sample": sample, "epoch": epoch}
                found.append({**row, "local_dimension": value, "local_dimension_kind": kind})
    return found


def drawn(ax, marker):
    """Points with this marker, by whether it is filled."""
    found = {True: [], False: []}
    for line in ax.get_lines():
        if line.get_marker() == marker and len(line.get_xdata()):
            points = list(zip(line.get_xdata(), line.get_ydata(), strict=True))
            found[line.get_markerfacecolor() == line.get_color()] += points
    return found


def test_curves_draw_means_ranges_and_certainty():
    ax = plot.curves(rows(), "epoch", "local_dimension", by="sample")
    assert isinstance(ax, Axes)
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ["train", "test"]
    assert drawn(ax, "o") == {True: [(0, 12.0), (10, 22.0)], False: []}
    assert drawn(ax, "s") == {True: [], False: [(0, 22.0), (10, 32.0)]}
    bands = [collection.get_paths()[0].vertices[:, 1] for collection in ax.collections]
    assert [(band.min(), band.max()) for band in bands] == [(10, 24), (20, 34)]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "local_dimension")


def test_the_band_can_be_a_deviation_or_nothing():
    ax = plot.curves(rows(), "epoch", "local_dimension", by="sample", spread="deviation")
    low = ax.collections[0].get_paths()[0].vertices[:, 1].min()
    assert low == pytest.approx(12 - np.std([10, 14], ddof=1))
    ax = plot.curves(rows(), "epoch", "local_dimension", by="sample", spread="none")
    assert len(ax.collections) == 0


def test_bands_have_the_dashes_of_their_lines_however_many_there_are():
    table = [{"x": x, "y": x + s, "line": n} for n in range(8) for x in (1, 2) for s in (0, 1)]
    ax = plot.curves(table, "x", "y", by="line")
    assert len(ax.collections) == 8
    edges = [line for line in ax.get_lines() if line.get_alpha() == 0.5]
    lines = [line for line in ax.get_lines() if line.get_linewidth() == 1.6]
    assert len(edges) == 2 * len(lines) == 16
    for line, *both in zip(lines, edges[::2], edges[1::2], strict=True):
        assert {edge.get_color() for edge in both} == {line.get_color()}
        assert {edge.is_dashed() for edge in both} == {line.is_dashed()}


def test_curves_use_given_axes_names_and_styles():
    ax = plot.curves(rows(), "epoch", "local_dimension")
    assert ax.get_legend() is None
    labels = {("train", 0): "first"}
    by = ["sample", "seed"]
    same = plot.curves(rows(), "epoch", "local_dimension", by=by, labels=labels, first=1, ax=ax)
    assert same is ax
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ["first", "test, seed 0", "train, seed 1", "test, seed 1"]
    assert len(drawn(ax, STYLES[1].marker)[True]) == 2


def test_styles_differ_in_colour_marker_line_and_in_grey():
    assert len({style.marker for style in STYLES}) == len(STYLES)
    assert len({style.color for style in STYLES}) == len(STYLES)
    assert len({str(style.line) for style in STYLES}) == len(STYLES)
    # Light enough to differ from black, dark enough to differ from paper.
    grey = [np.dot(to_rgb(style.color), (0.299, 0.587, 0.114)) for style in STYLES]
    assert max(grey) < 0.75


@pytest.mark.parametrize("form", ["rows", "numpy", "pandas"])
def test_tables_of_every_form_give_the_same_rows(form):
    one = [{"network.widths": [3, 5, 4, 2], "P": 46, "H": 9, "N": 7, "n_L": 2, "x": 1.5}]
    text = [{**one[0], "network.widths": "[3, 5, 4, 2]"}]
    if form == "rows":
        table = one
    elif form == "numpy":
        names = [("network.widths", "U20"), *((n, "i8") for n in ("P", "H", "N", "n_L"))]
        table = np.array([tuple(text[0].values())], dtype=[*names, ("x", "f8")])
    else:
        table = pytest.importorskip("pandas").DataFrame(text)
    (row,) = summary.rows_of(table)
    assert (row["width"], row["depth"], row["P - H"], row["N n_L"]) == (5, 2, 37, 14)
    assert row["x"] == 1.5


def test_heat_maps_show_means_and_leave_gaps():
    table = [{"a": 1, "b": 5, "p": p} for p in (0.0, 1.0)] + [{"a": 2, "b": 6, "p": 1.0}]
    ax = plot.heat_map(table, "a", "b", "p", low=0, high=1)
    assert isinstance(ax, Axes)
    image = np.ma.filled(ax.get_images()[0].get_array(), np.nan)
    np.testing.assert_array_equal(image, [[0.5, np.nan], [np.nan, 1.0]])
    assert [text.get_text() for text in ax.texts] == ["0.50", "1.00"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1", "2"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["5", "6"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((rows(), "epochs", "local_dimension"), "got 'epochs': did you mean 'epoch'"),
        ((rows(), "epoch", "zzz"), "got 'zzz': there are seed, sample, epoch"),
        (([], "epoch", "x"), "table must have rows, got none"),
    ],
)
def test_columns_that_are_not_there_are_named(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        plot.curves(*arguments)
    with pytest.raises(ArgumentError, match=message):
        plot.heat_map(*arguments, arguments[1])


def test_what_is_no_table_is_refused():
    for table in (3, "rows", [1, 2]):
        with pytest.raises(KindError, match="table must be rows, a structured array or a Data"):
            plot.curves(table, "x", "y")
    with pytest.raises(ArgumentError, match="spread must be one of range, deviation, none"):
        plot.curves(rows(), "epoch", "local_dimension", spread="wide")


def test_settings_that_are_missing_are_one_line():
    """None becomes NaN in a table of floats, and NaN differs from itself."""
    table = np.array([(1.0, 2.0, 0.5), (1.0, 3.0, np.nan), (2.0, 5.0, np.nan)], dtype="f8, f8, f8")
    ax = plot.curves(table, "f0", "f1", by="f2")
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ["f2 0.5", "f2 None"]


@pytest.mark.parametrize("columns", [("sample", "seed"), ("epoch", "sample"), ("none", "seed")])
def test_columns_without_numbers_are_refused(columns):
    table = [{**row, "none": None} for row in rows()]
    with pytest.raises(ArgumentError, match="columns must hold numbers to be drawn, got none in"):
        plot.curves(table, *columns)
    with pytest.raises(ArgumentError, match="columns must hold numbers to be drawn, got none in"):
        plot.heat_map(table, *columns, "local_dimension")
    apart = [{"x": 1, "y": None}, {"x": "a", "y": 2}]
    with pytest.raises(ArgumentError, match="rows must hold numbers in all of 'x', 'y', got none"):
        plot.curves(apart, "x", "y")


def test_names_that_are_none_are_refused():
    with pytest.raises(KindError, match="by must be a sequence, got 3"):
        plot.curves(rows(), "epoch", "local_dimension", by=3)
    with pytest.raises(KindError, match="columns must be named by strings, got 3"):
        plot.curves(rows(), 3, "local_dimension")


@pytest.mark.parametrize("widths", ["abc", "", "[3, [4], 5]", 7, None, ["a", "b", "c"]])
def test_widths_that_are_none_say_nothing(widths):
    assert summary.rows_of([{"network.widths": widths}]) == [{"network.widths": widths}]


def test_settings_that_are_mappings_tell_lines_apart():
    table = [{"rate": {0: rate}, "x": 1, "y": 2} for rate in (0.1, 0.2)]
    ax = plot.curves(table, "x", "y", by="rate")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["rate 0-0.1", "rate 0-0.2"]


def test_a_single_place_has_its_range_as_a_bar():
    table = [{"x": 1, "y": y} for y in (2, 3, 7)]
    lines = plot.curves(table, "x", "y").get_lines()
    assert [2, 7] in [list(line.get_ydata()) for line in lines]


@pytest.mark.parametrize("places", [(0, 2, 10), (-3, 5), (0, 0), (1, 4)])
def test_logarithmic_axes_show_places_that_are_not_positive(places):
    ax = plot.curves([{"x": x, "y": 1} for x in places], "x", "y")
    plot.lines.log_axis(ax, places)
    ax.figure.canvas.draw()
    assert ax.get_xscale() == ("log" if min(places) > 0 else "symlog")
    seen = ax.transData.transform([(x, 1) for x in sorted({*places})])[:, 0]
    assert (np.diff(seen) > 10).all()


def test_pictures_that_cannot_be_written_are_file_errors(tmp_path):
    ax = plot.curves(rows(), "epoch", "local_dimension")
    for path in (tmp_path / "nowhere" / "x.png", tmp_path / "x.nothing"):
        with pytest.raises(FileError, match="the picture must be writable, got"):
            plot.save(ax.figure, path)
    plot.save(ax.figure, tmp_path / "x.svg")
    assert "<svg" in (tmp_path / "x.svg").read_text()


def test_heat_maps_of_counts_have_no_digits_after_the_point():
    ax = plot.heat_map([{"a": a, "b": 0, "p": 1500 * a} for a in (0, 1)], "a", "b", "p")
    assert [text.get_text() for text in ax.texts] == ["0", "1,500"]
    ax = plot.heat_map([{"a": a, "b": 0, "p": float(a)} for a in (0, 1)], "a", "b", "p")
    assert [text.get_text() for text in ax.texts] == ["0.00", "1.00"]


def ticks(ax):
    ax.figure.canvas.draw()
    return [label.get_text() for label in ax.get_xticklabels()]


def test_ticks_are_where_something_was_measured():
    table = [{"x": x, "y": x} for x in (0, 1, 2)]
    ax = plot.curves(table, "x", "y")
    left, right = ax.get_xlim()
    assert [tick for tick in ax.get_xticks() if left <= tick <= right] == [0, 1, 2]
    ax = plot.curves([{"x": x, "y": 1} for x in (0, 40, 1280)], "x", "y")
    plot.lines.log_axis(ax, [0, 40, 1280])
    assert ticks(ax) == ["0", "40", "1,280"]
    ax = plot.curves([{"x": x, "y": 1} for x in range(1, 30)], "x", "y")
    plot.lines.log_axis(ax, range(1, 30))
    assert len(ticks(ax)) < 20


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    path = tmp_path_factory.mktemp("sweep") / "results.jsonl"
    spec = {
        "data": {"source": "uniform", "train": 4, "gaussian": 4},
        "network": {"widths": [2, 3, 1]},
        "measure": {"samples": ["train", "gaussian"]},
        "grid": {"seed": [0, 1], "network.widths": [[2, 3, 1], [2, 4, 1]]},
    }
    pdm.sweep(spec, out=path, workers=0)
    return path


@pytest.mark.parametrize(
    "options", [[], ["--x", "width", "--by", "sample", "--log", "--title", "T"], ["--heat", "seed"]]
)
def test_the_command_draws_a_results_file(results, tmp_path, capsys, options):
    out = tmp_path / "picture.png"
    assert cli.main(["plot", str(results), *options, "--out", str(out)]) == 0
    over = "seed" if "--heat" not in options else "sample"
    expected = f"Averaged over {over}.\nThe picture is in {out}.\n"
    assert capsys.readouterr().out == expected
    assert out.read_bytes().startswith(b"\x89PNG")


def test_the_command_explains_its_markers(results, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(plot, "save", lambda figure, path: seen.append(figure))
    assert cli.main(["plot", str(results), "--log"]) == 0
    assert cli.main(["plot", str(results), "--y", "P"]) == 0
    texts = [[t.get_text() for t in figure.legends[0].get_texts()] for figure in seen]
    lines = ["train", "gaussian"]
    assert texts == [[*lines, "proved", "probable: certainly not lower"], lines]


def test_the_command_chooses_axes_and_lines():
    from patterndim.commands.plot import default_by, default_x

    assert default_x(rows()) == "epoch"
    assert default_by(rows(), "epoch") == ["sample"]
    table = [{**row, "data.noise": noise, "epoch": 3} for noise in (0, 1) for row in rows()]
    assert (default_x(table), default_by(table, "data.noise")) == ("data.noise", ["sample"])
    table = [{**row, "data.noise": noise} for noise in (0, 1) for row in rows()]
    assert default_by(table, "epoch") == ["sample", "data.noise"]
    assert default_by(table, "data.noise") == ["sample", "epoch"]
    with pytest.raises(ArgumentError, match="--x must be given: no column of numbers varies"):
        default_x(rows()[:1])


def test_the_command_says_when_lines_look_alike(tmp_path, capsys, monkeypatch):
    seen = []
    monkeypatch.setattr(plot, "save", lambda figure, path: seen.append(figure))
    tasks = [{"line": n, "x": x} for n in range(8) for x in (1, 2)]
    path = tmp_path / "many.jsonl"
    pdm.sweep(tasks, run=twice, out=path, workers=0)
    arguments = ["plot", str(path), "--x", "x", "--y", "twice", "--by", "line"]
    assert cli.main(arguments) == 0
    note = "8 lines share 7 styles: --by fewer columns makes fewer lines.\n"
    assert capsys.readouterr().out.startswith(note)
    assert cli.main([*arguments[:-2], "--by"]) == 0
    assert capsys.readouterr().out.startswith("The picture is in ")
    (legend,) = seen[0].legends
    seen[0].canvas.draw()
    assert seen[0].axes[0].get_window_extent().height > legend.get_window_extent().height
    assert cli.main(["plot", str(path), "--x", "x"]) == 2
    expected = (
        "--y must be given: no local_dimension was measured, there are line, x, twice, seconds"
    )
    assert expected in capsys.readouterr().err


def twice(task):
    return {"twice": 2 * task["x"]}


def fails(task):
    raise ValueError("no")


def test_the_command_draws_nothing_of_failures(tmp_path, capsys):
    path = tmp_path / "failed.jsonl"
    pdm.sweep([{"n": 1}, {"n": 2}], run=fails, out=path, workers=0)
    assert cli.main(["plot", str(path)]) == 2
    expected = f"results must have rows to draw, got none in '{path}': 2 of 2 tasks failed\n"
    assert capsys.readouterr().err.endswith(expected)


def half(task):
    return twice(task) if task["x"] < 2 else fails(task)


def test_the_command_says_what_is_not_in_the_picture(tmp_path, capsys):
    path = tmp_path / "half.jsonl"
    pdm.sweep([{"x": x} for x in range(3)], run=half, out=path, workers=0)
    assert cli.main(["plot", str(path), "--x", "x", "--y", "twice"]) == 0
    assert "Not in the picture: 1 of 3 tasks failed.\n" in capsys.readouterr().out


def test_the_command_says_what_is_wrong(results, capsys, monkeypatch):
    for options, message in (
        (["--y", "local_dim"], "got 'local_dim': did you mean 'local_dimension'?"),
        (["--x", "nothing"], "columns must be those of the table, got 'nothing'"),
        (["--x", "sample"], "must hold numbers to be drawn, got none in 'sample'"),
        (["--y", "local_dimension_kind"], "numbers to be drawn, got none in 'local_dim"),
        (["--heat", "sample"], "must hold numbers to be drawn, got none in 'sample'"),
        (["--heat", "seed", "--log"], "which are about lines, got --heat seed with --log\n"),
        (
            ["--heat", "seed", "--by", "--spread", "range"],
            "--heat must be given without --by, --spread and --log, which are about lines, "
            "got --heat seed with --by and --spread\n",
        ),
        (["--heat", "seed", "--x", "seed"], "be different columns, got 'seed' twice\n"),
        (["--heat", "local_dimension"], "different columns, got 'local_dimension' twice\n"),
        (["--x", "P", "--by", "sample", "P"], "--by and --heat must be different columns, got 'P'"),
    ):
        assert cli.main(["plot", str(results), *options]) == 2
        assert message in capsys.readouterr().err
    assert cli.main(["plot", "missing.jsonl"]) == 2
    assert "results must be readable, got 'missing.jsonl'" in capsys.readouterr().err
    monkeypatch.setattr(plot, "available", lambda: False)
    assert cli.main(["plot", str(results)]) == 2
    assert 'plot needs matplotlib: pip install "patterndim[plot]"' in capsys.readouterr().err
