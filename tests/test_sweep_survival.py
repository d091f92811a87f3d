"""Whatever happens to a sweep, no finished task is lost or run again."""

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

import patterndim as pdm
from patterndim.errors import ArgumentError, FileError, KindError, NonFiniteError
from patterndim.sweeps import Results, store
from tests import sweeping

ROOT = Path(__file__).parent.parent


def start(*arguments, **options):
    command = [sys.executable, "-m", "tests.sweeping", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, start_new_session=True, **options)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def lines(path):
    return path.read_text().splitlines() if path.exists() else []


def measured(results):
    return [(record["key"], record["status"], record["rows"]) for record in results.records]


@pytest.mark.compiled
def test_killed_at_20_random_moments_and_resumed(tmp_path):
    out, log = tmp_path / "results.jsonl", tmp_path / "log"
    rng = random.Random(0)
    killed = 0
    while killed < 20:
        recorded = lines(out)[:-1]  # the last one may be incomplete
        before = {json.loads(line)["task"]["n"] for line in recorded}
        calls = len(lines(log))
        process = start(out, log, killed % 3)  # in the process itself, in one and in two workers
        while len(lines(log)) == calls and process.poll() is None:
            time.sleep(0.001)
        time.sleep(rng.uniform(0.0, 0.045))
        process.kill()
        assert process.wait() == -signal.SIGKILL, "it was done before it could be killed"
        killed += 1
        again = {int(line.split()[0]) for line in lines(log)[calls:]}
        assert not again & before
    results = pdm.sweep(sweeping.tasks(str(log)), run=sweeping.slow, out=out, workers=2)
    whole = pdm.sweep(sweeping.tasks(str(log)), run=sweeping.slow, workers=0)
    assert measured(results) == measured(whole)
    assert len(lines(out)) == len({json.loads(line)["key"] for line in lines(out)}) == 200
    assert pdm.load_results(out)[["n", "i", "value"]].tolist() == [
        (n, i, n / (i + 3)) for n in range(200) for i in range(n % 4)
    ]
    workers = {int(line.split()[1]) for line in lines(log)} - {os.getpid()}
    deadline = time.monotonic() + 5
    while any(map(alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(map(alive, workers))


def squares(count, **options):
    return [{"n": n, **options} for n in range(count)]


def test_an_interrupted_and_repeated_sweep_has_the_same_results(tmp_path):
    out = tmp_path / "results.jsonl"
    seen = []

    def interrupt(finished, failed, total):
        seen.append((finished, failed, total))
        if finished == 3 and len(seen) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pdm.sweep(squares(6), run=sweeping.square, out=out, workers=0, progress=interrupt)
    assert len(lines(out)) == 3
    results = pdm.sweep(squares(6), run=sweeping.square, out=out, workers=0, progress=interrupt)
    assert seen == [(n, 0, 6) for n in (0, 1, 2, 3, 3, 4, 5, 6)]
    assert [row["square"] for row in results.rows] == [0, 1, 4, 9, 16, 25]
    assert len(lines(out)) == 6


def spoil(task):
    task["n"] = task.pop("n") + 1
    return {}


def test_a_function_may_do_with_its_task_what_it_likes(tmp_path, capsys):
    out = tmp_path / "results.jsonl"
    for _ in range(2):
        results = pdm.sweep(squares(2), run=spoil, out=out, workers=0, progress=True)
        assert [record["task"]["n"] for record in results.records] == [0, 1]
    assert len(lines(out)) == 2
    assert capsys.readouterr().err == ""  # no terminal, no bar


def test_more_tasks_later_and_the_same_twice(tmp_path):
    out = tmp_path / "results.jsonl"
    pdm.sweep(squares(2), run=sweeping.square, out=out, workers=0)
    results = pdm.sweep([*squares(3), *squares(3)], run=sweeping.square, out=out, workers=0)
    assert len(lines(out)) == len(results.records) == 3
    assert len(pdm.sweep(squares(1), run=sweeping.square, out=out, workers=0).records) == 1
    assert len(pdm.load_results(out)) == 3


def square(task):
    return {"square": f"{task['n']}^2"}


def run(task):
    return {"found": [task["n"], task["none"]]}


def test_functions_of_different_names_have_different_tasks(tmp_path):
    out = tmp_path / "results.jsonl"
    (first,) = pdm.sweep(squares(1), run=sweeping.square, out=out, workers=0).rows
    (second,) = pdm.sweep(squares(1), run=square, out=out, workers=0).rows
    assert (first["square"], second["square"]) == (0, "0^2")
    tasks = [{"n": 1, "none": None}, {"n": 1}]
    results = pdm.sweep(tasks, run=run, out=out, workers=0)  # named like patterndim's own
    assert [row["found"] for row in results.rows] == [[1, None]]
    assert [failure["type"] for failure in results.failures] == ["KeyError"]


class Adder:
    def __call__(self, task):
        return {}

    def add(self, task):
        return {}


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda task: {}, "'<lambda>'"),
        (partial(sweeping.square), "'partial'"),
        (Adder(), "'Adder'"),
        (Adder().add, r"'Adder\.add'"),
    ],
)
def test_functions_without_a_name_of_their_own_are_not_recorded(function, name, tmp_path):
    message = f"run must be a named function of a module where out records .*, got {name}$"
    with pytest.raises(ArgumentError, match=message):
        pdm.sweep(squares(1), run=function, out=tmp_path / "results.jsonl", workers=0)
    assert not list(tmp_path.iterdir())
    assert len(pdm.sweep(squares(1), run=function, workers=0).records) == 1


