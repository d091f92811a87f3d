"""From specs to tasks: equal experiments have equal keys, and what is wrong is named."""

import copy
import gzip
import json
import struct
import sys
import tomllib

import numpy as np
import pytest

import patterndim as pdm
from patterndim import cli, data
from patterndim.errors import FileError, KindError, NonFiniteError, PatterndimError
from patterndim.sweeps import as_tasks
from patterndim.sweeps.schema import NAMES
from patterndim.sweeps.tasks import canonical, plain

SPEC = """
title = "a small one"
[data]
train = 20
test = 10
[network]
widths = [64, 4, 10]
[training]
steps = 3
[measure]
samples = ["train", "test"]
[grid]
seed = [0, 1]
"data.noise" = [0.0, 0.5]
"""


def spec(**changes):
    """The spec with other values by dotted name, with two underscores for the dot."""
    found = tomllib.loads(SPEC)
    for name, value in changes.items():
        section, _, key = name.rpartition("__")
        (found.setdefault(section, {}) if section else found)[key] = value
    return found


def keys(*specs):
    return [task.key for task in as_tasks(list(specs))]


def test_a_file_and_a_dict_have_the_same_tasks(tmp_path):
    path = tmp_path / "spec.toml"
    path.write_text(SPEC)
    tasks = as_tasks(path)
    assert [task.key for task in tasks] == keys(spec())
    assert [task.varied for task in tasks] == [
        {"seed": seed, "data.noise": noise} for seed in (0, 1) for noise in (0.0, 0.5)
    ]
    assert tasks[3].settings["seed"] == 1
    assert tasks[3].settings["measure"]["at"] == [0, 3]
    assert json.loads(json.dumps(tasks[3].settings)) == tasks[3].settings


def test_the_key_is_that_of_the_experiment_however_it_is_written():
    """The value itself is pinned: a change of it makes everybody's results worthless."""
    one = {"data": {"train": 20}, "network": {"widths": [64, 4, 10]}}
    (key,) = keys(one)
    assert key == "183c7d84b19c68b05e8a3be5797ad37a6c98e49631a4e59c3987b4bd096bcf1e"
    written = {
        "seed": np.int64(0),
        "network": {"widths": (64, 4, 10), "scale": 1, "slope": 0},
        "title": "the same",
        "data": {"source": "digits", "noise": 0, "train": 20},
        "training": {"steps": 0},
        "grid": {"measure.trials": [1]},
    }
    written_without_steps = copy.deepcopy(written)
    del written_without_steps["training"]
    assert keys(written_without_steps) == [key]
    every = {key, *keys(written)}
    for name, value in {
        "seed": 1,
        "data__train": 21,
        "data__noise": 5e-324,
        "network__widths": [64, 5, 10],
        "network__scale": 1 + 2**-52,
        "network__slope": 0.1,
        "training__rate": 0.2,
        "measure__trials": 2,
    }.items():
        changed = copy.deepcopy(one)
        section, _, entry = name.rpartition("__")
        (changed.setdefault(section, {}) if section else changed)[entry] = value
        every |= set(keys(changed))
    assert len(every) == 9


def test_cases_go_through_the_grid_and_equal_tasks_run_once():
    cases = [{"network.widths": [64, w, 10], "training.rate": 1 / w} for w in (2, 4)]
    tasks = as_tasks(spec(cases=cases))
    assert len(tasks) == 8
    assert {task.varied["training.rate"] for task in tasks} == {0.5, 0.25}
    assert len(as_tasks(spec(grid={"seed": [0, 1, 0]}))) == 2
    assert len({task.key for task in as_tasks([spec(), spec(grid={"seed": [0, 5]})])}) == 5
    assert len(as_tasks(spec(grid={}))) == 1


