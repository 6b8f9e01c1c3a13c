"""Search in the tables: bands of SQLite, of PostgreSQL, the index in memory and brute force answer alike; no scans."""

import numpy as np
import pytest
from sqlalchemy import insert, select, update

from hashae.codes import keys
from hashae.db import open_database
from hashae.db.band_triggers import BANDS, SLOTS
from hashae.db.schema import band_masks, codes, collections, encoders, images, pending_bands, sources
from hashae.errors import CollectionError
from hashae.indexer import file_search, stored_bands
from hashae.indexer.band_rows import ENOUGH, masks_by, share, write_rows
from hashae.indexer.file_search import FileSearch
from hashae.indexer.index import HashIndex
from hashae.indexer.lookups import BY_KEYS, EXACT, LISTED, find_code, find_codes, key_of
from hashae.indexer.stored_bands import StoredBands, flips_within, probing, slot_plan, slots_of

WIDTHS = (8, 24, 64, 72, 256)
IMAGE = {"size": 1, "mtime_ns": 1, "content": b"c", "width": 1, "height": 1, "format": "PNG"}


@pytest.fixture
def database(place):
    opened = open_database(place)
    with opened.write() as connection:
        connection.execute(insert(collections).values(name="c", created="now"))
        connection.execute(insert(sources).values(collection=1, path="/p"))
    yield opened
    opened.close()


def add_encoder(connection, number, bits):
    values = {"name": "e", "bits": bits, "fingerprint": str(number), "info": "{}", "added": "now", "weights": b""}
    connection.execute(insert(encoders).values(id=number, collection=1, **values))


def add_images(connection, count, missing=()):
    rows = [
        {"id": id_, "source": 1, "path": str(id_), "missing": id_ in missing, **IMAGE} for id_ in range(1, count + 1)
    ]
    connection.execute(insert(images), rows)


def add_codes(connection, encoder, ids, values):
    rows = zip(ids, keys(values).tolist(), values, strict=True)
    made = [{"encoder": encoder, "image": id_, "key": key, "code": code.tobytes()} for id_, key, code in rows]
    if made:
        connection.execute(insert(codes), [row | {"confidence": 1} for row in made])


