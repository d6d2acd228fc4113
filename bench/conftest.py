"""`pytest bench` runs what takes seconds; `-m "slow or not slow"` everything."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    if not config.option.markexpr:
        config.option.markexpr = "not slow"
