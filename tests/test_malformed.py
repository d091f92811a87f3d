"""Whatever is wrong with a file: one error that names it, no code run, no memory taken."""

import os
import subprocess
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest

import patterndim as pdm
from patterndim.errors import FileError, PatterndimError
from patterndim.formats import npz
from tests import malformed

pytestmark = pytest.mark.compiled  # no kernel takes part, but torch does

SUFFIXES = (".npz", ".safetensors", ".pt", ".keras")

#: Most bytes taken to find out that a file of some kilobytes is not good.
MEMORY = 2**25


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """Bytes of a good file of each format."""
    pytest.importorskip("torch")
    pytest.importorskip("h5py")
    return malformed.good_files(tmp_path_factory.mktemp("good"))


def refused(path, message=""):
    """Raise unless a file is refused as it should be."""
    with pytest.raises(FileError, match=message or "source must") as caught:
        pdm.load(path)
    assert type(caught.value) is FileError
    text = str(caught.value)
    assert str(path) in text
    assert text.isprintable()
    assert len(text) < 700 + len(str(path))


def test_the_good_files_are_good(good, tmp_path):
    for name, data in good.items():
        path = tmp_path / f"good{name if name in SUFFIXES else '.safetensors'}"
        path.write_bytes(data)
        assert pdm.load(path).widths[0] == 3


@pytest.mark.parametrize("number", range(len(malformed.CASES)))
def test_malformed_files_are_refused(number, good, tmp_path):
    suffix, message, make = malformed.CASES[number]
    path, marker = tmp_path / f"malformed{suffix}", tmp_path / "ran"
    path.write_bytes(make(good[suffix], marker))
    tracemalloc.start()
    try:
        refused(path, message)
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()
    assert not marker.exists()


def test_there_are_many_cases():
    assert len(malformed.CASES) > 150


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_truncated_files_are_refused(suffix, good, tmp_path):
    path, data = tmp_path / f"cut{suffix}", good[suffix]
    for length in sorted({*range(30), *range(0, len(data), 97), *range(len(data) - 30, len(data))}):
        path.write_bytes(data[:length])
        refused(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_no_regular_file_is_refused(suffix, tmp_path):
    pytest.importorskip("torch")
    folder, missing, loop = (tmp_path / f"{name}{suffix}" for name in ("folder", "missing", "loop"))
    folder.mkdir()
    loop.symlink_to(loop)
    pipe = tmp_path / f"pipe{suffix}"
    os.mkfifo(pipe)
    refused(folder, "it is not a regular file")
    refused(pipe, "it is not a regular file")
    refused(missing, "No such file or directory")
    refused(loop, "symbolic links")
    refused(tmp_path / f"null\0byte{suffix}".replace("\0", "x") / f"below{suffix}", "No such file")


def test_links_to_files_are_followed(tmp_path):
    pdm.save(pdm.Network.random((2, 1)), tmp_path / "network.npz")
    (tmp_path / "link.npz").symlink_to(tmp_path / "network.npz")
    assert pdm.load(tmp_path / "link.npz").widths == (2, 1)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "magic string"),
        (malformed.npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"), "dtype object"),
        (
            malformed.npy("{'descr': '<f8', 'fortran_order': False, 'shape': (4,), }", bytes(31)),
            "the array of shape .4,. needs 32 bytes of data, has 31",
        ),
        (
            malformed.npy("{'descr': '<f8', 'fortran_order': False, 'shape': (4,), }", bytes(33)),
            "needs 32 bytes of data, has 33",
        ),
        (malformed.npy("{'descr': '<M8', 'fortran_order': False, 'shape': (), }"), "not plain"),
        (
            malformed.npy("{'descr': '<U0', 'fortran_order': False, 'shape': (10**12,), }"),
            "source must be a readable",
        ),
        (
            malformed.npy("{'descr': '<U0', 'fortran_order': False, 'shape': (9,), }"),
            "which is not plain",
        ),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}", "source must be a readable"),
        (malformed.zipped({"X.npy": b""}), "it is an archive, not one array"),
    ],
)
def test_malformed_arrays_are_refused(data, message, tmp_path):
    (tmp_path / "X.npy").write_bytes(data)
    with pytest.raises(FileError, match=message):
        npz.read_array(tmp_path / "X.npy")


