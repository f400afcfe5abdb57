"""Which backends are tested, a server for each, and what a skip means."""

import logging
import os

import pytest

from prosody_server import BACKENDS, Prosody

pytest_plugins = ["contract_items"]

DEFAULT_BACKENDS = ("epoll", "poll", "select", "stock-epoll", "13-epoll", "13-stock-epoll")
# By default beside those, but only in these files.
DEFAULT_IN_PART = {
    # One of the pollers that the contract runs on; here it shall show that Prosody starts, serves, reloads and ends on it.
    "libevent": {"test_chat", "test_operation"},
    # The same for I/O threads, and that TLS is theirs.
    "threads": {
        "test_chat", "test_ends", "test_haproxy", "test_hostile_tls", "test_limits", "test_newcomers", "test_operation", "test_proxy65",
        "test_shell", "test_tls", "test_top", "test_trace", "test_trouble",
    },
}


def pytest_addoption(parser):
    parser.addoption(
        "--backends",
        default=os.environ.get("BACKENDS"),
        help=f"comma-separated, of {', '.join(BACKENDS)} (default: {', '.join(DEFAULT_BACKENDS)}, and for some files "
        f"{', '.join(DEFAULT_IN_PART)})",
    )


def pytest_configure(config):
    unknown = set((config.getoption("--backends") or "epoll").split(",")) - set(BACKENDS)
    if unknown:
        raise pytest.UsageError(f"--backends: {', '.join(unknown)}; there are: {', '.join(BACKENDS)}")
    config.addinivalue_line("markers", "since_13: about what Prosody 0.12 does not have")
    config.addinivalue_line("markers", "may_skip: under CI as well, for what another test has covered")
    config.addinivalue_line("markers", "only_on(names): about what needs no more than these backends")
    # slixmpp tells of every stanza at debug level; its errors belong to the report of a failed test.
    logging.getLogger("slixmpp").setLevel(logging.WARNING)


def _backends(metafunc):
    """The names that were asked for, or the default ones of this file."""
    if chosen := metafunc.config.getoption("--backends"):
        return chosen.split(",")
    file = metafunc.module.__name__
    return [*DEFAULT_BACKENDS, *(name for name, files in DEFAULT_IN_PART.items() if file in files)]


def pytest_generate_tests(metafunc):
    if "backend" in metafunc.fixturenames:
        names = _backends(metafunc)
        if metafunc.definition.get_closest_marker("since_13"):
            names = [name for name in names if BACKENDS[name].version != "0.12"]
        if only := metafunc.definition.get_closest_marker("only_on"):
            names = [name for name in names if name in only.args]
        # Workers of pytest-xdist: the tests of one shared server belong to the one that has started it.
        shared = [name for name in metafunc.fixturenames if name.startswith("shared_")]
        metafunc.parametrize("backend", [
            pytest.param(BACKENDS[name], id=name, marks=[pytest.mark.xdist_group(f"{name}-{s}") for s in shared])
            for name in names
        ], scope="session")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """On a machine of one's own a test may be skipped for a reason; under CI that is a failure."""
    report = yield
    allowed = hasattr(report, "wasxfail") or item.get_closest_marker("may_skip")
    if report.skipped and not allowed and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"SKIP under CI=true: {report.longrepr[2]}"
    return report


@pytest.fixture(scope="session")
def shared_server(backend, tmp_path_factory):
    """One Prosody per backend for all tests that leave it as they found it. Its log is checked at the end."""
    with Prosody(tmp_path_factory.mktemp(backend.name), backend) as server:
        yield server


@pytest.fixture
def server(shared_server):
    """The shared server, which must outlive each test."""
    yield shared_server
    assert shared_server.alive(), f"Prosody ended\n{shared_server.everything_said()}"


@pytest.fixture
def make_server(backend, tmp_path):
    """Servers for one test alone; what is still running at its end is killed."""
    made = []

    def make(name="prosody", **options):
        made.append(Prosody(tmp_path / name, backend, **options))
        return made[-1]

    yield make
    for server in made:
        server.kill()
