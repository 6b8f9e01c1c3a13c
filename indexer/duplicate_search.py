"""Search a collection for duplicates: from its codes to a report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hashae.indexer.approximate import Recall
from hashae.indexer.decisions import Rulings
from hashae.indexer.duplicates import group_codes, report_groups
from hashae.indexer.featureless import group_featureless
from hashae.indexer.judged import judge_groups
from hashae.indexer.keep_rules import KeepPolicy
from hashae.indexer.parts import Parts
from hashae.indexer.pixels import hash_pixels, metadata_reader
from hashae.indexer.report import DedupReport
from hashae.indexer.sources import absolute_path, is_below
from hashae.indexer.summary import Progress

if TYPE_CHECKING:
    from hashae.indexer.cluster import Cluster


def search_duplicates(
    parts: Parts,
    rulings: Rulings,
    *,
    folder: str | Path | None,
    radius: int | None,
    linkage: str,
    method: str,
    policy: KeepPolicy | None,
    when: str,
    on_progress: Callable[[Progress], None] | None,
    cluster: Cluster | None = None,
) -> DedupReport:
    """Find groups of images that show the same picture; see :meth:`hashae.indexer.collection.Collection.dedup`.

    Parameters
    ----------
    parts
        Of the collection.
    rulings
        What a person said of its pictures.
    folder, radius, linkage, method, policy, on_progress, cluster
        As of the method.
    when
        Written into the report.
    """
    id_, encoder, table = parts.table()
    whole, bad = table.index, parts.catalogue.failures()
    chosen = np.ones(len(whole), np.bool_)
    if folder is not None:
        chosen = np.isin(whole.ids, parts.sources.inside(folder))
        bad = [failure for failure in bad if is_below(failure.path, absolute_path(folder))]
    plain = chosen & np.isin(whole.ids, parts.featureless(id_))
    seen = chosen & ~plain
    rule = parts.rule(id_, encoder, len(whole), radius)
    crowding = None if rule.tau is None else parts.tables.crowding(table, on_progress)[seen]
    find = partial(group_codes, rule=rule, linkage=linkage, cluster=cluster)
    measured: list[Recall] = []
    groups, used = find(
        table.part(seen),
        crowding=crowding,
        method=method,
        on_progress=None if on_progress is None else lambda *step: on_progress(Progress(*step)),
        on_recall=measured.append,
    )
    hashing = partial(hash_pixels, threads=parts.threads, on_progress=on_progress)
    groups += group_featureless(whole.ids[plain], whole, parts.catalogue, hashing)
    policy = replace(policy or KeepPolicy(), kept=rulings.kept, metadata=metadata_reader())
    judged = judge_groups(
        groups,
        table.part(seen),
        crowding,
        catalogue=parts.catalogue,
        rulings=rulings,
        rule=rule,
        find=lambda index, own: find(index, crowding=own),
    )
    report = DedupReport(
        collection=str(parts.database.path),
        folder=None if folder is None else absolute_path(folder),
        encoder=encoder.name,
        bits=encoder.bits,
        radius=used,
        own_radius=rule.tau is not None,
        images=int(chosen.sum()),
        created=when,
        groups=report_groups(judged.groups, whole, parts.catalogue, hashing, policy),
        failures=tuple(bad),
        calibration=rule.calibration,
        keep_rules=policy.rules,
        linkage=linkage,
        approximate=bool(measured),
        recall=measured[0].recall if measured else None,
        ignored=judged.ignored,
        separated=judged.separated,
        featureless=tuple(sorted(row.path for row in parts.catalogue.rows(whole.ids[plain].tolist()).values())),
    )
    facts = parts.facts.of(id_, (image.id for group in report.groups for image in group.images))
    return report.with_confidence({id_: fact.confidence for id_, fact in facts.items()})