HOW = {"1": "raise", "2": "exit", "3": "no rows", "4": "no JSON"}
ERRORS = {
    1: ("ValueError", "no square for 1"),
    2: ("SystemExit", "3"),
    3: ("TypeError", "rows must be dicts, got int"),
    4: ("KindError", "rows[0].square must be plain numbers, strings and lists, got set"),
}


def test_an_exception_is_the_failure_of_one_task(tmp_path):
    out = tmp_path / "results.jsonl"
    results = pdm.sweep(squares(6, how=HOW), run=sweeping.faulty, out=out, workers=0)
    assert [row["square"] for row in results.rows] == [0, 25]
    assert {f["n"]: (f["type"], f["message"]) for f in results.failures} == ERRORS
    assert any("in faulty" in line for line in results.failures[0]["traceback"])
    size = len(lines(out))
    again = pdm.sweep(squares(6, how=HOW), run=sweeping.faulty, out=out, workers=0)
    assert measured(again) == measured(results)
    assert len(lines(out)) == size == 6
    pdm.sweep(squares(6, how=HOW), run=sweeping.faulty, out=out, workers=0, retry_failed=True)
    assert len(lines(out)) == size + 4
    assert len(store.read_records(out)) == 6


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.compiled)])
def test_rows_before_an_exception_are_kept_apart_until_the_task_is_tried_again(workers, tmp_path):
    out, folder = tmp_path / "results.jsonl", tmp_path / "folder"
    folder.mkdir()
    tasks = [{"n": n, "folder": str(folder)} for n in (1, 3)]
    options = {"run": sweeping.breaks, "out": out, "workers": workers}
    found = lambda rows: [(row["n"], row["i"]) for row in rows]  # noqa: E731
    for _ in range(2):  # the second time nothing is run
        results = pdm.sweep(tasks, **options)
        assert (found(results.rows), found(results.unfinished)) == ([(1, 0)], [(3, 0), (3, 1)])
        assert pdm.load_results(out)[["n", "i"]].tolist() == [(1, 0)]
        (failure,) = results.failures
        assert (failure["type"], failure["unfinished"]) == ("MemoryError", 2)
        assert results.unfinished[0].keys() == results.rows[0].keys()
        assert found(Results(store.read_records(out)).unfinished) == [(3, 0), (3, 1)]
        assert len(lines(out)) == 2
    (folder / "memory").touch()
    results = pdm.sweep(tasks, **options, retry_failed=True)
    assert found(results.rows) == [(1, 0), (3, 0), (3, 1), (3, 2)]
    assert found(pdm.load_results(out)) == found(results.rows)
    assert (results.failures, results.unfinished) == ([], [])
    assert Results(store.read_records(out)).unfinished == []
    assert len(lines(out)) == 3