def some_codes(rng, bits, count=400):
    """Random codes, copies of them, and others a few bits away."""
    values = rng.integers(0, 256, (count, bits // 8), dtype=np.uint8)
    values[count // 4 : count // 2] = values[: count // 4]
    spread = np.unpackbits(values[: count // 4], axis=1)
    for row in spread:
        row[rng.choice(bits, rng.integers(0, min(bits, 10)), replace=False)] ^= 1
    values[count // 2 : 3 * count // 4] = np.packbits(spread, axis=1)
    return values


def oracle(ids, values, query, radius):
    apart = (np.unpackbits(values, axis=1) != np.unpackbits(query)).sum(axis=1)
    return sorted((int(d), int(i)) for d, i in zip(apart, ids, strict=True) if d <= radius)


def pairs(matches):
    return [(match.distance, match.id) for match in matches]


def filled(database, bits, rng, *, waiting=0):
    """Two encoders of `bits` and another width, some images missing, the last `waiting` codes without band rows."""
    values, gone = some_codes(rng, bits), {3, 50, 117, 250, 399}
    others = some_codes(rng, 64)
    with database.write() as connection:
        add_encoder(connection, 1, 64)
        add_encoder(connection, 2, bits)
        add_images(connection, len(values), gone)
        add_codes(connection, 1, range(1, len(values) + 1), others)
        first = len(values) - waiting
        add_codes(connection, 2, range(1, first + 1), values[:first])
        write_rows(connection, 1)
        write_rows(connection, 2)
        if waiting:
            add_codes(connection, 2, range(first + 1, len(values) + 1), values[first:])
    here = np.array([id_ for id_ in range(1, len(values) + 1) if id_ not in gone])
    return here, values[here - 1]


@pytest.mark.parametrize("waiting", [0, 150, 400])
@pytest.mark.parametrize("bits", WIDTHS)
def test_the_file_answers_as_memory_and_brute_force_do(database, rng, bits, waiting):
    ids, values = filled(database, bits, rng, waiting=waiting)
    index = HashIndex(bits)
    index.add(ids, values)
    bands = StoredBands(database, 2, bits)
    queries = np.concatenate([values[:3], values[200:203], rng.integers(0, 256, (2, bits // 8), dtype=np.uint8)])
    for query in queries:
        for radius in range(min(bits, 8) + 1):
            found = bands.within(query.tobytes(), radius)
            assert pairs(found) == oracle(ids, values, query, radius) == pairs(index.within(query, radius))
        assert pairs(find_code(database, 2, query.tobytes())) == oracle(ids, values, query, 0)
    many = find_codes(database, 2, queries)
    assert many == [[id_ for _, id_ in oracle(ids, values, query, 0)] for query in queries]


@pytest.mark.parametrize("bits", [8, 64, 256])
def test_wide_radii_hand_their_slots_over_as_json_and_count_with_numpy(database, rng, bits, monkeypatch):
    ids, values = filled(database, bits, rng)
    monkeypatch.setattr(stored_bands, "FEW", 20)
    bands = StoredBands(database, 2, bits)
    for radius in (2, 5, 7, 8) if bits > 8 else (2, 8):
        found = bands.within(values[7].tobytes(), radius)
        assert pairs(found) == oracle(ids, values, values[7], radius)


def test_every_image_is_within_a_radius_of_all_bits(database, rng):
    ids, values = filled(database, 8, rng)
    found = StoredBands(database, 2, 8).within(values[0].tobytes(), 8)
    assert sorted(match.id for match in found) == ids.tolist()


def test_counts_say_what_was_read(database, rng):
    _, values = filled(database, 64, rng)
    bands = StoredBands(database, 2, 64)
    assert [bands.measured(values[0].tobytes(), radius).probes for radius in range(6)] == [1, 2, 3, 24, 45, 67]
    assert bands.measured(values[0].tobytes(), 0).candidates >= 1
    for radius in range(9):
        assert bands.expect(radius, 400)[0] == bands.measured(values[0].tobytes(), radius).probes


def test_an_image_that_goes_missing_is_not_found_and_one_that_comes_back_is(database, rng):
    values = some_codes(rng, 64)
    with database.write() as connection:
        add_encoder(connection, 2, 64)
        add_images(connection, len(values))
        add_codes(connection, 2, range(1, len(values) + 1), values)
        write_rows(connection, 2)
    bands, ids = StoredBands(database, 2, 64), np.arange(1, len(values) + 1)
    for gone in ({}, {9, 209}, {9, 109, 209}, {}):
        with database.write() as connection:
            connection.execute(update(images).values(missing=images.c.id.in_(gone)))
        here = ~np.isin(ids, list(gone))
        for radius in range(6):
            found = bands.within(values[8].tobytes(), radius)
            assert pairs(found) == oracle(ids[here], values[here], values[8], radius)
    assert len(found) > 2


def test_bits_dealt_anew_by_another_process_are_noticed(database, rng):
    ids, values = filled(database, 64, rng)
    bands = StoredBands(database, 2, 64)
    assert bands.within(values[0].tobytes(), 2)
    other = open_database(database.path)
    with other.write() as connection:
        before = connection.execute(select(band_masks.c.mask).where(band_masks.c.encoder == 2)).scalars().all()
        for band, mask in enumerate([before[2], before[0], before[1]]):
            mine = (band_masks.c.encoder == 2) & (band_masks.c.band == band)
            connection.execute(update(band_masks).where(mine).values(mask=mask))
        connection.exec_driver_sql("DELETE FROM bands WHERE encoder = 2")
        connection.exec_driver_sql("INSERT INTO pending_bands SELECT encoder, image FROM codes WHERE encoder = 2")
        write_rows(connection, 2)
    other.close()
    for radius in range(6):
        found = bands.within(values[0].tobytes(), radius)
        assert pairs(found) == oracle(ids, values, values[0], radius)


# --- statements ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "values"),
    [
        (EXACT, (1, 1, b"")),
        (BY_KEYS.format("?,?"), (1, 1, 2)),
        (stored_bands._by_list(2), (1, 1, 2)),
        (stored_bands._UNFLIPPED[1], (1, 1, 2)),
        (stored_bands._BY_JSON + stored_bands._AND_THE_REST, (1, "[1]")),
        (stored_bands._MISSING.format("?,?"), (1, 2)),
    ],
)
def test_no_statement_reads_a_whole_table_or_sorts(tmp_path, rng, statement, values):
    database = open_database(tmp_path / "photos.db")
    with database.write() as connection:
        connection.execute(insert(collections).values(name="c", created="now"))
        connection.execute(insert(sources).values(collection=1, path="/p"))
    filled(database, 64, rng)
    plan = [row[3] for row in database.look_up(f"EXPLAIN QUERY PLAN {statement}", values)]
    steps = [step for step in plan if step.split()[0] in {"SEARCH", "SCAN", "USE"}]
    assert steps
    # whether any image is missing is answered by the first entry of that index, if it has one
    allowed = {"SCAN probe VIRTUAL TABLE INDEX 1:", "SCAN images USING INDEX ix_images_missing"}
    assert all(step.startswith("SEARCH") or step in allowed for step in steps), plan
    database.close()


NODES = {"Append", "Index Scan", "Index Only Scan", "Nested Loop", "Result", "ProjectSet"}
"""What the plan of a look-up may be made of: walks down an index, and what puts their rows together."""


def nodes(plan):
    """Every node of a plan: its type, and what is known of it."""
    yield plan["Node Type"], plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


@pytest.mark.parametrize(
    ("statement", "values"),
    [
        (EXACT.replace("ORDER BY image", ""), (1, 1, b"")),
        (BY_KEYS.replace('ORDER BY "key", image', "").replace(LISTED, "= ANY (?::bigint[])"), (1, "{1,2}")),
        (stored_bands._UNFLIPPED[2], (1, 1, 2, 3)),
        (stored_bands._UNFLIPPED_TOLD[2], (1, 1, 2, 3)),
        (stored_bands._BY_ARRAY_HERE, (1, "{1,2}")),
        (stored_bands._BY_ARRAY_TOLD, (1, "{1,2}")),
        (stored_bands._BY_ARRAY + stored_bands._AND_THE_REST, (1, "{1,2}")),
        (stored_bands._MISSING.replace(LISTED, "= ANY (?::bigint[])"), ("{1,2}",)),
    ],
)
@pytest.mark.parametrize("analysed", [False, True])
def test_a_server_walks_down_indexes_and_scans_nothing(server_url, rng, statement, values, analysed):
    database = open_database(server_url)
    with database.write() as connection:
        connection.execute(insert(collections).values(name="c", created="now"))
        connection.execute(insert(sources).values(collection=1, path="/p"))
    filled(database, 64, rng)
    if analysed:
        with database.session() as connection:
            connection.execute("VACUUM ANALYZE")
    found = list(nodes(database.look_up(f"EXPLAIN (FORMAT JSON) {statement}", values)[0][0][0]["Plan"]))
    assert {kind for kind, _ in found} <= NODES, found
    scans = [node for kind, node in found if "Scan" in kind]
    assert scans
    # An index walked from end to end would be a scan by another name.
    assert all("Index Cond" in node for node in scans), found
    database.close()


def test_a_server_reads_the_bands_from_their_index_alone(server_url, rng):
    database = open_database(server_url)
    with database.write() as connection:
        connection.execute(insert(collections).values(name="c", created="now"))
        connection.execute(insert(sources).values(collection=1, path="/p"))
    filled(database, 64, rng)
    with database.session() as connection:
        connection.execute("VACUUM ANALYZE")
    plan = database.look_up(f"EXPLAIN (FORMAT JSON) {stored_bands._BY_ARRAY_HERE}", (1, "{1,2}"))[0][0][0]["Plan"]
    assert [kind for kind, node in nodes(plan) if node.get("Index Name") == "pk_bands"] == ["Index Only Scan"]
    database.close()


def test_a_damaged_table_is_told_in_a_sentence(database, rng):
    filled(database, 64, rng)
    with database.write() as connection:
        connection.exec_driver_sql("DROP TABLE bands")
    with pytest.raises(
        CollectionError, match=r"photos\.db: no such table: bands|photos_\d+.*: relation \"bands\" does not exist"
    ):
        StoredBands(database, 2, 64).within(bytes(8), 1)


# --- slots, masks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [8, 16, 40, 64, 256])
def test_a_new_encoder_has_three_bands_that_hold_each_bit_of_the_key_once(database, bits):
    with database.write() as connection:
        add_encoder(connection, 5, bits)
        masks = connection.execute(select(band_masks.c.mask).order_by(band_masks.c.band)).scalars().all()
        shares = connection.execute(select(band_masks.c.share).order_by(band_masks.c.band)).scalars().all()
    parts = [mask % 2**64 for mask in masks]
    assert len(parts) == BANDS
    assert sum(parts) == parts[0] | parts[1] | parts[2] == 2 ** min(bits, 64) - 1
    assert shares == [2.0 ** -part.bit_count() for part in parts]


def test_sql_and_python_agree_on_slots(database, rng):
    filled(database, 64, rng)
    masks = list(database.look_up("SELECT band, mask FROM band_masks WHERE encoder = 2", ()))
    rows = database.look_up("SELECT key, slot FROM bands WHERE encoder = 2", ())
    assert any(key < 0 for key, _ in rows)
    assert len(rows) == BANDS * 400
    for key, slot in rows:
        assert slot in slots_of(key, slot_plan(masks, 2))
        assert 0 <= slot < BANDS * SLOTS < 2**31


@pytest.mark.parametrize(
    ("radius", "levels"), [(0, [0]), (1, [0, 0]), (2, [0, 0, 0]), (3, [1, 0, 0]), (4, [1, 1, 0]), (8, [2, 2, 2])]
)
def test_flips_are_as_few_as_the_pigeonhole_allows(radius, levels):
    bands = probing(((0, 0b111), (1, 0b111000), (2, 0b111000000)), radius)
    assert [band.level for band in bands] == levels
    assert sum(level + 1 for level in levels) == radius + 1


def test_flips_are_all_values_of_few_bits_of_a_mask():
    mask = -(2**63) | 0b10110
    found = flips_within(mask, 2).tolist()
    listed = {value for value in range(32) if value & ~0b10110 == 0 and value.bit_count() <= 2}
    listed |= {value - 2**63 for value in listed if value.bit_count() <= 1}
    assert len(found) == len(set(found))
    assert set(found) == listed


def test_a_key_is_that_of_the_codes(rng):
    for bits in WIDTHS:
        values = rng.integers(0, 256, (20, bits // 8), dtype=np.uint8)
        assert [key_of(value.tobytes()) for value in values] == keys(values).tolist()


# --- dealing ------------------------------------------------------------------------------------------------------


def dead_codes(rng, count, bits=64):
    """Codes whose first 24 bits are constant, and whose next eight copy one another."""
    spread = rng.integers(0, 2, (count, bits), dtype=np.uint8)
    spread[:, :24] = 1
    spread[:, 24:32] = spread[:, 24:25]
    return np.packbits(spread, axis=1)


def test_dead_and_copied_bits_are_spread_and_the_rows_written_anew(database, rng):
    values = dead_codes(rng, 2 * ENOUGH)
    half = len(values) // 2
    with database.write() as connection:
        add_encoder(connection, 1, 64)
        add_images(connection, len(values))
        add_codes(connection, 1, range(1, 101), values[:100])
        assert write_rows(connection, 1) == 100
        before = connection.execute(select(band_masks.c.mask)).scalars().all()
        add_codes(connection, 1, range(101, len(values) + 1), values[100:])
        assert write_rows(connection, 1) == len(values)  # those that had rows, too
        after = connection.execute(select(band_masks.c.mask)).scalars().all()
        shares = connection.execute(select(band_masks.c.share)).scalars().all()
        assert connection.execute(select(pending_bands)).all() == []
    sample = keys(values)
    assert shares == [share(np.unique(sample), mask) for mask in after]
    assert sum(share(sample, mask) for mask in after) < 0.05 * sum(share(sample, mask) for mask in before)
    assert sum(mask % 2**64 for mask in after) == 2**64 - 1
    bands = StoredBands(database, 1, 64)
    ids = np.arange(1, len(values) + 1)
    for radius in (0, 2, 4):
        found = bands.within(values[half].tobytes(), radius)
        assert pairs(found) == oracle(ids, values, values[half], radius)


def test_even_bits_stay_as_they_are(database, rng):
    values = rng.integers(0, 256, (2 * ENOUGH, 8), dtype=np.uint8)
    with database.write() as connection:
        add_encoder(connection, 1, 64)
        before = connection.execute(select(band_masks)).all()
        add_images(connection, len(values))
        add_codes(connection, 1, range(1, len(values) + 1), values)
        write_rows(connection, 1)
        assert connection.execute(select(band_masks)).all() == before


def test_masks_of_short_keys_hold_their_bits_only(rng):
    masks = masks_by(rng.integers(0, 2**16, 600), 16)
    assert sum(masks) == masks[0] | masks[1] | masks[2] == 2**16 - 1


def test_share_is_the_chance_of_agreement():
    values = np.array([0b000, 0b001, 0b010, 0b100])
    assert share(values, 0b001) == 0.5  # three zeros: 6 of 12 ordered pairs, no less than 1 / 2
    assert share(values, 0b110) == pytest.approx(0.25)  # 2 of 12 would be fewer than even bits give


# --- choice -------------------------------------------------------------------------------------------------------


def test_narrow_radii_of_many_images_are_asked_of_the_file_and_wide_ones_are_not(database, rng):
    _, values = filled(database, 64, rng)
    with database.write() as connection:  # as if there were many: only the largest id is looked at
        connection.execute(insert(images).values(id=1_000_000, source=1, path="last", missing=True, **IMAGE))
    search = FileSearch(database)
    answer = search.within(2, 64, values[0].tobytes(), 4)
    assert answer is not None
    how = answer.explanation
    assert (how.method, how.probes, how.answers) == ("stored", 45, len(answer.matches))
    assert "reading all codes first would take about 1,000 ms" in how.why
    assert search.within(2, 64, values[0].tobytes(), 40) is None
    exact = search.exact(2, values[0].tobytes())
    assert (exact.explanation.method, exact.explanation.probes) == ("table", 1)
    assert exact.matches == find_code(database, 2, values[0].tobytes())


@pytest.mark.parametrize("bits", [8, 64, 256])
def test_the_nearest_are_found_by_bands_that_grow(database, rng, monkeypatch, bits):
    ids, values = filled(database, bits, rng)
    monkeypatch.setattr(file_search, "PART_OF_LOAD", 50)
    index = HashIndex(bits)
    index.add(ids, values)
    search = FileSearch(database)
    for query in (values[0], values[7], values[250], values[250] ^ np.uint8(1)):
        for k in (1, 2, 5):
            answer = search.nearest(2, bits, query.tobytes(), k)
            expected = pairs(index.nearest(query, k))
            if answer is None:  # random codes of many bits have no second neighbour that bands could find
                assert expected[-1][0] > 8
            else:
                assert pairs(answer.matches) == expected
                assert answer.explanation.method == "stored"
    monkeypatch.setattr(file_search, "PART_OF_LOAD", 0.25)
    assert search.nearest(2, bits, values[0].tobytes(), 1) is None, "so few codes are read at once"
