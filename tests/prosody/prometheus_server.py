"""Debian's Prometheus, and what trochee brings for it."""

import contextlib
import json
import subprocess
import urllib.request

from prosody_server import ROOT, reserve_port

RULES = ROOT / "packaging" / "prometheus" / "trochee.rules.yml"
DASHBOARD = ROOT / "packaging" / "grafana" / "trochee.json"


def fetch(url):
    with urllib.request.urlopen(url, timeout=10) as response:
        return response.read().decode()


@contextlib.contextmanager
def prometheus(folder, target):
    """Debian's Prometheus, with the rules that trochee brings; the address of its HTTP interface."""
    config = folder / "prometheus.yml"
    config.write_text(
        json.dumps({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES)],
            "scrape_configs": [{"job_name": "prosody", "static_configs": [{"targets": [target]}]}],
        })
    )
    port = reserve_port()
    # Its listener does not share a port that is reserved; nobody else is given this one so soon.
    with open(folder / "prometheus.log", "w") as log:
        process = subprocess.Popen(
            [
                "prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log, stderr=subprocess.STDOUT,
        )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def ask(base, path):
    with contextlib.suppress(OSError):
        return json.loads(fetch(base + path))["data"]
