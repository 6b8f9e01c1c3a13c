"""Counters in the text format of Prometheus."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from time import perf_counter
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the time of a request, in seconds."""


@dataclass
class Counts:
    """What was counted.

    Attributes
    ----------
    requests
        By method, route and status.
    buckets
        Requests that took no longer than a bound, by route and bound.
    seconds
        In all, by route.
    """

    requests: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    buckets: Counter[tuple[str, float]] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=dict)

    def add(self, other: Counts) -> None:
        """Add what another process has counted."""
        self.requests.update(other.requests)
        self.buckets.update(other.buckets)
        for route, seconds in other.seconds.items():
            self.seconds[route] = self.seconds.get(route, 0.0) + seconds

    def to_json(self) -> str:
        """Return all numbers as text."""
        listed: dict[str, Any] = {
            "requests": [[*key, value] for key, value in self.requests.items()],
            "buckets": [[*key, value] for key, value in self.buckets.items()],
            "seconds": self.seconds,
        }
        return json.dumps(listed)

    @classmethod
    def from_json(cls, text: str) -> Counts:
        """Return the numbers of a text."""
        found = json.loads(text)
        return cls(
            Counter({(method, route, status): value for method, route, status, value in found["requests"]}),
            Counter({(route, bound): value for route, bound, value in found["buckets"]}),
            found["seconds"],
        )


class Metrics:
    """Counts requests by route, and their time."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts = Counts()

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request.

        Parameters
        ----------
        method
            Of HTTP.
        route
            Its pattern, not its path: there are few of them.
        status
            Of the answer.
        seconds
            That it took.
        """
        with self._lock:
            self._counts.requests[method, route, status] += 1
            self._counts.seconds[route] = self._counts.seconds.get(route, 0.0) + seconds
            for bound in BUCKETS:
                if seconds <= bound:
                    self._counts.buckets[route, bound] += 1

    def text(self, gauges: Mapping[str, tuple[str, Mapping[str, float]]]) -> str:
        """Return all numbers.

        Parameters
        ----------
        gauges
            Of this moment: name -> (meaning, value of each collection); a single collection has no name.
        """
        return "\n".join([*_gauge_lines(gauges), *_count_lines(self.total())]) + "\n"

    def total(self) -> Counts:
        """Return what this server has counted so far."""
        total = Counts()
        with self._lock:
            total.add(self._counts)
        return total

    def keep(self) -> None:
        """Let other processes of this server know what was counted here; called every second."""

    def close(self) -> None:
        """Leave what was counted here to other processes of this server."""


def _gauge_lines(gauges: Mapping[str, tuple[str, Mapping[str, float]]]) -> Iterable[str]:
    for name, (meaning, values) in gauges.items():
        yield f"# HELP {name} {meaning}"
        yield f"# TYPE {name} gauge"
        for collection, value in values.items():
            label = f'{{collection="{_escaped(collection)}"}}' if collection else ""
            yield f"{name}{label} {value:.15g}"


def _count_lines(counts: Counts) -> Iterable[str]:
    yield "# HELP hashae_requests_total Requests answered."
    yield "# TYPE hashae_requests_total counter"
    answered: Counter[str] = Counter()
    for (method, route, status), count in sorted(counts.requests.items()):
        answered[route] += count
        labels = f'method="{_escaped(method)}",route="{_escaped(route)}",status="{status}"'
        yield f"hashae_requests_total{{{labels}}} {count}"
    yield "# HELP hashae_request_seconds Time of a request."
    yield "# TYPE hashae_request_seconds histogram"
    for route, count in sorted(answered.items()):
        label = f'route="{_escaped(route)}"'
        for bound in BUCKETS:
            yield f'hashae_request_seconds_bucket{{{label},le="{bound:g}"}} {counts.buckets[route, bound]}'
        yield f'hashae_request_seconds_bucket{{{label},le="+Inf"}} {count}'
        yield f"hashae_request_seconds_sum{{{label}}} {counts.seconds.get(route, 0.0):.6f}"
        yield f"hashae_request_seconds_count{{{label}}} {count}"


class Measured:
    """ASGI middleware that counts and times every request; it adds next to nothing to them.

    Parameters
    ----------
    app
        What answers.
    metrics
        Where to count.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = perf_counter(), 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.count(scope["method"], route, status, perf_counter() - start)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
