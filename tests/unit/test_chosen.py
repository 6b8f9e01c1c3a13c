"""A plan from what a person chose group by group."""

from __future__ import annotations

import pytest

from hashae.errors import ConfigError
from hashae.indexer.chosen import plan_of_choices, tier_between
from hashae.indexer.plan import plan_of
from hashae.indexer.report import DedupReport, ReportGroup, ReportImage


def image(id_, tier="near", *, keep=False, protected=False, content=None):
    return ReportImage(
        id=id_,
        path=f"/photos/{id_}.jpg",
        size=100 * id_,
        width=4,
        height=3,
        format="JPEG",
        modified=0.0,
        distance=0,
        tier=tier,
        keep=keep,
        reason="why",
        content=content or f"{id_:032x}",
        protected=protected,
    )


def report(*images):
    group = ReportGroup(number=1, tier="near", images=images, representative=1, diameter=3)
    return DedupReport("c.db", None, "photo", 256, 12, len(images), "now", groups=(group,))


def test_the_suggestion_gives_the_plan_of_the_command_line():
    found = report(image(1, keep=True), image(2, "code"), image(3), image(4, protected=True))
    assert plan_of_choices(found, {1: [1]}) == plan_of(found)


def test_another_keeper_and_more_than_one():
    found = report(image(1, keep=True), image(2, "pixels"), image(3), image(4, protected=True))
    plan = plan_of_choices(found, {1: [2]}, protect=("/raw",))
    assert [(action.path, action.keeper, action.tier) for action in plan.actions] == [
        ("/photos/1.jpg", "/photos/2.jpg", "pixels"),
        ("/photos/3.jpg", "/photos/2.jpg", "near"),
    ]
    assert plan.protect == ("/raw",)
    assert [action.path for action in plan_of_choices(found, {1: [3, 1]}).actions] == ["/photos/2.jpg"]
    assert plan_of_choices(found, {1: [1, 2, 3]}).actions == ()
    assert plan_of_choices(found, {}).actions == ()


@pytest.mark.parametrize(
    ("one", "other", "tier"),
    [
        (image(1, keep=True), image(2, "bytes", content=f"{1:032x}"), "bytes"),
        (image(2, "pixels"), image(3, "pixels"), "pixels"),
        (image(2, "pixels"), image(3, "code"), "code"),
        (image(2, "code"), image(3, "near"), "near"),
        (image(2, "near", content="aa"), image(3, "near", content="aa"), "bytes"),
        (image(1, "near", keep=True), image(2, "pixels"), "pixels"),
    ],
)
def test_the_tier_of_two_is_that_of_their_weaker_link(one, other, tier):
    assert tier_between(one, other) == tier_between(other, one) == tier


@pytest.mark.parametrize(
    ("choices", "words"), [({2: [1]}, "no group 2"), ({1: []}, "nothing"), ({1: [9]}, "no image 9")]
)
def test_a_choice_that_makes_no_sense_is_refused(choices, words):
    with pytest.raises(ConfigError, match=words):
        plan_of_choices(report(image(1, keep=True), image(2)), choices)
