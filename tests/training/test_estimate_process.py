"""An estimate that is measured in a process of its own."""

from __future__ import annotations

import pytest

from kdexplorer.config import RunConfig
from kdexplorer.errors import RunError
from kdexplorer.training import estimate_process
from tests.training.test_estimate import SMALL


@pytest.mark.slow
def test_a_process_says_what_is_wrong():
    config = RunConfig.model_validate(SMALL | {"teacher": "nobody"})
    measurement = estimate_process.Measurement(config)
    measurement._process.wait(300)
    with pytest.raises(RunError, match="no checkpoint 'nobody'"):
        measurement.poll()


def test_a_measurement_can_be_canceled():
    measurement = estimate_process.Measurement(RunConfig.model_validate(SMALL))
    measurement.cancel()
    with pytest.raises(RunError):
        measurement.poll()