BAD = [
    ({"data__nois": 1.0}, "'data.nois' is no key of a sweep: did you mean 'data.noise'?"),
    ({"noise": 1.0}, "'noise' is no key of a sweep: did you mean 'data.noise'?"),
    ({"training__epoch": 1}, "'training.epoch' is no key of a sweep: did you mean 'training.epo"),
    ({"trainig": {}}, "'trainig' is no key of a sweep: did you mean 'training'?"),
    ({"grid": {"data.nois": [1]}}, "'data.nois' is no key of a sweep: did you mean 'data.noise'?"),
    ({"grid": {"zzz": [1]}}, "'zzz' is no key of a sweep: known are seed, data.source"),
    ({"cases": [{"sed": 1}]}, "'sed' is no key of a sweep: did you mean 'seed'?"),
    ({"data": 3}, "data must be a table of keys, got 3"),
    ({"data": 3, "grid": {"data.noise": [0.0]}}, "data must be a table of keys, got 3"),
    ({"grid": {"data": {"noise": [1]}}}, 'write "data.noise" in quotes, got data.noise without'),
    ({"cases": [{"data": {"noise": 1}}]}, 'write "data.noise" in quotes, got data.noise without'),
    ({"grid": {"data": [1]}}, "'data' is no key of a sweep: "),
    ({"grid": 3}, "grid must be a table of keys and lists, got 3"),
    ({"grid": {"seed": 3}}, "grid.seed must be a list of values, got 3"),
    ({"grid": {"seed": []}}, "grid.seed must be a list of values, got []"),
    ({"cases": {"seed": 1}}, "cases must be a list of tables of dotted keys, got {'seed': 1}"),
    ({"cases": [{"seed": 1}]}, "'seed' must be either in grid or in cases, got both"),
    ({"data__train": None}, "data.train must be given"),
    ({"data__train": 0}, "data.train must be at least 1, got 0"),
    ({"data__train": 2.5}, "data.train must be an integer, got 2.5"),
    ({"data__train": True}, "data.train must be an integer, got True"),
    ({"data__source": 3}, "data.source must be a string, got 3"),
    ({"data__source": "digit"}, "data.source must be digits, gaussian, uniform, an .npz or a fol"),
    ({"data__source": "x" * 300}, "data.source must be digits, gaussian, uniform, an .npz or a"),
    ({"data__source": "a\0b"}, "data.source must be digits, gaussian, uniform, an .npz or a fold"),
    ({"seed": 2**128}, "seed must be below 2**128, got 340282366920938463463374607431768211456"),
    ({"seed": 16**5000}, "seed must be below 2**128, got int that is too long to show"),
    ({"seed": -(16**5000)}, "seed must be at least 0, got int that is too long to show"),
    ({"data__train": 1790}, "data.train + data.test must be at most 1797, got 1790 + 10"),
    ({"data__noise": "much"}, "data.noise must be a number, got 'much'"),
    ({"data__corrupted": 1.5}, "data.corrupted must be from 0 to 1, got 1.5"),
    ({"data__dimension": 3}, "data.dimension must be left to the data unless it is random"),
    ({"network": {}}, "network.widths must be given"),
    ({"network__widths": 64}, "network.widths must be a list, got 64"),
    ({"network__widths": [64]}, "network.widths must have at least 2 entries, got [64]"),
    ({"network__widths": [64, "4"]}, "network.widths[1] must be an integer, got '4'"),
    ({"network__widths": [3, 10]}, "network.widths[0] must be 64, inputs of the data, got 3"),
    ({"network__widths": [64, 9]}, "network.widths[-1] must be at least 10, for every label, go"),
    ({"network__init": "zero"}, "network.init must be one of he, glorot, lecun, torch, got 'ze"),
    ({"network__bias": 1}, "network.bias must be true or false, got 1"),
    ({"network__slope": 1.5}, "network.slope must be at least 0 and at most 1, got 1.5"),
    ({"network__slope": [0.1, 2]}, "network.slope[1] must be at least 0 and at most 1, got 2"),
    ({"network__slope": [0.1, 0.2]}, "network.slope must be a number or one for each of 1 hidden"),
    ({"training__epochs": 2}, "training must have epochs or steps, got both"),
    ({"training__rate": "fast"}, "training.rate must be a number, got 'fast'"),
    ({"training__loss": "hinge"}, "training.loss must be one of cross-entropy, square, got 'hin"),
    ({"training__milestones": [3]}, "training.milestones[0] must be a pair [when, rate], got 3"),
    ({"training__milestones": [[1, -1]]}, "training.milestones[0] must be at least 0"),
    (
        {
            "data": {"source": "gaussian", "train": 3},
            "network": {"widths": [2, 1]},
            "training": {},
            "measure": {"outputs": ["affine", "softmax"]},
        },
        "measure.outputs must be affine where there is one output, got ['affine', 'softmax']",
    ),
    ({"measure__at": [0, 4]}, "measure.at must be at most 3 steps, got 4"),
    ({"measure__at": []}, "measure.at must have at least 1 entries, got []"),
    ({"measure__samples": ["tain"]}, "measure.samples[0] must be one of train, test, gaussian,"),
    ({"measure__samples": ["gaussian"]}, "data.gaussian must be positive: measure.samples name"),
    ({"measure__quantities": ["rank"]}, "measure.quantities[0] must be one of "),
    ({"grid": {"seed": [0, -1]}}, "seed must be at least 0, got -1 (with seed = -1)"),
]


