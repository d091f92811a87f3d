"""Every error that patterndim raises: a `PatterndimError` that is also the builtin one expects."""


class PatterndimError(Exception):
    """Parent of every error of this package."""


class ShapeError(PatterndimError, ValueError):
    """An array has the wrong shape."""


class NonFiniteError(PatterndimError, ValueError):
    """An array holds NaN or infinity, or a computation would overflow float64."""


class ArgumentError(PatterndimError, ValueError):
    """An argument has a value outside what the function is defined for."""


class KindError(PatterndimError, TypeError):
    """An argument is not of a kind that can be read exactly, for example not real numbers."""


class FileError(PatterndimError, OSError, ValueError):
    """A file is missing, unreadable, or not what it should be."""


class MemoryLimitError(PatterndimError, MemoryError):
    """The computation needs more memory than it was given."""


class MismatchError(PatterndimError, AssertionError):
    """A Jacobian is not that of the network; the message names what is wrong with it."""


class MissingPackageError(PatterndimError, ImportError):
    """An optional package is needed that is not installed."""