def huge(task):
    return {"huge": 10 ** task["n"], "endless": float("inf")}


def test_huge_numbers(tmp_path):
    """Those that JSON in Python cannot hold are failures, those beyond floats become text."""
    out = tmp_path / "results.jsonl"
    tasks = [{"n": 5000}, {"n": 400}, {"n": 1}]
    results = pdm.sweep(tasks, run=huge, out=out, workers=0)
    (failure,) = results.failures
    assert (
        failure["message"] == "rows[0].huge must have at most 13,000 bits, got an integer of more"
    )
    table = pdm.load_results(out)
    assert table["huge"].tolist() == ["10", "1" + "0" * 400]
    assert np.isnan(table["endless"]).all()


@pytest.mark.compiled
def test_the_death_of_a_worker_is_the_failure_of_its_task(tmp_path):
    how = {"2": "die", "5": "die once", "7": "raise"}
    tasks = squares(20, how=how, folder=str(tmp_path))
    out = tmp_path / "results.jsonl"
    results = pdm.sweep(tasks, run=sweeping.faulty, out=out, workers=2, retries=1)
    assert [(f["n"], f["type"]) for f in results.failures] == [(2, "WorkerDied"), (7, "ValueError")]
    assert results.failures[0]["message"] == "the worker died, 2 times"
    assert [row["n"] for row in results.rows] == [n for n in range(20) if n not in (2, 7)]
    assert len(lines(out)) == 20