@pytest.mark.parametrize(("changes", "message"), BAD)
def test_what_is_wrong_is_one_line_that_names_the_key(changes, message):
    with pytest.raises(PatterndimError) as found:
        as_tasks(spec(**changes))
    assert str(found.value).startswith(message)
    assert "\n" not in str(found.value)


def run(capsys, *arguments):
    status = cli.main(["sweep", *map(str, arguments)])
    out, err = capsys.readouterr()
    return status, out, err


def test_the_command_names_the_file_too(tmp_path, capsys, monkeypatch):
    path, out = tmp_path / "spec.toml", tmp_path / "results.jsonl"
    path.write_text(SPEC.replace("steps", "step"))
    status, printed, err = run(capsys, path, "--out", out)
    assert (status, printed) == (2, "")
    assert err == (
        f"patterndim: error: {path}: 'training.step' is no key of a sweep: "
        "did you mean 'training.steps'?\n"
    )
    path.write_text("[data\n")
    assert "spec must be a TOML file, got " in run(capsys, path, "--out", out)[2]
    missing = run(capsys, tmp_path / "none.toml", "--out", out)
    assert missing[2].endswith("none.toml': No such file or directory\n")
    path.write_text(SPEC)
    nowhere = run(capsys, path, "--out", tmp_path / "no" / "x.jsonl", "--workers", "0")
    assert nowhere[2].startswith("patterndim: error: out must be writable, got ")
    wrong = run(capsys, path, "--out", out, "--table", "x.xlsx")
    assert wrong[2] == "patterndim: error: --table must end in .csv or .parquet, got 'x.xlsx'\n"
    lost = tmp_path / "no" / "t.csv"
    wrong = run(capsys, path, "--out", out, "--table", lost)
    message = f"--table must be in a folder that exists, got '{lost}'"
    assert wrong[2] == f"patterndim: error: {message}\n"
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    wrong = run(capsys, path, "--out", out, "--table", "t.parquet")
    assert wrong[2].startswith("patterndim: error: parquet needs pyarrow: pip install")
    assert not out.exists()


def test_plain_values():
    given = {"a": np.float32(0.5), "b": [np.int8(3), np.bool_(True), None], "c": np.arange(2)}
    assert plain("x", given) == {"a": 0.5, "b": [3, True, None], "c": [0, 1]}
    assert plain("x", (float("nan"), float("inf"))) == [None, None]
    with pytest.raises(NonFiniteError, match=r"x\.a\[1\] must be finite, got nan"):
        plain("x", {"a": [1.0, float("nan")]}, finite=True)
    assert canonical({"b": 0.1, "a": [1, None]}) == '{"a":[1,null],"b":0.1}'
    assert set(NAMES) >= {"seed", "data.noise", "network.widths", "training.epochs"}


def nested(depth, leaf):
    for _ in range(depth):
        leaf = [leaf]
    return leaf


ITSELF = {"n": 1}
ITSELF["a"] = {"b": [ITSELF]}
AN_ARRAY = np.empty(1, dtype=object)
AN_ARRAY[0] = [AN_ARRAY]


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (ITSELF, "tasks[0].a.b[0] must not contain itself, got tasks[0] again"),
        ({"n": AN_ARRAY}, "tasks[0].n[0][0] must not contain itself, got tasks[0].n again"),
        ({"n": nested(100, 1)}, "tasks[0].n[0][0][0]"),
        ({"n": nested(10**5, 1)}, "... must be nested at most 100 deep, got more"),
        ({"a": {1: 2}}, "tasks[0].a must have strings as keys, got 1"),
        ({"a": [0.5, float("nan")]}, "tasks[0].a[1] must be finite, got nan"),
        ({"a": {"b": 1}, "a.b": 2}, "tasks[0] must have different dotted names, got 'a.b' twice"),
        ({"a": {"b": {1}}}, "tasks[0].a.b must be plain numbers, strings and lists, got set"),
    ],
)
def test_tasks_that_no_file_can_hold_are_one_line(task, message):
    with pytest.raises(PatterndimError) as raised:
        pdm.sweep([task], run=square, workers=0)
    assert message in str(raised.value)
    assert len(str(raised.value)) < 120


def square(task):
    return {"square": task["n"] ** 2 if isinstance(task["n"], int) else task["n"]}


