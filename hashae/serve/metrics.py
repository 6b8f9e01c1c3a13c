"""Counters in the text format of Prometheus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from threading import Lock
from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the time of a request, in seconds."""


class Metrics:
    """Counts requests by route, and their time."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._buckets: Counter[tuple[str, float]] = Counter()
        self._seconds: Counter[str] = Counter()
        self._count: Counter[str] = Counter()

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
            self._requests[method, route, status] += 1
            self._seconds[route] += seconds  # type: ignore[assignment]  # a Counter of floats
            self._count[route] += 1
            for bound in BUCKETS:
                if seconds <= bound:
                    self._buckets[route, bound] += 1

    def text(self, gauges: Mapping[str, tuple[str, Mapping[str, float]]]) -> str:
        """Return all numbers.

        Parameters
        ----------
        gauges
            Of this moment: name -> (meaning, value of each collection); a single collection has no name.
        """
        lines: list[str] = []
        for name, (meaning, values) in gauges.items():
            lines += [f"# HELP {name} {meaning}", f"# TYPE {name} gauge"]
            for collection, value in values.items():
                label = f'{{collection="{_escaped(collection)}"}}' if collection else ""
                lines.append(f"{name}{label} {value:.15g}")
        with self._lock:
            lines += ["# HELP hashae_requests_total Requests answered.", "# TYPE hashae_requests_total counter"]
            for (method, route, status), count in sorted(self._requests.items()):
                labels = f'method="{_escaped(method)}",route="{_escaped(route)}",status="{status}"'
                lines.append(f"hashae_requests_total{{{labels}}} {count}")
            lines += ["# HELP hashae_request_seconds Time of a request.", "# TYPE hashae_request_seconds histogram"]
            for route, count in sorted(self._count.items()):
                label = f'route="{_escaped(route)}"'
                for bound in BUCKETS:
                    lines.append(
                        f'hashae_request_seconds_bucket{{{label},le="{bound:g}"}} {self._buckets[route, bound]}'
                    )
                lines.append(f'hashae_request_seconds_bucket{{{label},le="+Inf"}} {count}')
                lines.append(f"hashae_request_seconds_sum{{{label}}} {self._seconds[route]:.6f}")
                lines.append(f"hashae_request_seconds_count{{{label}}} {count}")
        return "\n".join(lines) + "\n"


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
