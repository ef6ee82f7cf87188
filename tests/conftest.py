"""What the tests run against: a local Upstash in front of an embedded or a real Redis, and the local platform."""

import gc
import os
import signal
import sys
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import hypothesis
import pytest
from xdist import is_xdist_controller

from tests.support.certificates import trust_nobody
from tests.support.deployments import STARTS_FUNCTIONS, Api, Parley, running_parley, running_site
from tests.support.functions import in_this_process, library_uses
from tests.support.stores import Store, has_real_store, real_store, running_store
from tests.support.tools import PROJECT, in_ci, wait_until

# The events of Python's audit hooks with which a new process begins.
_STARTS = {STARTS_FUNCTIONS, "subprocess.Popen", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"}

# The same examples in each run, so that a test which passes once passes again. Others, and more of them:
# make test ARGS="--hypothesis-profile thorough -k json"
hypothesis.settings.register_profile("steady", max_examples=50, derandomize=True, database=None, deadline=None)
hypothesis.settings.register_profile("thorough", max_examples=2000, deadline=None)
hypothesis.settings.load_profile("steady")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add an option for fewer tests than usual, and one for more."""
    parser.addoption("--quick", action="store_true", help="skip each test that starts a process, as soon as it does")
    parser.addoption("--long", action="store_true", help="run what takes long, too, as CI does")


def pytest_configure(config: pytest.Config) -> None:
    """Change this process's environment, which all that the tests start get."""
    # What `make test ARGS=…` would hand down to each `make` that a test runs.
    for name in ("ARGS", "MAKEFLAGS", "MFLAGS", "MAKELEVEL"):
        os.environ.pop(name, None)
    folder = tempfile.TemporaryDirectory()
    config.add_cleanup(folder.cleanup)
    trust_nobody(Path(folder.name))


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say what is left out."""
    if config.getoption("quick"):
        return "quick: tests that start a process are skipped"
    return None if _runs_long(config) else "what takes long is left out: make test ARGS=--long"


def _runs_long(config: pytest.Config) -> bool:
    return bool(config.getoption("long")) or in_ci()


def pytest_sessionstart(session: pytest.Session) -> None:
    """With --quick, let no test start a process, whatever way leads there."""
    if session.config.getoption("quick") and not is_xdist_controller(session):
        sys.addaudithook(_skip_processes)


def _skip_processes(event: str, _: tuple[object, ...]) -> None:
    if event in _STARTS:
        pytest.skip("it starts a process: make test runs it")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    call: pytest.CallInfo[None],
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """List each reason for skips once, however many tests a fixture has skipped for it."""
    report = yield
    if call.excinfo and isinstance(report.longrepr, tuple):
        skipping = call.excinfo.traceback[-2]  # the last one is within pytest.skip
        report.longrepr = (str(skipping.path), skipping.lineno + 1, report.longrepr[2])
    return report


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return more than one worker for each processor: the tests wait half of the time, those of --quick longer."""
    processors = os.cpu_count() or 1
    return 3 * processors if config.getoption("quick") else 2 * processors + 1


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over what is there now: thousands of tests and their libraries, which stay."""
    gc.freeze()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what takes long, or begin with the longest test, beside which the others can run."""
    if not _runs_long(config):
        left_out = [item for item in items if item.get_closest_marker("long")]
        items[:] = [item for item in items if not item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=left_out)
    items.sort(key=lambda item: item.path.name != "test_soak.py")


@pytest.fixture
def usual_signals() -> Iterator[None]:
    """Let programs that the test starts heed Ctrl+C and a terminal that closes.

    A program ignores what its parent ignores: so do these tests, and all that they start, under nohup, or in the
    background of a script.
    """
    ignored = [number for number in (signal.SIGINT, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture(scope="session")
def embedded_store() -> Iterator[Store]:
    """Give a store on an embedded Redis."""
    with running_store(None) as store:
        yield store


@pytest.fixture(scope="session")
def redis_store() -> Iterator[Store]:
    """Give a store on a real Redis."""
    with real_store() as store:
        yield store


@pytest.fixture(scope="session", params=["embedded", "redis"])
def any_store(request: pytest.FixtureRequest) -> Store:
    """Give a store on an embedded Redis, and once more on a real one.

    This is for what runs in the store, and what listens to it: there the two could differ.
    """
    store: Store = request.getfixturevalue(f"{request.param}_store")
    return store


@pytest.fixture(scope="session")
def usual_store(request: pytest.FixtureRequest) -> Store:
    """Give the store of those deployments that need none of their own, as `stores.usual_store` does."""
    store: Store = request.getfixturevalue("redis_store" if has_real_store() else "embedded_store")
    return store


@pytest.fixture
def store(any_store: Store) -> Store:
    """Give an empty store that does not fail."""
    any_store.clear()
    return any_store


@pytest.fixture
def kv_store(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """Give the store to the library in this very process."""
    with library_uses(store, monkeypatch):
        yield store


@pytest.fixture
def api(embedded_store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """Give the service in this very process, on an empty store, so that a test can change its constants."""
    embedded_store.clear()
    with in_this_process(embedded_store, monkeypatch) as running:
        yield running


@pytest.fixture(scope="session")
def any_parley(usual_store: Store) -> Iterator[Parley]:
    """Give a deployment for the whole run."""
    with running_parley(usual_store) as parley:
        parley.platform.reload()
        yield parley


@pytest.fixture
def parley(any_parley: Parley) -> Parley:
    """Give a deployment with an empty store."""
    return _emptied(any_parley)


@pytest.fixture
def limited(parley: Parley) -> Iterator[Parley]:
    """Give the same to a test that reaches a limit.

    The next test gets new instances, because these remember whom they have refused.
    """
    yield parley
    for file in (PROJECT / "api").glob("*.py"):
        parley.restart(file.stem)


@pytest.fixture
def well(any_parley: Parley) -> Parley:
    """Give the same, to a module that has a `parley` of its own."""
    return _emptied(any_parley)


def _emptied(parley: Parley) -> Parley:
    wait_until(parley.platform.is_idle)  # or the next test would count a call to the store of the last one's
    parley.store.clear()
    parley.lines.clear()
    return parley


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
