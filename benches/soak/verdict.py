"""Whether it is flat, and whether the honest client was served: by numbers."""

import math
from dataclasses import dataclass

LIMIT_MS = 100  # 99 of 100 pings in every phase are answered by then
RESTART_LIMIT = 15  # seconds without service

# What is not growth, for 10,000 strangers. A byte that each of them left would be 10,000.
NOISE = {"resident": 64 * 1024, "lua": 16 * 1024, "descriptors": 0.5, "sessions": 0.5}
# Growth that a run must be able to tell: where two standard errors are more than this, it tells nothing.
TELLS = {"resident": 1024 * 1024, "lua": 256 * 1024, "descriptors": 2, "sessions": 2}

PER = 10_000


@dataclass(frozen=True)
class Growth:
    """Of something, for 10,000 strangers, with its standard error."""

    what: str
    slope: float
    error: float

    @property
    def flat(self):
        return self.slope <= NOISE[self.what] + 2 * self.error

    @property
    def telling(self):
        return 2 * self.error <= TELLS[self.what]


@dataclass(frozen=True)
class Delays:
    """Of the honest client in a phase, in milliseconds."""

    phase: str
    pings: int
    p50: float
    p99: float
    longest: float
    logins: int
    login_p50: float
    login_longest: float
    failed_logins: int

    @property
    def kept(self):
        return self.pings > 0 and self.p99 < LIMIT_MS


@dataclass(frozen=True)
class Judged:
    growths: list
    delays: list
    complaints: list  # sentences

    @property
    def kept(self):
        return not self.complaints


def warm_up(cycles):
    """How many cycles do not count."""
    return max(1, cycles // 4)


def growth(results, what):
    """The slope of what was left after each cycle, over the strangers that had come."""
    left = results["left"][warm_up(results["facts"]["cycles"]):]
    strangers, values = [each["strangers"] for each in left], [each[what] for each in left]
    count = len(left)
    if count < 3:
        return Growth(what, 0, math.inf)
    x, y = sum(strangers) / count, sum(values) / count
    spread = sum((a - x) ** 2 for a in strangers)
    slope = sum((a - x) * (b - y) for a, b in zip(strangers, values)) / spread
    rest = sum((b - y - slope * (a - x)) ** 2 for a, b in zip(strangers, values))
    return Growth(what, slope * PER, math.sqrt(rest / (count - 2) / spread) * PER)


def quantile(values, part):
    return sorted(values)[min(int(len(values) * part), len(values) - 1)] if values else math.nan


def delays(results, phase):
    spans = [(done["begun"], done["ended"]) for done in results["phases"] if done["phase"] == phase]

    def during(what):
        return [value for kind, when, value in results["honest"] if kind == what and any(a <= when <= b for a, b in spans)]
    pings, logins = during("ping"), during("login")
    return Delays(phase, len(pings), quantile(pings, 0.5), quantile(pings, 0.99), max(pings, default=math.nan), len(logins),
                  quantile(logins, 0.5), max(logins, default=math.nan), len(during("failed")))


def complaints(results, growths, all_delays):
    names = {"resident": "resident memory", "lua": "Lua's memory", "descriptors": "descriptors", "sessions": "Prosody's sessions"}
    for g in growths:
        if not g.telling:
            yield f"{names[g.what]}: too few or too different figures to tell growth"
        elif not g.flat:
            yield f"{names[g.what]} grew by {g.slope:,.1f} ± {2 * g.error:,.1f} for {PER} strangers"
    for d in all_delays:
        if not d.kept:
            yield f"{d.phase}: 99 of 100 pings of the honest client were answered in {d.p99:.0f} ms, of {LIMIT_MS}"
    ended = results["restarts"][0]["begun"] if results["restarts"] else results["ended"]
    lost = [why for what, when, why in results["honest"] if what == "lost" and when < ended]
    if lost:
        yield f"the honest client lost its connection {len(lost)} times: {lost[0]}"
    for done in results["phases"]:
        if "failed" in done:
            yield f"{done['phase']}: {done['failed']}"
        if done["stuck"]:
            yield f"{done['phase']}: {done['stuck']} strangers got no answer"
    for number, restart in enumerate(results["restarts"], 1):
        if restart["took"] > RESTART_LIMIT:
            yield f"restart {number}: no service for {restart['took']:.1f} s"
    for line in results["errors"][:5]:
        yield f"in the log: {line}"


def judge(results):
    growths = [growth(results, what) for what in NOISE]
    phases = dict.fromkeys(done["phase"] for done in results["phases"])
    all_delays = [delays(results, phase) for phase in phases]
    return Judged(growths, all_delays, list(complaints(results, growths, all_delays)))
