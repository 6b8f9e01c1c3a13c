"""Work spread over the processes of a Ray cluster, on this machine or on many; needs the extra ``ray``.

The same answers as one process, in more places at once: :mod:`hashae.indexer.cluster.join` for duplicates,
:mod:`hashae.indexer.cluster.reading` for indexing. What a lost process or machine was doing is done again elsewhere.
Nothing here is imported, and Ray is not, unless somebody asks for it.
"""

from __future__ import annotations

from hashae.indexer.cluster.session import Cluster

__all__ = ["Cluster"]