def test_pickled_arrays_are_not_run(tmp_path):
    marker = tmp_path / "ran"
    np.save(tmp_path / "X.npy", np.array([malformed.Payload(marker)], dtype=object))
    with pytest.raises(FileError, match="dtype object, which is not plain"):
        npz.read_array(tmp_path / "X.npy")
    assert not marker.exists()


def outcome(path):
    """Whether a file is a network; no error but ours."""
    try:
        pdm.load(path)
    except PatterndimError:
        return False
    return True


def flipped(data, rng):
    """Bytes with a few changed, most of them where it matters."""
    changed = np.frombuffer(data, np.uint8).copy()
    places = np.flatnonzero(changed) if rng.random() < 0.7 else np.arange(len(changed))
    where = rng.choice(places, rng.integers(1, 5))
    if rng.random() < 0.5:
        changed[where] = rng.integers(0, 256, len(where))
    else:
        changed[where] ^= (1 << rng.integers(0, 8, len(where))).astype(np.uint8)
    return changed.tobytes()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_with_flipped_bytes_are_networks_or_refused(suffix, good, tmp_path):
    path, rng = tmp_path / f"flipped{suffix}", np.random.default_rng(0)
    refusals = 0
    for _ in range(200):
        path.write_bytes(flipped(good[suffix], rng))
        refusals += not outcome(path)
    assert refusals > 50


@pytest.mark.parametrize(
    ("suffix", "member"),
    [
        (".npz", "theta.npy"),
        (".npz", "connections.npy"),
        (".pt", "model/data.pkl"),
        (".keras", "config.json"),
        (".keras", "model.weights.h5"),
    ],
)
def test_members_with_flipped_bytes_are_networks_or_refused(suffix, member, good, tmp_path):
    """The checksums of an archive find damage, but not what was damaged before."""
    path, rng = tmp_path / f"flipped{suffix}", np.random.default_rng(1)
    inside, refusals = malformed.members(good[suffix]), 0
    for _ in range(200):
        path.write_bytes(malformed.zipped({**inside, member: flipped(inside[member], rng)}))
        refusals += not outcome(path)
    assert refusals > 30


BOMBS = """
import resource, sys
import patterndim as pdm, torch, numpy
from patterndim.formats import hdf5, keras_file, npz, safetensors, state_dict
from patterndim.errors import FileError

with open("/proc/self/statm") as file:
    taken = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + 2**27, taken + 2**27))
for path in sys.argv[1:]:
    try:
        pdm.load(path)
    except FileError as error:
        assert "MemoryError" not in str(error), error
        print("refused")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the address space")
def test_bombs_go_off_in_no_memory(good, tmp_path):
    """128 MiB for files that unpack to twice as much, or say that they do."""
    zeros, paths = bytes(2**28), []
    bombs = {".npz": "theta.npy", ".pt": "model/data/0", ".keras": "model.weights.h5"}
    for suffix, name in bombs.items():
        paths.append(tmp_path / f"bomb{suffix}")
        with zipfile.ZipFile(paths[-1], "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for other, data in malformed.members(good[suffix]).items():
                archive.writestr(other, zeros if other == name else data)
    del zeros
    for number, (suffix, _, make) in enumerate(malformed.CASES):
        paths.append(tmp_path / f"case{number}{suffix}")
        paths[-1].write_bytes(make(good[suffix], tmp_path / "ran"))
    run = [sys.executable, "-c", BOMBS, *map(str, paths)]
    found = subprocess.run(run, capture_output=True, text=True, check=False)
    assert found.stdout.split() == ["refused"] * len(paths), found.stderr
    assert not (tmp_path / "ran").exists()
