"""The simulation of large collections: what must come out where the answer is known."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def simulation():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        spec = importlib.util.spec_from_file_location("scale_simulation", BENCHMARKS / "scale_simulation.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules["scale_simulation"] = module
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(BENCHMARKS))
        sys.modules.pop("scale_simulation", None)


def constant(value):
    return {"median": value, "mean": value, "values": [value]}


@pytest.fixture
def rates():
    shared = {"16": 2.0**-14, "64": 2.0**-30}
    known = dict.fromkeys("write read_codes share_byte pack_row forest_row merge group task start".split(), 0.0)
    return (
        known
        | {name: constant(1e-3) for name in ("decode_small", "encode", "table_row", "pair")}
        | {"shared_bits": shared}
    )


def test_without_chance_the_time_is_the_work_by_the_cores(simulation, rates):
    calm = simulation.Cluster(2, 4, straggle=0.0, lost_after=1e12)
    images = 512 * 80
    found = simulation.index(rates, images, "small", calm, 0)
    assert found["seconds"] == pytest.approx(images * 2e-3 / 8)
    assert found["readers"] == pytest.approx(found["seconds"])
    slow = rates | {"write": 1.0}
    assert simulation.index(slow, images, "small", calm, 0)["seconds"] == pytest.approx(images, rel=1e-3)


def test_stragglers_and_losses_cost_time_and_nothing_is_left_undone(simulation, rates):
    images, seconds = 512 * 400, []
    for straggle, lost in ((0.0, 1e12), (0.2, 1e12), (0.0, 0.01)):
        cluster = simulation.Cluster(2, 4, straggle=straggle, lost_after=lost, back=30.0)
        found = simulation.index(rates, images, "small", cluster, 1)
        seconds.append(found["seconds"])
        assert (found["lost"] > 0) == (lost < 1)
        assert found["readers"] >= images * 2e-3 / 8 - 1e-6
    assert seconds[1] > 1.3 * seconds[0]
    assert seconds[2] > 1.1 * seconds[0]


def test_a_seed_gives_one_answer(simulation, rates):
    cluster = simulation.Cluster(2, 4, lost_after=0.05)
    runs = [simulation.index(rates, 512 * 50, "small", cluster, seed) for seed in (3, 3, 4)]
    assert runs[0] == runs[1] != runs[2]


def test_tables_cost_their_rows_and_pairs(simulation, rates):
    calm = simulation.Cluster(1, 1, straggle=0.0, lost_after=1e12)
    stages = simulation.dedup(rates, 100_000, 3, calm, 0, (4, 5e6))
    assert stages["tables"] == pytest.approx(4 * 100_000 * 1e-3 + 5e6 * 1e-3)
    assert simulation.shared(rates, 40) == pytest.approx(2.0**-22)


def test_the_rates_that_are_kept_are_whole(simulation):
    rates = json.loads((BENCHMARKS / "scale_rates.json").read_text("utf-8"))
    for images in (10**6, 10**7):
        cluster = simulation.Cluster(2, 8)
        assert simulation.index(rates, images // 100, "large", cluster, 0)["seconds"] > 0
        assert all(np.isfinite(list(simulation.dedup(rates, images, 8, cluster, 0).values())))
        assert min(simulation.sizes_of(rates, images, "large").values()) > 0
