"""Items of the contract that take a real Prosody and real clients: what came of them, for the table of docs/differences.md.

`@pytest.mark.contract_item(101)` says to which item a test belongs. A run of everything leaves a result for each item and backend
beside those of the other items, in the form of crates/lua/spec/contract/results.lua; a run of some tests leaves things as they
are. A test of a stock backend whose bug is on record names it by record_property("stock bug", ...).
"""

import json
import os
import pathlib

import pytest

from prosody_server import ROOT

DIRECTORY = ROOT / os.environ.get("CONTRACT_RESULTS", "target/contract")


def pytest_configure(config):
    config.addinivalue_line("markers", "contract_item(number): the test shows this item of the contract")
    # Under pytest-xdist the reports of all workers arrive in the process above them.
    if not hasattr(config, "workerinput") and _is_whole(config):
        config.pluginmanager.register(_Recorder())


def _is_whole(config):
    option, here = config.option, pathlib.Path(__file__).parent
    some = option.keyword or option.markexpr or option.deselect or option.maxfail or config.getoption("lf", False)
    return not some and all(here.is_relative_to(pathlib.Path(arg).absolute()) for arg in config.args)


def _subjects(parameters):
    """What harness.lua calls the backends of a test; one about a version as such is about both backends of that."""
    if backend := parameters.get("backend"):
        name = backend.name.removeprefix("13-")
        names, version = [name.removeprefix("stock-") if name.startswith("stock-") else f"trochee-{name}"], backend.version
    else:
        names, version = ["trochee-epoll", "epoll"], parameters["version"]
    return [name if version == "0.12" else f"{name}-13" for name in names]


def pytest_collection_modifyitems(items):
    for item in items:
        # Without a backend to run on, as --backends may have it, pytest marks a test to be skipped.
        if (marker := item.get_closest_marker("contract_item")) and not item.get_closest_marker("skip"):
            for subject in _subjects(item.callspec.params):
                item.user_properties.append(("contract item", (marker.args[0], subject)))


class _Recorder:
    def __init__(self):
        self.faults = {}  # by item and subject: what failed; for a pass, nothing

    def pytest_runtest_logreport(self, report):
        if not (report.failed or report.when == "call" and report.passed):
            return
        for name, value in report.user_properties:
            if name == "contract item":
                faults = self.faults.setdefault(tuple(value), [])
                faults += [text for what, text in report.user_properties if what == "stock bug" and report.when == "call"]
                if report.failed:
                    faults.append(f"{report.nodeid}: {report.longreprtext[-500:]}")

    def pytest_sessionfinish(self, exitstatus):
        if exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            return
        DIRECTORY.mkdir(parents=True, exist_ok=True)
        for number in {number for number, _ in self.faults}:
            for file in DIRECTORY.glob(f"*.{number}.*"):
                file.unlink()
        for (number, subject), faults in self.faults.items():
            status = "fail" if faults else "pass"
            result = {"item": number, "subject": subject, "status": status, "message": "\n".join(faults)}
            (DIRECTORY / f"{subject}.{number}.json").write_text(json.dumps(result))
            (DIRECTORY / f"{subject}.{number}.status").write_text(str(int(status == "fail")))
