"""What is deployed, built once for all tests, and a deployment for the checker."""

import fcntl
import subprocess
from pathlib import Path

import pytest
from requests_mock import Mocker

from dev.local import bundle
from tests.support.certificates import trust_as_usual
from tests.support.tools import PROJECT, need


@pytest.fixture(scope="session")
def output(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Give the output of the build, which the first worker makes for all."""
    vercel = need("vercel", "npm install --global --ignore-scripts vercel@60.1.3")
    own = tmp_path_factory.getbasetemp()
    with ((own if worker_id == "master" else own.parent) / "built-at").open("a+") as built_at:
        fcntl.flock(built_at, fcntl.LOCK_EX)
        built_at.seek(0)
        if not (path := built_at.read()):
            try:
                with trust_as_usual():
                    path = str(bundle.build(PROJECT, tmp_path_factory.mktemp("bundle"), vercel))
            except subprocess.CalledProcessError as error:
                pytest.fail(error.output)
            built_at.write(path)
    return Path(path)


@pytest.fixture
def mocked(requests_mock: Mocker) -> Mocker:
    """Give a mock that lets through what it does not answer."""
    requests_mock.real_http = True
    return requests_mock
