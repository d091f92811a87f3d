import pytest

import patterndim as pdm
from tests.planted import PLANTED, Pipeline


@pytest.fixture(scope="module")
def pipeline():
    return Pipeline()


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.title)
def test_planted_faults_are_found_and_named(planted, pipeline):
    found = pdm.crosscheck(pipeline.network, pipeline.X, planted.plant(pipeline), ranks=False)
    assert not found.agrees
    assert [fault.name for fault in found.faults] == [planted.name]
    assert planted.says in found.faults[0].message
    assert planted.name in str(found)