def test_tasks_may_be_nested_and_have_parts_in_common(tmp_path):
    out, shared = tmp_path / "out.jsonl", [1, 2]
    tasks = [{"n": nested(98, 1)}, {"n": 3, "a": shared, "b": {"c": shared, "d": np.eye(2)}}]
    results = pdm.sweep(tasks, run=square, out=out, workers=0)
    assert results.failures == []
    assert pdm.load_results(out)["b.d"].tolist() == ["[[1.0, 0.0], [0.0, 1.0]]", ""]
    assert pdm.sweep(tasks, run=square, out=out, workers=0).rows == results.rows


def in_itself(task):
    task["n"].append(task)
    return task


def test_rows_that_contain_themselves_are_failures():
    (failure,) = pdm.sweep([{"n": []}], run=in_itself, workers=0).failures
    assert failure["message"] == "rows[0].n[0] must not contain itself, got rows[0] again"


@pytest.mark.parametrize(
    "change", [{"title": 5}, {"data": {"source": nested(10**5, 1)}}, {"cases": nested(10**5, 1)}]
)
def test_settings_that_are_nested_too_deep_are_one_line(change):
    with pytest.raises(KindError, match=r"must be a .*, got (5|list that is nested too deep to)"):
        as_tasks(change)


# Data from files.

X = np.arange(60, dtype=np.uint8).reshape(10, 6)
Y = np.arange(10, dtype=np.uint8) % 3


def idx(array):
    head = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.tobytes()


def write_idx(folder, part, images, labels, *, packed):
    for name, array in [("images-idx3-ubyte", images), ("labels-idx1-ubyte", labels)]:
        content = idx(array)
        path = folder / f"{part}-{name}{'.gz' if packed else ''}"
        path.write_bytes(gzip.compress(content) if packed else content)


def about(path, **changes):
    network = {"widths": [6, 3], **changes}
    return {"data": {"source": str(path), "train": 4, "test": 6}, "network": network}


@pytest.mark.parametrize("packed", [False, True])
def test_the_same_data_in_any_file_has_the_same_key(tmp_path, packed):
    write_idx(tmp_path, "train", X[:7].reshape(7, 2, 3), Y[:7], packed=packed)
    write_idx(tmp_path, "t10k", X[7:].reshape(3, 2, 3), Y[7:], packed=packed)
    np.savez(tmp_path / "small.npz", X=X, y=Y)
    np.savez_compressed(tmp_path / "other.npz", X=X.reshape(10, 2, 3), y=Y)
    np.savez(tmp_path / "more.npz", X=X, y=(Y + 1) % 3)
    found = keys(*(about(tmp_path / name) for name in ("", "small.npz", "other.npz", "more.npz")))
    assert found[0] == found[1] == found[2] != found[3]
    images, labels = data.read(tmp_path)
    assert (images == X).all()
    assert (labels == Y).all()
    assert data.values(images).max() == 59 / 255
    assert data.values(np.array([[3]])).tolist() == [[3.0]]


def test_a_dangling_link_beside_the_data_does_not_matter(tmp_path):
    write_idx(tmp_path, "train", X.reshape(10, 2, 3), Y, packed=False)
    expected = keys(about(tmp_path))
    (tmp_path / "notes").symlink_to(tmp_path / "nothing")
    assert keys(about(tmp_path)) == expected


def test_a_folder_that_cannot_be_listed_is_one_error(tmp_path, monkeypatch):
    def iterdir(folder):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.iterdir", iterdir)
    with pytest.raises(FileError, match=r"data must be readable, got .*: Permission denied"):
        as_tasks([about(tmp_path)])


def test_a_file_may_begin_with_a_mark(tmp_path):
    (tmp_path / "spec.toml").write_text(SPEC, encoding="utf-8-sig")
    assert [task.key for task in as_tasks(tmp_path / "spec.toml")] == keys(spec())


def test_paths_are_meant_from_the_spec(tmp_path, monkeypatch):
    np.savez(tmp_path / "small.npz", X=X, y=Y)
    spec = '[data]\nsource = "small.npz"\ntrain = 4\n[network]\nwidths = [6, 3]\n'
    (tmp_path / "spec.toml").write_text(spec)
    (task,) = as_tasks(tmp_path / "spec.toml")
    assert task.path == str(tmp_path / "small.npz")
    assert task.settings["data"]["source"].startswith("sha256:")
    monkeypatch.chdir(tmp_path)
    assert as_tasks(tomllib.loads(spec))[0].key == task.key


def test_data_that_changes_during_a_sweep_is_an_error(tmp_path):
    path = tmp_path / "small.npz"
    np.savez(path, X=X, y=Y)
    tasks = as_tasks([about(path)])
    np.savez(path, X=X + 1, y=Y)
    (failure,) = pdm.sweep(tasks, workers=0).failures
    assert failure["type"] == "FileError"
    assert "data must not change while a sweep runs" in failure["message"]
    (record,) = pdm.sweep([about(path)], workers=0).records
    assert record["file"] == "small.npz"


