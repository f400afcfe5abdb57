"""What trochee counts, in Prosody's statistics: the shell's, and those that Prometheus reads."""

import asyncio
import re
import shutil
import subprocess
import time

import pytest

from clients import online
from prometheus_server import DASHBOARD, RULES, ask, fetch, prometheus
from prosody_server import MODULES, RawStream


def wait_for(what, get):
    deadline = time.monotonic() + 40
    while not (found := get()):
        assert time.monotonic() < deadline, what
        time.sleep(0.2)
    return found


@pytest.mark.only_on("epoll", "13-epoll")
def test_prometheus_reads_them(make_server, tmp_path):
    if not shutil.which("prometheus"):
        pytest.skip("prometheus is not installed: run 'make setup'")
    checked = subprocess.run(["promtool", "check", "rules", RULES], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr

    async def flow(server):
        with RawStream(server) as stranger:
            await asyncio.to_thread(stranger.open)
        async with online(server, "romeo"):
            text = await asyncio.to_thread(fetch, f"{server.http_url}/metrics")
            values = dict(re.findall(r"^prosody_mod_trochee__(\S+) (\S+)$", text, re.M))
            assert float(values["accepted_total"]) >= 1, text
            assert float(values["authenticated_total"]) == 1, text
            assert float(values["received_bytes_total"]) > 100, text
            assert float(values['connections{stage="established"}']) >= 1, text
            assert "# UNIT prosody_mod_trochee__received_bytes bytes" in text
            assert re.search(r"^# HELP prosody_mod_trochee__accepted Connections that listeners accepted\.$", text, re.M)
            # What is counted by kind, by listener, by thread, and how long things take.
            assert float(values[f'listener_connections{{service="c2s",address="{server.address}",port="{server.c2s_port}"}}']) >= 1, text
            assert float(values['thread_busy_seconds_total{thread="0"}']) > 0, text
            assert re.search(r'^prosody_mod_trochee__closed_connections_total\{reason="[^"]+"\} [1-9]', text, re.M), text
            for name in ("turn_seconds", "wait_seconds", "turn_events", "lag_seconds", "callback_seconds"):
                assert f"# TYPE prosody_mod_trochee__{name} histogram" in text
                buckets = [float(value) for key, value in values.items() if key.startswith(f"{name}_bucket")]
                assert len(buckets) > 20 and max(buckets) == float(values[f"{name}_count"]) > 0, (name, text)
                assert float(values[f"{name}_sum"]) > 0, (name, text)
            # What the dashboard and the rules speak of is there.
            for file in (DASHBOARD, RULES):
                named = {re.sub("_(total|bucket)$", "", name) for name in re.findall(r"prosody_mod_trochee__(\w+)", file.read_text())}
                assert named and named <= set(re.findall(r"^# TYPE prosody_mod_trochee__(\w+) ", text, re.M)), file
            # Every counter of the engine is there.
            counters = await asyncio.to_thread(
                server.shell, "> local n = 0; for _ in pairs(require'net.server'.stats()) do n = n + 1 end; return 'n'..n"
            )
            assert f"n{sum(name.endswith('_total') for name in values)}" in counters, counters

    with make_server(
        modules=[*MODULES, "http_openmetrics"], statistics="internal", statistics_interval="manual"
    ) as server:
        asyncio.run(flow(server))
        with prometheus(tmp_path, f"{server.address}:{server.http_port}") as base:
            query = "/api/v1/query?query=prosody_mod_trochee__accepted_total"
            series = wait_for("the series", lambda: (ask(base, query) or {}).get("result"))
            assert float(series[0]["value"][1]) >= 1

            def evaluated():
                groups = (ask(base, "/api/v1/rules") or {}).get("groups", [])
                rules = [rule for group in groups for rule in group["rules"]]
                assert all(rule["health"] != "err" for rule in rules), rules
                return rules and all(rule["health"] == "ok" for rule in rules)

            wait_for("the rules to be evaluated", evaluated)
            for name in ("trochee:received_bytes:rate5m", "trochee:lag_seconds:p99_5m"):
                recorded = f"/api/v1/query?query={name}"
                wait_for("a recorded rate", lambda: (ask(base, recorded) or {}).get("result"))


@pytest.mark.only_on("epoll", "13-epoll")
def test_the_shell_shows_them(make_server):
    """With statistics = "internal" and nothing else."""
    with make_server(statistics="internal", statistics_interval=1) as server:
        wait_for("a number", lambda: re.search(r"trochee\S*accepted\S*\s+[^\n]*[1-9]", server.shell("stats", "show", "trochee")))
