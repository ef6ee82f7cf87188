"""tests/soak/: everything fails at once, and nothing is lost, doubled, out of order or left behind."""

import pytest

from tests.soak import soak

# Longer: make soak SECONDS=…
SECONDS = 30


@pytest.mark.long
@pytest.mark.timeout(SECONDS + 180)
def test_soak() -> None:
    assert soak.run(SECONDS, seed=1) == []
