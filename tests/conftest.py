"""What the tests run against: a local Upstash in front of an embedded and a real Redis, and the local platform."""

import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from lib import kv
from tests.support.deployments import Parley, running_parley, running_site
from tests.support.stores import Store, redis_server, running_store

# A test that uses one of these starts functions, a real Redis or a build.
_PLATFORM = {"any_parley", "any_site", "deployment", "output"}


def pytest_xdist_auto_num_workers() -> int:
    """Return two workers for each processor, since the tests wait half of the time."""
    return 2 * (os.cpu_count() or 1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that `make quick` leaves out, and begin with the longest one, beside which the others can run."""
    for item in items:
        if isinstance(item, pytest.Function):
            store = item.callspec.params.get("any_store") if hasattr(item, "callspec") else None
            if store == "redis" or _PLATFORM.intersection(item.fixturenames):
                item.add_marker("platform")
    items.sort(key=lambda item: item.path.name != "test_soak.py")


@pytest.fixture(scope="session", params=["embedded", "redis"])
def any_store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """Give a store on an embedded Redis, and once more on a real one: REDIS_URL, or one that is started here.

    Whatever else is in the database at REDIS_URL stays: the tests' names have a prefix of their own there.
    """
    with ExitStack() as running:
        if request.param == "embedded":
            given, prefix = None, ""
        elif url := os.environ.get("REDIS_URL"):
            given, prefix = url, f"parley-test-{secrets.token_hex(4)}:"
        else:
            given, prefix = running.enter_context(redis_server()), ""
        store = running.enter_context(running_store(given, prefix))
        yield store
        store.clear()


@pytest.fixture
def store(any_store: Store) -> Store:
    """Give an empty store that does not fail."""
    any_store.clear()
    return any_store


@pytest.fixture
def kv_store(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """Give the store to the library in this very process."""
    for name, value in store.variables().items():
        monkeypatch.setenv(name, value)
    yield store
    while kv._connections:
        kv._connections.popitem()[1].client.close()  # type: ignore[no-untyped-call]


@pytest.fixture(scope="session")
def any_parley(any_store: Store) -> Iterator[Parley]:
    """Give a deployment for the whole run."""
    any_store.clear()
    with running_parley(any_store) as parley:
        yield parley


@pytest.fixture
def parley(any_parley: Parley, store: Store) -> Parley:
    """Give a deployment with an empty store."""
    any_parley.lines.clear()
    assert any_parley.store is store
    return any_parley


@pytest.fixture(scope="session")
def any_site() -> Iterator[Parley]:
    """Give a deployment for the whole run to those that need no other store and know no limits."""
    with running_site() as parley:
        yield parley


@pytest.fixture
def site(any_site: Parley) -> Iterator[Parley]:
    """Give a deployment whose sessions are not the test's alone."""
    yield any_site
    any_site.store.faults.heal()


@pytest.fixture(scope="module")
def deployment() -> Iterator[Parley]:
    """Give a deployment on the embedded store to a module for which another store changes nothing."""
    with running_store(None) as store, running_parley(store) as parley:
        yield parley


@pytest.fixture
def well(deployment: Parley) -> Parley:
    """Give a deployment with an empty store."""
    deployment.store.clear()
    return deployment
