"""Go on after a decoder that crashed or hangs.

What such a decoder ends is the whole program, so commands that decode run in a child, and are run again when that is
lost. The next child finds in a file beside the collection what was being decoded (:mod:`hashae.indexer.in_flight`), and
decodes exactly that in a process of its own, where it costs nothing but itself. Nothing is slower for it.

On Linux only: elsewhere the child could outlive a killed parent.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from types import FrameType

import click

COMMANDS = {"index", "dedup", "watch"}

CRASHES = {signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT}
"""Signals that a faulty decoder dies of; `SIGABRT` also ends a child in which one hangs."""

STATUSES = {0, 1, 2, 130}
"""What a command of ours ends with; any other number is that of a decoder that took the program with it."""

PATIENT = 3
"""Crashes after which every picture is decoded in a process of its own: there is more than one bad one."""

MOST = 10
"""Crashes after which it is no picture's fault."""

_PASSED_ON = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
_BY_A_PROGRAM = 0
"""Value of ``si_code`` for a signal that a program sent; what a terminal sends reaches the child by itself."""
_PR_SET_PDEATHSIG = 1


def stand_by() -> None:
    """Return at once where there is nothing to guard, and in each child; the parent waits, and never returns."""
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    if sys.platform != "linux" or not words or words[0] not in COMMANDS or {"-h", "--help"} & set(sys.argv):
        return
    from hashae.indexer.in_flight import GUARDED, ISOLATING

    if GUARDED in os.environ:  # a command within a command
        return
    for crashes in range(MOST):
        code = _run()
        if code is None:
            os.environ[GUARDED] = ISOLATING if crashes >= PATIENT else "1"
            return
        if code in STATUSES:
            sys.exit(code)
        name = signal.Signals(-code).name if code < 0 else f"status {code}"
        if code < 0 and -code not in CRASHES:
            click.echo(f"hashae: ended by {name}; what was stored is safe, run the command again to go on", err=True)
            sys.exit(128 - code)
        how = "every picture is decoded" if crashes + 1 >= PATIENT else "what was being decoded is looked at"
        told = f"hashae: a decoder crashed or did not come to an end ({name}); {how} apart, and the run goes on"
        click.echo(told, err=True)
    click.echo(f"hashae: crashed {MOST} times; what was stored is safe, run: hashae verify", err=True)
    sys.exit(1)


def _run() -> int | None:
    """Start a child and wait for it; return None in the child, else its exit status, negative for a signal."""
    watched = {*_PASSED_ON, signal.SIGCHLD}
    # A handler, for what has none is thrown away while nobody waits for it.
    before = signal.signal(signal.SIGCHLD, _nothing)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    sys.stdout.flush()
    sys.stderr.flush()
    parent, child = os.getpid(), os.fork()
    if child == 0:
        _die_with(parent)
        signal.signal(signal.SIGCHLD, before)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        return None
    while True:
        told = signal.sigwaitinfo(watched)
        if told.si_signo == signal.SIGCHLD:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                signal.signal(signal.SIGCHLD, before)
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
                return os.waitstatus_to_exitcode(status)
        elif told.si_code == _BY_A_PROGRAM:
            with suppress(ProcessLookupError):
                os.kill(child, told.si_signo)


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """Take a signal that is waited for elsewhere."""


def _die_with(parent: int) -> None:
    """Let the system kill this process when its parent is gone: kill -9 of the command must end the work."""
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it went before we asked
        os._exit(1)
