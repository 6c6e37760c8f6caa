"""The plan asks exactly what has no answer, keeps the rest and loses nothing."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geo_assets.core.convergence import FileStamp, KnownChip, plan_chips
from geo_assets.errors import StorageError
from geo_assets_tests.core.test_chips import SPEC

RECIPES = ("0" * 64, "1" * 64)
names = st.sampled_from([f"chip-{number}" for number in range(8)])
stamps = st.builds(FileStamp, st.integers(0, 2), st.integers(0, 2))


def a_spec(name, recipe=RECIPES[0]):
    return dataclasses.replace(SPEC, chip_id=name, recipe=recipe)


def a_chip(name, status="ok", recipe=RECIPES[0], stamp=FileStamp(7, 8)):  # noqa: B008 - immutable
    return KnownChip(name, status, recipe, href_of(name) if status == "ok" else None, stamp)


def href_of(name):
    return f"../../chips/north/train/{name}.tif"


wanted_chips = st.lists(
    st.builds(a_spec, names, st.sampled_from(RECIPES)), unique_by=lambda s: s.chip_id
)
known_chips = st.lists(
    st.builds(
        a_chip,
        names,
        st.sampled_from(["ok", "no_imagery", "failed"]),
        st.sampled_from(RECIPES),
        stamps | st.none(),
    ),
    unique_by=lambda chip: chip.chip_id,
).map(lambda chips: {chip.chip_id: chip for chip in chips})
files = st.dictionaries(names.map(href_of), stamps)


@given(wanted_chips, known_chips, files)
def test_every_wanted_chip_is_asked_or_kept_and_every_other_removed(wanted, known, on_disk):
    plan = plan_chips(wanted, known, on_disk)
    assert sorted([*plan.ask, *plan.keep], key=wanted.index) == wanted
    assert set(plan.remove) == set(known) - {spec.chip_id for spec in wanted}


@given(wanted_chips, known_chips, files)
def test_exactly_what_is_not_answered_under_its_recipe_is_asked(wanted, known, on_disk):
    asked = {spec.chip_id for spec in plan_chips(wanted, known, on_disk).ask}
    for spec in wanted:
        chip = known.get(spec.chip_id)
        current = chip is not None and chip.recipe == spec.recipe
        there = href_of(spec.chip_id) in on_disk and chip is not None
        unchanged = there and on_disk[href_of(spec.chip_id)] == chip.stamp
        answered = current and (chip.status == "no_imagery" or (chip.status == "ok" and unchanged))
        assert (spec.chip_id in asked) == (not answered)


@given(wanted_chips, known_chips, files, st.data())
def test_a_run_that_answers_everything_leaves_nothing_to_ask(wanted, known, on_disk, data):
    plan = plan_chips(wanted, known, on_disk)
    after, disk = dict(known), dict(on_disk)
    for spec in plan.ask:
        status = data.draw(st.sampled_from(["ok", "no_imagery"]))
        after[spec.chip_id] = a_chip(spec.chip_id, status, spec.recipe)
        if status == "ok":
            disk[href_of(spec.chip_id)] = FileStamp(7, 8)
    for chip_id in plan.remove:
        del after[chip_id]
    again = plan_chips(wanted, after, disk)
    assert (again.ask, again.remove) == ((), ())


@given(wanted_chips, known_chips, files)
def test_failed_chips_are_asked_again_in_the_order_wanted(wanted, known, on_disk):
    failed = {name: dataclasses.replace(chip, status="failed") for name, chip in known.items()}
    assert list(plan_chips(wanted, failed, on_disk).ask) == wanted


STAMP = FileStamp(7, 8)
CASES = {
    "a chip never seen": (None, {}, True),
    "a chip that is there": (a_chip("chip-0"), {href_of("chip-0"): STAMP}, False),
    "a file that is gone": (a_chip("chip-0"), {}, True),
    "a file of another size": (a_chip("chip-0"), {href_of("chip-0"): FileStamp(6, 8)}, True),
    "a file of another time": (a_chip("chip-0"), {href_of("chip-0"): FileStamp(7, 9)}, True),
    "a file of unknown time": (a_chip("chip-0", stamp=None), {href_of("chip-0"): STAMP}, True),
    "another recipe": (a_chip("chip-0", recipe=RECIPES[1]), {href_of("chip-0"): STAMP}, True),
    "no imagery": (a_chip("chip-0", "no_imagery"), {}, False),
    "no imagery, another recipe": (a_chip("chip-0", "no_imagery", RECIPES[1]), {}, True),
    "failed, though a file lies there": (
        a_chip("chip-0", "failed"),
        {href_of("chip-0"): STAMP},
        True,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_chip_is_asked_when_and_only_when_it_has_no_answer(case):
    chip, on_disk, is_asked = CASES[case]
    plan = plan_chips([a_spec("chip-0")], {"chip-0": chip} if chip else {}, on_disk)
    assert bool(plan.ask) == is_asked


def test_a_chip_wanted_twice_is_refused_by_name():
    with pytest.raises(StorageError, match="chip-3"):
        plan_chips([a_spec("chip-3"), a_spec("chip-3")], {}, {})
