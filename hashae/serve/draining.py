"""How a worker leaves: it takes no new connection, answers what is under way, and hangs up on nobody who is asking.

Uvicorn closes idle connections the moment a worker is told to stop. A browser or a proxy that keeps its connection may
be sending a question just then, and would get no answer. Here such a connection has a moment more: what comes in it is
answered with ``Connection: close``, and the next question goes to another worker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

GRACE = 1.0
"""Seconds that an idle connection stays open."""

CLOSE = (b"connection", b"close")


class _Drains:
    """What is different from the protocol of uvicorn, whichever parser that has."""

    if TYPE_CHECKING:
        cycle: Any
        loop: Any
        server_state: Any
        transport: Any

    def connection_made(self, transport: Any) -> None:
        """Take a connection; one that had been accepted when the worker was told to stop has its moment, too."""
        super().connection_made(transport)  # type: ignore[misc]  # of the protocol
        if CLOSE in self.server_state.default_headers:
            self.loop.call_later(GRACE, self._hang_up)

    def shutdown(self) -> None:
        """Answer what is under way, and what comes in a moment; called for each connection when a worker is to stop."""
        if CLOSE not in self.server_state.default_headers:
            self.server_state.default_headers = [*self.server_state.default_headers, CLOSE]
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(GRACE, self._hang_up)
        else:
            super().shutdown()  # type: ignore[misc]  # of the protocol

    def _hang_up(self) -> None:
        if not self.transport.is_closing():
            super().shutdown()  # type: ignore[misc]  # of the protocol


Draining = type(
    "Draining", (_Drains, AutoHTTPProtocol), {"__doc__": "The protocol of a worker.", "__module__": __name__}
)