@pytest.mark.compiled
def test_workers_that_cannot_start_are_one_error(tmp_path):
    script = tmp_path / "unguarded.py"
    script.write_text(
        "import patterndim as pdm\nfrom tests.sweeping import square\n"
        "pdm.sweep([{'n': 1}], run=square, workers=1)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(script)]
    found = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert found.returncode == 1
    assert "needs its code under `if __name__ == '__main__':`" in found.stderr.splitlines()[-1]
    with pytest.raises(ArgumentError, match="worker processes must be able to start"):
        pdm.sweep([{"n": 1}], run=lambda task: {}, workers=1)


@pytest.mark.compiled
def test_a_worker_that_dies_while_it_starts_is_started_again(tmp_path):
    function = sweeping.Late(str(tmp_path), 2)
    results = pdm.sweep(squares(3), run=function, workers=1, retries=0)
    assert [row["square"] for row in results.rows] == [0, 1, 4]
    assert len(list(tmp_path.iterdir())) == 2
    with pytest.raises(ArgumentError, match="worker processes must be able to start"):
        pdm.sweep(squares(3), run=sweeping.Late(str(tmp_path), 9), workers=1)
    assert len(list(tmp_path.iterdir())) == 5


@pytest.mark.compiled
def test_workers_have_their_share_of_threads(monkeypatch):
    names = ["NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"]
    for name in names:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    cores = len(os.sched_getaffinity(0))
    (row,) = pdm.sweep([{"names": names}], run=sweeping.threads, workers=5).rows
    assert [row[name] for name in names] == [str(cores), str(cores), "7"]
    assert "NUMBA_NUM_THREADS" not in os.environ


@pytest.mark.compiled
@pytest.mark.parametrize("kind", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_any_executor(kind):
    options = {"mp_context": get_context("spawn")}
    with kind(2, **(options if kind is ProcessPoolExecutor else {})) as executor:
        results = pdm.sweep(squares(30), run=sweeping.square, executor=executor)
        whole = pdm.sweep(squares(30), run=sweeping.square, workers=0)
        assert measured(results) == measured(whole)
    with pytest.raises(ArgumentError, match="executor must be able to run tasks, got RuntimeErr"):
        pdm.sweep(squares(3), run=sweeping.square, executor=executor)


def test_two_sweeps_do_not_share_a_file(tmp_path):
    out = tmp_path / "results.jsonl"

    def second(finished, failed, total):
        if finished == 1:
            message = f"out must not be in use, got '{out}': another sweep writes to it"
            with pytest.raises(FileError, match=message):
                pdm.sweep(squares(2), run=sweeping.square, out=out, workers=0)
            assert len(pdm.load_results(out)) == 1

    pdm.sweep(squares(2), run=sweeping.square, out=out, workers=0, progress=second)
    assert len(lines(out)) == 2


@pytest.mark.compiled
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*fork:RuntimeWarning")  # of JAX, if it was imported
def test_a_forked_child_does_not_hold_the_lock(tmp_path):
    out = tmp_path / "results.jsonl"
    with store.Store(out) as first:
        context = get_context("fork")
        started = context.Event()
        child = context.Process(target=lambda: started.set() or time.sleep(60))
        child.start()
        try:
            assert started.wait(30)
            with pytest.raises(FileError, match="another sweep writes to it"):
                store.Store(out)
            os.close(first.file)  # as when the process that sweeps is killed
            first.file = -1
            store.Store(out).close()
        finally:
            child.kill()
            child.join()


def test_file_systems_without_locks(tmp_path, monkeypatch):
    def flock(file, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(store._fcntl, "flock", flock)
    out = tmp_path / "results.jsonl"
    assert len(pdm.sweep(squares(2), run=sweeping.square, out=out, workers=0).rows) == 2
    assert len(lines(out)) == 2


def test_a_last_line_cut_off_anywhere_is_repaired(tmp_path):
    out = tmp_path / "results.jsonl"
    whole = pdm.sweep(squares(3), run=sweeping.square, out=out, workers=0)
    content = out.read_bytes()
    first = content.rindex(b"\n", 0, -1) + 1
    for length in range(first, len(content)):
        out.write_bytes(content[:length])
        kept = 3 if length == len(content) - 1 else 2
        assert len(pdm.load_results(out)) == kept
        assert out.read_bytes() == content[:length]  # reading repairs nothing
        calls = []
        tell = lambda *counts, calls=calls: calls.append(counts)  # noqa: E731
        results = pdm.sweep(squares(3), run=sweeping.square, out=out, workers=0, progress=tell)
        assert calls[0] == (kept, 0, 3)
        assert measured(results) == measured(whole)
        assert out.read_bytes().startswith(content[:first])
        assert len(store.read_records(out)) == 3
        assert out.read_bytes().endswith(b"}\n")
    out.write_bytes(content[:first] + b"\0" * 100)  # what a crash of the machine can leave
    assert pdm.sweep(squares(3), run=sweeping.square, out=out, workers=0).failures == []
    assert b"\0" not in out.read_bytes()


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda text: "no results\n" + text, 1),
        (lambda text: text.replace('"key": "', '"key" "', 1), 1),
        (lambda text: text + "{}\n", 3),
        (lambda text: text + "my thesis", 3),
        (lambda text: text + "[", 3),
        (lambda text: text.replace('"rows": [', '"lines": ['), 1),
        (lambda text: text.replace('"rows": [{', '"rows": [1, {', 1), 1),
        (lambda text: text.replace('"rows": [', '"unfinished": 3, "rows": [', 1), 1),
        (lambda text: text.replace('"rows": [', '"unfinished": [3], "rows": [', 1), 1),
        (lambda text: text.replace('"grid": ["n"]', '"grid": [["n"]]', 1), 1),
        (lambda text: text.replace('"done", "error": null', '"failed", "error": null', 1), 1),
        (lambda text: text.replace('"task": {', '"task": {"deep": ' + "[" * 99_999, 1), 1),
        (lambda text: "my thesis", 1),
    ],
)
def test_a_file_of_something_else_is_left_alone(change, line, tmp_path):
    out = tmp_path / "results.jsonl"
    pdm.sweep(squares(2), run=sweeping.square, out=out, workers=0)
    text = out.read_text()
    assert change(text) != text
    out.write_text(change(text))
    before = out.read_bytes()
    message = f"results must be records of a sweep, got line {line} of '{out}'"
    for read in (pdm.load_results, lambda path: pdm.sweep([], run=sweeping.square, out=path)):
        with pytest.raises(FileError, match=message):
            read(out)
    assert out.read_bytes() == before


