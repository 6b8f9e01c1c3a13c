"""Read, decode and encode pictures by the processes of a cluster: two stages of Ray Data.

Tasks read and decode blocks of files; actors that hold the encoder turn their thumbs into codes; the blocks come back
order. What is done with them is decided by :class:`hashae.indexer.ingest.Ingest`, which alone writes to the file.

A picture that crashes its decoder takes a process with it, and would do so again wherever its block is tried next. So
every block is announced before it is begun: one that was begun before is decoded in processes that may be lost.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from hashae.encoder import Encoded, Encoder
from hashae.errors import HashaeError, ImageError, MissingDependency, SourceError
from hashae.images.ahead import reading_ahead
from hashae.images.canonical import CanonicalForm
from hashae.images.decode import NO_SUCH_FILE, decode, large_images_allowed, read_bytes
from hashae.images.isolated import IsolatedDecoder
from hashae.indexer.cluster.blocks import part_of, table_back, table_of
from hashae.indexer.cluster.session import TRIES, Cluster, lost_too_often
from hashae.indexer.remote import Outcome, Wanted, lies_in_the_content
from hashae.indexer.there import holds_anything
from hashae.object_store import is_address

PART = 64
"""Files whose thumbs are encoded in one call, as one process does it."""
BLOCK = 8 * PART
"""Most files of one block: some hundred milliseconds of work, and two megabytes of thumbs."""
PARTS = 4
"""Blocks for each core, if there are so few files that blocks would be too few."""
SAME_FOLDER = "expected the same folder on every node: a network drive, mounted at one place"
NOT_THERE = "no such file on node "
"""Begins the reason of a file of which the node that was to read it sees nothing, nor of its neighbours."""
DECODING, ENCODING = 0.75, 0.25
"""Cores that a task and an actor are counted as. Both have to find room on one core: more may not be left of a cluster,
and Ray would wait for ever. On two cores two tasks and an actor do."""


class ClusterReader:
    """Reads files on a cluster; give it to :class:`hashae.indexer.ingest.Ingest`.

    Parameters
    ----------
    cluster
        Does the work.
    encoder
        Its bytes are sent to the cluster once.
    isolate
        Decode every file in a process that may be lost.
    """

    def __init__(self, cluster: Cluster, encoder: Encoder, *, isolate: bool = False) -> None:
        self._cluster, self._form, self._isolate = cluster, encoder.form, isolate
        self._weights = cluster.share(encoder.data)

    def read(self, folder: str, files: Sequence[Wanted]) -> Iterator[tuple[list[Outcome], Encoded | None]]:
        """Yield what became of the files, `PART` at a time, in their order; codes are those of the decoded ones.

        Parameters
        ----------
        folder
            That they lie in; a node where it is missing cannot help.
        files
            Any number.

        Raises
        ------
        SourceError
            If a node of the cluster does not see the folder.
        HashaeError
            If the processes of one block were lost too often.
        """
        import pyarrow
        import ray.data

        if not files:
            return
        size = max(PART, min(BLOCK, len(files) // (PARTS * self._cluster.cores) // PART * PART))
        tables = [
            table_of(start // size, files[start : start + size], isolate=self._isolate)
            for start in range(0, len(files), size)
        ]
        attempts = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Attempts).remote()
        settings = {"folder": folder, "form": self._form, "attempts": attempts}
        most = max(1, self._cluster.cores // 2)
        task: Any = read_block
        with _quiet_and_in_order(ray.data.DataContext.get_current()), _told_plainly(attempts):
            blocks = (
                ray.data.from_arrow(tables)
                .map_batches(
                    task, fn_kwargs=settings, batch_size=None, batch_format="pyarrow", zero_copy_batch=True,
                    num_cpus=DECODING,
                )
                .map_batches(
                    EncodeBlock, fn_constructor_args=[self._weights], batch_size=None, batch_format="pyarrow",
                    zero_copy_batch=True, num_cpus=ENCODING,
                    compute=ray.data.ActorPoolStrategy(min_size=1, max_size=most),
                )
            )  # fmt: skip
            waiting, coming = list[Any](), iter(files)
            for block in blocks.iter_batches(batch_size=None, batch_format="pyarrow"):
                waiting.append(block)
                while sum(map(len, waiting)) >= PART:
                    whole = pyarrow.concat_tables(waiting)
                    yield _checked(*part_of(whole.slice(0, PART)), coming)
                    waiting = [whole.slice(PART)]
            if sum(map(len, waiting)):
                yield _checked(*part_of(pyarrow.concat_tables(waiting)), coming)


class Attempts:
    """Counts how often each block was begun; lives in a process of its own."""

    def __init__(self) -> None:
        self._begun: dict[int, int] = {}
        self._refused: HashaeError | None = None

    def begin(self, block: int) -> int:
        """Note that a block is begun, and return how often it was before."""
        before = self._begun.get(block, 0)
        self._begun[block] = before + 1
        return before

    def refuse(self, error: HashaeError) -> None:
        """Keep the reason for which a process gives up: what Ray makes of an error on its way is text."""
        self._refused = error

    def refused(self) -> HashaeError | None:
        """Return that reason, if there is one."""
        return self._refused


def read_block(table: Any, *, folder: str, form: CanonicalForm, attempts: Any) -> Any:
    """Read and decode the files of a block.

    Raises
    ------
    SourceError
        If the folder is not there.
    HashaeError
        If the processes of this block were lost too often.
    """
    import ray

    if not is_address(folder) and not os.path.isdir(folder):
        raise _refused(
            attempts,
            SourceError,
            f"{folder} is not there on node {_address()} of the cluster; {SAME_FOLDER}",
        )
    before = ray.get(attempts.begin.remote(table["block"][0].as_py())) if len(table) else 0
    if before > TRIES:  # Ray itself would try for ever
        raise _refused(attempts, HashaeError, lost_too_often(f"files from {os.fsdecode(table['path'][0].as_py())} on"))
    again = before > 0
    rows: list[tuple[Outcome, bytes | None]] = []
    with ExitStack() as stack:
        stack.enter_context(large_images_allowed())
        apart: list[IsolatedDecoder] = []
        paths = [os.fsdecode(path) for path in table["path"].to_pylist()]
        fetch = stack.enter_context(reading_ahead(paths))
        for path, known, alone in zip(paths, *(table[name].to_pylist() for name in ("known", "alone")), strict=True):
            if (alone or again) and not apart:
                apart.append(IsolatedDecoder())
                stack.callback(apart[0].close)
            try:
                outcome, thumb = look(path, known, form, apart[0] if alone or again else None, fetch)
            except (SourceError, MissingDependency) as error:  # of a store, not of one file in it
                raise _refused(attempts, SourceError, f"node {_address()} of the cluster: {error}") from error
            if outcome.reason == NO_SUCH_FILE and not holds_anything(os.path.dirname(path)):
                outcome = replace(outcome, reason=f"{NOT_THERE}{_address()}")
            rows.append((outcome, thumb))
    return table_back(rows)


def _address() -> str:
    import ray.util

    return str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]


def _refused(attempts: Any, kind: type[HashaeError], message: str) -> HashaeError:
    """Return an error to raise that reaches the user as it is."""
    import ray

    error = kind(message)
    ray.get(attempts.refuse.remote(error))
    return error


def look(
    path: str,
    known: bytes | None,
    form: CanonicalForm,
    apart: IsolatedDecoder | None,
    fetch: Callable[[str], bytes] = read_bytes,
) -> tuple[Outcome, bytes | None]:
    """Read a file, and decode it if its content is not the known one; return its thumb if it was decoded.

    Parameters
    ----------
    path
        Of the file.
    known
        Hash of the content that has a code already.
    form
        Of the encoder.
    apart
        Decodes in another process; None does it here.
    fetch
        Reads a file, where it is not done in another process.
    """
    try:
        if apart is None:
            data = fetch(path)
            content = hashlib.sha256(data).digest()[:16]
        else:
            content = apart.read(path)[:16]
        if content == known:
            return Outcome(content), None
        if apart is None:
            image = decode(data, path, side=form.thumb, channels=form.channels)
        else:
            image = apart.decode(path, side=form.thumb, channels=form.channels)
    except ImageError as error:
        return Outcome(b"", reason=error.reason, lasts=lies_in_the_content(error)), None
    return Outcome(content, (image.width, image.height, image.format)), image.thumb.tobytes()


class EncodeBlock:
    """Turns the thumbs of blocks into codes; lives in a process of its own and holds the encoder.

    Parameters
    ----------
    weights
        Reference to the bytes of the encoder.
    """

    def __init__(self, weights: Any) -> None:
        import ray

        self._encoder = Encoder(ray.get(weights), threads=1, origin="the encoder of the collection")

    def __call__(self, table: Any) -> Any:
        """Return the block with codes, confidence and detail in place of the thumbs."""
        import pyarrow

        form, found = self._encoder.form, [list[Any](), list[Any](), list[Any]()]
        for start in range(0, len(table), PART):
            thumbs = table["thumb"].slice(start, PART).to_pylist()
            data = b"".join(thumb for thumb in thumbs if thumb is not None)
            if not data:
                rows: Iterator[tuple[Any, ...]] = iter(())
            else:
                shape = (-1, form.channels, form.thumb, form.thumb)
                encoded = self._encoder.encode_thumbs(np.frombuffer(data, np.uint8).reshape(shape))
                codes = [code.tobytes() for code in encoded.codes]
                rows = zip(codes, encoded.confidence.tolist(), encoded.detail.tolist(), strict=True)
            for thumb in thumbs:
                for column, value in zip(found, (None,) * 3 if thumb is None else next(rows), strict=True):
                    column.append(value)
        table = table.drop_columns(["thumb"])
        kinds = {"code": pyarrow.binary(), "confidence": pyarrow.float32(), "detail": pyarrow.float32()}
        for (name, kind), column in zip(kinds.items(), found, strict=True):
            table = table.append_column(name, pyarrow.array(column, kind))
        return table


def _checked(
    outcomes: list[Outcome], codes: Encoded | None, files: Iterator[Wanted]
) -> tuple[list[Outcome], Encoded | None]:
    """Tell a file that is gone by now from one that only the node does not see: its drive is not mounted there.

    Raises
    ------
    SourceError
        If there is one of these: what such a node says of files is worth nothing.
    """
    for at, (outcome, file) in enumerate(zip(outcomes, files, strict=False)):
        if outcome.reason is not None and outcome.reason.startswith(NOT_THERE):
            if os.path.lexists(file.path):
                raise SourceError(
                    f"{file.path} is there on this machine, but its folder is empty or missing on node "
                    f"{outcome.reason.removeprefix(NOT_THERE)} of the cluster; {SAME_FOLDER}"
                )
            outcomes[at] = replace(outcome, reason=NO_SUCH_FILE)
    return outcomes, codes


@contextmanager
def _quiet_and_in_order(context: Any) -> Iterator[None]:
    """Let Ray Data return blocks in the order of the files, and draw no progress of its own."""
    before = context.execution_options.preserve_order, context.enable_progress_bars
    loggers = [(logger, logger.level) for logger in map(logging.getLogger, ("ray.data", "ray"))]
    context.execution_options.preserve_order, context.enable_progress_bars = True, False
    context.print_on_execution_start = False
    for logger, _ in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        context.execution_options.preserve_order, context.enable_progress_bars = before
        for logger, level in loggers:
            logger.setLevel(level)


@contextmanager
def _told_plainly(attempts: Any) -> Iterator[None]:
    """Turn what Ray raises into what was raised there, or into a sentence."""
    import ray
    import ray.exceptions

    try:
        yield
    except ray.exceptions.RayError as error:
        refused = ray.get(attempts.refused.remote())
        text = " ".join(str(error).split())[-600:]
        raise refused or HashaeError(
            f"reading on the cluster ended: {text}; what is stored is not done twice: run the same command again"
        ) from error
