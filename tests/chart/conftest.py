import pytest

import rendering


@pytest.fixture(scope="session")
def cluster():
    return rendering.cluster()