def test_results_of_another_format_say_so(tmp_path):
    out = tmp_path / "results.jsonl"
    pdm.sweep(squares(2), run=sweeping.square, out=out, workers=0)
    out.write_text(out.read_text().replace('sweep": 1', 'sweep": 2'))
    message = f"results must be of format 1, got format 2 in line 1 of '{out}'"
    with pytest.raises(FileError, match=message):
        pdm.load_results(out)


@pytest.mark.parametrize("replace", [False, True])
def test_a_results_file_that_vanishes_ends_the_sweep(replace, tmp_path, monkeypatch):
    out = tmp_path / "results.jsonl"

    def vanish(finished, failed, total):
        if finished == 1:
            out.unlink()
            if replace:
                out.write_text("")

    monkeypatch.chdir(tmp_path)
    message = "out must stay where it is while a sweep runs, got 'results.jsonl': it was removed"
    options = {"run": sweeping.square, "out": out.name, "workers": 0}
    with pytest.raises(FileError, match=message):
        pdm.sweep(squares(3), progress=vanish, **options)
    assert len(lines(out)) == 0


def test_files_that_cannot_be_read_or_written(tmp_path):
    for name in (3.5, None):
        with pytest.raises(KindError, match=f"results must be the path of a file, got {name}"):
            pdm.load_results(name)
    with pytest.raises(KindError, match="out must be the path of a file, got 5"):
        pdm.sweep(squares(1), run=sweeping.square, out=5)
    with pytest.raises(FileError, match=r"results must be readable, .*: embedded null byte"):
        pdm.load_results("a\0b")
    with pytest.raises(FileError, match=r"out must be writable, .*: embedded null byte"):
        pdm.sweep(squares(1), run=sweeping.square, out="a\0b")
    with pytest.raises(FileError, match=r"results must be readable, got .*: No such file"):
        pdm.load_results(tmp_path / "nothing.jsonl")
    nowhere = tmp_path / "nowhere" / "results.jsonl"
    for out, reason in [(nowhere, "No such file"), (tmp_path, "Is a directory")]:
        with pytest.raises(FileError, match=f"out must be writable, got .*: {reason}"):
            pdm.sweep(squares(1), run=sweeping.square, out=out)
    with pytest.raises(FileError, match="out must be a regular file, got '/dev/full'"):
        pdm.sweep(squares(1), run=sweeping.square, out="/dev/full")


@pytest.mark.compiled
def test_a_full_disk_ends_the_sweep_and_harms_nothing(tmp_path):
    """The limit on the size of a file stands in for the end of the disk."""
    out, log = tmp_path / "results.jsonl", tmp_path / "log"
    code = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000)); "
        "import patterndim as pdm; from tests import sweeping; "
        f"pdm.sweep(sweeping.tasks({str(log)!r}), run=sweeping.slow, out={str(out)!r}, workers=0)"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert f"FileError: out must be writable, got '{out}': " in found.stderr.splitlines()[-1]
    assert 0 < out.stat().st_size <= 5000
    count = len(lines(out))
    assert all(json.loads(line)["status"] == "done" for line in lines(out))
    first = []
    tasks = sweeping.tasks(str(log))[: count + 2]
    pdm.sweep(tasks, run=sweeping.slow, out=out, workers=0, progress=lambda *n: first.append(n))
    assert first[0][0] == count > 3


