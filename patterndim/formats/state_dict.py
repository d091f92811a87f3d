"""
Parameters as ``torch.save`` writes them: .pt and .pth files of a ``state_dict``.

Such a file is an archive of one pickle and of the plain bytes of every tensor.  torch unpickles
it, with ``weights_only=True``, which makes tensors and runs nothing else; before, the archive and
the pickle are read here without running them, and torch is given a copy that holds only what was
checked.  The names tell the layers (see `named`).
"""

import io
import pickletools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import ZipFile

from patterndim.errors import FileError
from patterndim.formats.archives import MOST_NAME, read_member, reading, unzipping
from patterndim.formats.framework import framework
from patterndim.formats.imported import Imported
from patterndim.formats.named import from_names
from patterndim.formats.torch_memory import sharing

SUFFIXES = (".pt", ".pth")
SOURCE = "torch state_dict file"

#: What the pickle of a state_dict refers to, besides the storages of torch.
TENSORS = (
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
)
#: Most bytes of the pickle, and most tuples in it: some per tensor.  A tuple of a tuple of a tuple
#: and so on can be so deep that comparing it exhausts the stack of the interpreter.
MOST_PICKLE, MOST_TUPLES = 2**24, 20_000

#: Where checkpoints keep the parameters.
ENTRIES = ("state_dict", "model_state_dict", "model")

ADVICE = "save model.state_dict() with torch.save"


def recognises(source: object) -> bool:
    """Whether this is the path of such a file."""
    return isinstance(source, Path) and source.suffix in SUFFIXES


def read(source: Path, *, slope: float | Sequence[float] | None = None) -> Imported:
    """Network of a file."""
    torch = framework("torch", "torch")
    with reading(source, "be a readable torch state_dict") as file:
        loaded = torch.load(_checked(file), map_location="cpu", weights_only=True)
        arrays = _tensors(loaded, torch)
        imported = from_names(arrays, source=SOURCE)
    if slope is None:
        return imported
    return from_names(arrays, source=SOURCE, slope=slope)  # what fails now is the slope


def _checked(file: BinaryIO) -> BinaryIO:
    """Copy of an archive of tensors, made of nothing but what torch needs and was checked."""
    if file.read(2) != b"PK":
        raise FileError(f"no archive, as torch has written since 1.6: {ADVICE}")
    copy = io.BytesIO()
    with unzipping(file) as archive:
        names = archive.namelist()
        top = names[0].partition("/")[0] if names else ""
        if f"{top}/constants.pkl" in names:
            raise FileError(f"it holds a TorchScript program: {ADVICE}")
        pickle = read_member(archive, f"{top}/data.pkl", MOST_PICKLE)
        _check_pickle(pickle)
        with ZipFile(copy, "w") as checked:
            checked.writestr(f"{top}/data.pkl", pickle)
            for name in names:
                part = name.removeprefix(f"{top}/")
                if part in ("byteorder", "version") or part.startswith("data/"):
                    checked.writestr(name, read_member(archive, name))
    copy.seek(0)
    return copy


def _check_pickle(pickle: bytes) -> None:
    """Raise unless a pickle refers to tensors only; it is read, not run."""
    tuples = 0
    for opcode, argument, _ in pickletools.genops(pickle):
        tuples += "TUPLE" in opcode.name
        if tuples > MOST_TUPLES:
            raise FileError(f"its pickle has more than {MOST_TUPLES} tuples")
        if opcode.name == "PROTO" and argument != 2:
            raise FileError(f"its pickle has protocol {argument} instead of 2")
        if opcode.name in ("GLOBAL", "INST") and argument not in TENSORS:
            module, _, name = str(argument).partition(" ")
            if module != "torch" or not name.endswith("Storage"):
                refers = f"{module}.{name}"[:100]
                raise FileError(f"it refers to {refers}, not only to parameters: {ADVICE}")


def _tensors(loaded: object, torch: Any) -> dict[str, Any]:
    """Tensors of a state_dict, or of the entry of a checkpoint that is one."""
    if isinstance(loaded, Mapping):
        for entry in ENTRIES:
            if isinstance(loaded.get(entry), Mapping):
                loaded = loaded[entry]
                break
    if not isinstance(loaded, Mapping):
        raise FileError(f"it holds a {type(loaded).__name__}, no state_dict: {ADVICE}")
    for name, tensor in loaded.items():
        if type(name) is not str or len(name) > MOST_NAME:
            raise FileError("an entry without a name")
        if not isinstance(tensor, torch.Tensor):
            raise FileError(f"{name} is a {type(tensor).__name__}, no tensor: {ADVICE}")
        if tensor.dtype not in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
            raise FileError(f"{name} has dtype {tensor.dtype}")
    # Tied weights are not parameters of their own, and one storage could be any number of them.
    if shared := sharing(loaded.items()):
        raise FileError(f"{shared[1]} shares its numbers with another entry, or with itself")
    return dict(loaded)
