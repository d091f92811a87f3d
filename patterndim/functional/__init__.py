"""The functional dimension: by random samples, by given patterns, or by all regions."""

from patterndim.functional.dimension import functional_dimension
from patterndim.functional.result import FunctionalDimension
from patterndim.functional.sampling import sampling_failure

__all__ = ["FunctionalDimension", "functional_dimension", "sampling_failure"]