def test_bad_arguments():
    with pytest.raises(KindError, match=r"executor must be a .*Executor, got 2"):
        pdm.sweep([], executor=2)
    with pytest.raises(ArgumentError, match="workers must be at least 0, got -1"):
        pdm.sweep([], workers=-1)
    with pytest.raises(ArgumentError, match="retries must be at least 0, got -1"):
        pdm.sweep([], retries=-1)
    with pytest.raises(KindError, match="run must be callable, got 'square'"):
        pdm.sweep([], run="square")
    with pytest.raises(KindError, match="tasks must be a sequence of dicts, got int"):
        pdm.sweep(3)
    with pytest.raises(KindError, match="tasks must be a sequence of dicts, got dict"):
        pdm.sweep({"n": 1}, run=sweeping.square)
    with pytest.raises(KindError, match=r"tasks\[1\] must be a dict, got int"):
        pdm.sweep([{}, 1], run=sweeping.square)
    with pytest.raises(NonFiniteError, match=r"tasks\[0\]\.n must be finite, got inf"):
        pdm.sweep([{"n": float("inf")}], run=sweeping.square)
    with pytest.raises(KindError, match=r"tasks\[0\]\.n must have at most 13,000 bits"):
        pdm.sweep([{"n": 10**5000}], run=sweeping.square)
    with pytest.raises(KindError, match="progress must be callable, got 3"):
        pdm.sweep([], progress=3)
    with pytest.raises(KindError, match=r"tasks\[0\] must have strings as keys, got 1"):
        pdm.sweep([{1: 1}], run=sweeping.square)


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.compiled)])
def test_whatever_a_task_raises_is_its_failure(workers, tmp_path):
    """Ctrl-C excepted, which in this process ends the sweep."""
    names = ["good", "mute", "exit", *(["stop"] if workers else []), "last"]
    tasks = [{"n": name} for name in names]
    found = pdm.sweep(tasks, run=sweeping.odd, workers=workers, out=tmp_path / "r.jsonl")
    assert [row["n"] for row in found.rows] == ["good", "last"]
    failed = {failure["n"]: failure for failure in found.failures}
    assert set(failed) == set(names) - {"good", "last"}
    assert all(failure["unfinished"] == 1 for failure in failed.values())
    assert failed["mute"]["message"] == "an exception without a message"
    assert failed["exit"]["type"] == "GeneratorExit"


def test_settings_of_the_names_of_a_failure_are_kept_beside_it():
    task = {"message": "mine", "key": 7, "unfinished": "yes", "n": 1, "how": {"1": "raise"}}
    [failure] = pdm.sweep([task], run=sweeping.faulty, workers=0).failures
    assert (failure["message"], failure["unfinished"]) == ("no square for 1", 0)
    assert [failure[f"task.{name}"] for name in ("message", "key", "unfinished")] == [
        "mine", 7, "yes",
    ]  # fmt: skip


@pytest.mark.parametrize("change", [{"rows": [{"a": 1}]}, {"status": "done", "unfinished": [{}]}])
def test_a_record_has_rows_or_unfinished_ones(change, tmp_path):
    path = tmp_path / "r.jsonl"
    pdm.sweep([{"n": 1, "how": {"1": "raise"}}], run=sweeping.faulty, workers=0, out=path)
    record = json.loads(path.read_text()) | change
    path.write_text(json.dumps(record, separators=(",", ":")) + "\n")
    with pytest.raises(FileError, match="results must be records of a sweep"):
        pdm.load_results(path)
