"""Plans: what a report allows, the file a person edits, and what of it is refused."""

import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashae.errors import ConfigError, DocumentError
from hashae.indexer.plan import NOTE, Plan, PlannedAction, plan_of, read_plan, write_plan
from hashae.indexer.report import DedupReport, ReportGroup, ReportImage


def image(number, *, tier="bytes", keep=False, protected=False, path=None):
    head = (number, path or f"/p/{number}.jpg", 100 * number, 640, 480, "JPEG", 1.5e9, 0, tier, keep)
    return ReportImage(*head, f"reason {number}", content=f"{number:032x}", protected=protected)


def report(*groups):
    made = tuple(
        ReportGroup(number, images[-1].tier, images, images[0].id, 0) for number, images in enumerate(groups, 1)
    )
    return DedupReport("/p.db", None, "photo", 256, 33, 9, "2026-01-01T00:00:00Z", made, keep_rules=("pixels", "size"))


REPORT = report(
    (image(1, keep=True), image(2), image(3, protected=True), image(4, tier="near")),
    (image(5, keep=True, path="/p/" + os.fsdecode(b"\xff") + "\n.jpg"), image(6, protected=True)),
    (image(7, keep=True), image(8, tier="pixels", path="/p/\U0001f600 " + os.fsdecode(b"\xfe") + '".jpg')),
)


def test_a_plan_holds_all_that_may_go_beside_what_stays():
    plan = plan_of(REPORT, protect=["/p/safe"])
    assert [(action.group, action.tier, action.path) for action in plan.actions] == [
        (1, "bytes", "/p/2.jpg"),
        (1, "near", "/p/4.jpg"),
        (3, "pixels", REPORT.groups[2].images[1].path),
    ]
    first = plan.actions[0]
    assert (first.content, first.size, first.reason) == (bytes.fromhex(f"{2:032x}"), 200, "reason 2")
    assert (first.keeper, first.keeper_content, first.keeper_reason) == (
        "/p/1.jpg",
        bytes.fromhex(f"{1:032x}"),
        "reason 1",
    )
    assert (plan.created, plan.collection, plan.keep_rules, plan.protect) == (
        "2026-01-01T00:00:00Z",
        "/p.db",
        ("pixels", "size"),
        ("/p/safe",),
    )


def test_in_no_group_all_go():
    kept = {image.path for group in REPORT.groups for image in group.images if not image.spare}
    gone = {action.path for action in plan_of(REPORT).actions}
    for group in REPORT.groups:
        assert {image.path for image in group.images} - gone
    assert not kept & gone


def test_a_plan_comes_back_from_its_file_whatever_names_are_in_it(tmp_path):
    plan = plan_of(REPORT, protect=["/p/" + os.fsdecode(b"\xfd")])
    write_plan(plan, tmp_path / "plan.json")
    assert read_plan(tmp_path / "plan.json") == plan


def test_the_file_says_clearly_what_is_what(tmp_path):
    write_plan(plan_of(REPORT), tmp_path / "plan.json")
    value = json.loads((tmp_path / "plan.json").read_text("utf-8"))
    assert list(value) == [
        "hashae", "schema", "note", "created", "collection", "keep_rules", "protect", "actions",
    ]  # fmt: skip
    assert (value["hashae"], value["schema"], value["note"]) == ("plan", 1, NOTE)
    assert value["actions"][0] == {
        "group": 1,
        "tier": "bytes",
        "reason": "reason 2",
        "path": "/p/2.jpg",
        "content": f"{2:032x}",
        "size": 200,
        "keeper": {"path": "/p/1.jpg", "content": f"{1:032x}", "reason": "reason 1"},
    }


def edited(tmp_path, change):
    write_plan(plan_of(REPORT), tmp_path / "plan.json")
    value = json.loads((tmp_path / "plan.json").read_text("utf-8"))
    change(value)
    (tmp_path / "plan.json").write_text(json.dumps(value))
    return read_plan(tmp_path / "plan.json")


def test_a_person_may_take_actions_out_and_write_notes_in(tmp_path):
    def change(value):
        del value["actions"][1]
        value["actions"][0]["note"] = "checked"
        del value["actions"][0]["group"]
        del value["actions"][0]["keeper"]["reason"]

    plan = edited(tmp_path, change)
    assert (plan.actions[0].group, plan.actions[0].path) == (0, "/p/2.jpg")
    assert len(plan.actions) == 2


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"tier": "sure"}, "action 1: \"tier\" is 'sure'; expected one of bytes, pixels, code, near"),
        ({"size": "200"}, "action 1: \"size\" is '200'; expected a whole number"),
        ({"size": -1}, 'action 1: "size" is no number of bytes'),
        ({"size": True}, 'action 1: "size" is True; expected a whole number'),
        ({"path": "2.jpg"}, "action 1: \"path\" is '2.jpg'; expected an absolute path"),
        ({"content": "zz" * 16}, 'action 1: "content" is '),
        ({"keeper": "/p/1.jpg"}, "action 1: \"keeper\" is '/p/1.jpg'; expected an object in braces"),
        ({"keeper": {}}, 'action 1, keeper has no "path"'),
        ({"path": "/p/1.jpg"}, "action 1: /p/1.jpg is to go, and is the keeper of another file; one must stay"),
        ({"path": "/p/4.jpg"}, "action 2: /p/4.jpg is named twice; take one of the two out"),
    ],
)
def test_an_action_that_is_none_is_refused_with_its_number(tmp_path, change, sentence):
    with pytest.raises(DocumentError) as refused:
        edited(tmp_path, lambda value: value["actions"][0].update(change))
    assert sentence in str(refused.value)


@pytest.mark.parametrize("key", ["path", "content", "size", "tier", "reason", "keeper"])
def test_an_action_without_one_of_its_parts_is_refused(tmp_path, key):
    with pytest.raises(DocumentError, match=f'action 3 has no "{key}"'):
        edited(tmp_path, lambda value: value["actions"][2].pop(key))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"actions": 1}, '"actions" is 1; expected a list'),
        ({"protect": "/p"}, "\"protect\" is '/p'; expected a list"),
        ({"protect": ["p"]}, "expected an absolute path"),
        ({"keep_rules": [1]}, '"keep_rules" holds 1; expected texts'),
        ({"hashae": "verdicts"}, 'is no plan: expected "hashae": "plan" at its head'),
        ({"schema": 9}, "has schema 9; this hashae reads 1 to 1: update hashae"),
    ],
)
def test_what_is_no_plan_is_refused(tmp_path, change, sentence):
    with pytest.raises(DocumentError) as refused:
        edited(tmp_path, lambda value: value.update(change))
    assert sentence in str(refused.value)


def test_writing_into_nowhere_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"--plan: folder .* does not exist; create it first"):
        write_plan(plan_of(REPORT), tmp_path / "no" / "plan.json")


KEYS = ["group", "tier", "reason", "path", "content", "size", "keeper"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["bytes", "ab" * 16, "/p", "/q"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=7),
    max_leaves=14,
)


@settings(deadline=None)
@given(JSON)
def test_any_json_is_read_or_refused(tmp_path_factory, value):
    file = tmp_path_factory.getbasetemp() / "any plan.json"
    head = {"hashae": "plan", "schema": 1, "created": "", "collection": "", "keep_rules": [], "protect": []}
    file.write_text(json.dumps(head | {"actions": value}))
    try:
        found = read_plan(file)
    except DocumentError:
        return
    assert isinstance(found, Plan)
    assert all(isinstance(action, PlannedAction) for action in found.actions)
