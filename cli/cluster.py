"""``--ray``: the cluster of one command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashae.indexer.cluster import Cluster


@contextmanager
def opened_cluster(address: str | None, *, workers: int, quiet: bool) -> Iterator[Cluster | None]:
    """Connect to a cluster for as long as the block runs; None without an address.

    Raises
    ------
    MissingDependency
        If the extra ``ray`` is not installed.
    ConfigError
        If no cluster answers there.
    """
    if address is None:
        yield None
        return
    from hashae.cli.output import say
    from hashae.indexer.cluster import Cluster

    with Cluster(address, workers=workers) as cluster:
        if not quiet:
            say(f"Ray cluster at {address}: {cluster.cores} cores")
        yield cluster


def hint_at_one_process(cluster: Cluster | None, images: int, *, quiet: bool) -> None:
    """Say so if one process would be faster."""
    if cluster is None or quiet:
        return
    from hashae.cli.output import say
    from hashae.indexer.cluster.join import advice

    text = advice(images)
    if text is not None:
        say(text)