def arrays(**given):
    return lambda folder: np.savez(folder / "d.npz", **given)


def files(**given):
    def write(folder):
        for name, content in given.items():
            (folder / name.replace("_", "-")).write_bytes(content)

    return write


WRONG = [
    (arrays(X=X[0], y=Y), "d.npz", "X must be real numbers of shape (N, n_0), got uint8 (6,): "),
    (arrays(X=X.astype(str)), "d.npz", "X must be real numbers of shape (N, n_0), got <U3 (10, 6)"),
    (arrays(X=X, y=Y[:3]), "d.npz", "y must be 10 real targets, got uint8 (3,): "),
    (arrays(X=X.astype(np.longdouble)), "d.npz", "X must be at most float64, got "),
    (arrays(X=X, y=Y.astype(np.longdouble)), "d.npz", "y must be at most float64, got "),
    (arrays(Z=X), "d.npz", "data must be an .npz with X, got "),
    (arrays(X=np.array([[{}]])), "d.npz", "data must be an .npz with X, got "),
    (files(d_npz=b"PK"), "d-npz", "data must be an .npz with X, got "),
    (files(), "", "data must be IDX files such as train-images-idx3-ubyte, none in "),
]
PAIRS = [
    (idx(X)[:-1], idx(Y), "it holds 59 of 60 bytes"),
    (b"\0\0\x07\x01" + idx(X), idx(Y), "its first bytes are those of something else"),
    (b"\0\0", idx(Y), "unpack requires a buffer of 4 bytes"),
    (b"\0\0\x0e\x02" + b"\xff" * 8, idx(Y), "it is too short for (4294967295, 4294967295)"),
    (idx(X)[:12], idx(Y)[:9], "it holds 0 of 60 bytes"),
]
WRONG += [
    (files(train_images=images, train_labels=labels), "", message)
    for images, labels, message in PAIRS
]


@pytest.mark.parametrize(("write", "name", "message"), WRONG)
def test_damaged_data_is_one_error(write, name, message, tmp_path):
    write(tmp_path)
    with pytest.raises(FileError) as found:
        as_tasks([about(tmp_path / name)])
    assert message in str(found.value)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("given", "changes", "message"),
    [
        ({"y": Y}, {}, "network.widths[-1] must be at least 3, for every label, got 2"),
        ({"y": Y - 1.0}, {}, "training.loss must be 'square' where y is not labels 0, 1, ..."),
        ({}, {}, "data.source has no y to train on"),
        ({"y": Y - 1.0}, {"loss": "square"}, "network.widths[-1] must be 1, like y, got 2"),
        (
            {"y": Y.astype(int) - 1},
            {"loss": "square"},
            "network.widths[-1] must be 1, like y, got 2: y is not labels 0, 1, ... below it",
        ),
        (
            {"y": np.ones((10, 3), dtype=bool)},
            {"loss": "square"},
            "network.widths[-1] must be 3, like y, got 2",
        ),
    ],
)
def test_targets_must_fit(given, changes, message, tmp_path):
    np.savez(tmp_path / "d.npz", X=X, **given)
    wrong = about(tmp_path / "d.npz", widths=[6, 2]) | {"training": {"steps": 1, **changes}}
    with pytest.raises(PatterndimError) as found:
        as_tasks([wrong])
    assert str(found.value) == message


def test_corrupted_targets_are_labels(tmp_path):
    spec = about(tmp_path / "d.npz", widths=[6, 1]) | {"training": {"steps": 1, "loss": "square"}}
    spec["data"]["corrupted"] = 0.5
    for steps in (0, 1):
        spec["training"]["steps"] = steps
        np.savez(tmp_path / "d.npz", X=X, y=Y.astype(float if steps == 0 else int) - 1)
        with pytest.raises(
            PatterndimError, match=r"data\.corrupted must be 0 where targets are no"
        ):
            as_tasks([spec])


def test_random_inputs_have_no_targets():
    spec = {"data": {"source": "gaussian", "train": 5}, "network": {"widths": [3, 2]}}
    assert as_tasks([spec])[0].settings["data"]["dimension"] == 3
    spec["data"]["dimension"] = 4
    with pytest.raises(PatterndimError, match=r"data\.dimension must be network\.widths\[0\] = 3,"):
        as_tasks([spec])
    del spec["data"]["dimension"]
    spec["training"] = {"steps": 1}
    with pytest.raises(PatterndimError, match="'gaussian' has no targets to train on"):
        as_tasks([spec])
