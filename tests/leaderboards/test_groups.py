"""Seeds of one system stand together, everything else apart."""

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from davezoo.leaderboards.collection import FoundRun
from davezoo.leaderboards.groups import deviation, group_runs, map_at
from tests.leaderboards.runs import make_run


def group(*runs):
    return group_runs([FoundRun(f"run {index}", run) for index, run in enumerate(runs)])


def test_seeds_are_one_group():
    (made,), skipped = group(make_run(0.4, seed=0), make_run(0.5, seed=1), make_run(0.6, seed=2))
    assert skipped == []
    assert [entry.run.seed for entry in made.runs] == [0, 1, 2]
    assert made.mean == pytest.approx(50)
    assert made.deviation == pytest.approx(10)
    assert made.map_at(0.7) == pytest.approx(50)


@pytest.mark.parametrize(
    "other",
    [
        {"method": "UnAV"},
        {"changes": {"attention": "global"}},
        {"changes": {"nms": {"sigma": 0.5}}},
        {"data": "unav100"},
        {"epochs": 12},
        {"protocol": "thumos14-212", "num_videos": 2167},
        {"sha": "b" * 64},
        {"simulated": True},
    ],
)
def test_all_but_the_seed_makes_another_group(other):
    made, skipped = group(make_run(seed=0), make_run(seed=1, **other))
    assert (len(made), skipped) == (2, [])


def test_newest_of_one_seed_counts():
    old, new = make_run(0.4), make_run(0.6, written="2026-02-01T00:00:00Z")
    for runs, kept in [((old, new), 1), ((new, old), 0)]:
        (made,), (skipped,) = group(*runs)
        assert made.avg_maps == [60]
        assert skipped.place == f"run {1 - kept}"
        reason = f"same settings and seed 0 as run {kept}, which was written later"
        assert reason in skipped.reason


def test_all_but_one_of_several_doubles_are_named():
    (made,), skipped = group(make_run(), make_run(seed=1), make_run(), make_run())
    assert len(made.runs) == 2
    assert [entry.place for entry in skipped] == ["run 0", "run 2"]
    assert all("a copy of run" in entry.reason for entry in skipped)


def test_doubles_are_named_beside_the_run_that_counts():
    dates = ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"]
    _, skipped = group(*[make_run(0.4 + i / 10, written=date) for i, date in enumerate(dates)])
    assert [entry.place for entry in skipped] == ["run 0", "run 1"]
    assert all("as run 2, which was written later and counts" in entry.reason for entry in skipped)


def test_runs_without_a_known_seed_are_no_doubles():
    from dataclasses import replace

    made, skipped = group(*[replace(make_run(), seed=None, training=None)] * 2)
    assert (len(made[0].runs), skipped) == (2, [])


@given(st.lists(st.floats(0, 100), min_size=2, max_size=6))
def test_deviation_is_that_of_a_sample(values):
    assert deviation(values) == pytest.approx(statistics.stdev(values), abs=1e-9)


def test_one_value_has_no_deviation():
    assert math.isnan(deviation([1.0]))


def test_thresholds_are_found_by_their_decimals():
    result = make_run().result
    result.map[2] = 0.125  # tIoU 0.30000000000000004
    assert map_at(result, 0.3) == 12.5
    assert math.isnan(map_at(result, 0.95))


def test_callbacks_that_only_watch_tell_no_runs_apart():
    def with_callbacks(seed, *names):
        run = make_run(seed=seed)
        run.training["trainer"]["callbacks"] = [{"class_path": name} for name in names]
        return FoundRun(str(seed), run)

    average, dashboard = "davezoo.callbacks.EMA", "davezoo.dashboards.Dashboard"
    groups, skipped = group_runs(
        [with_callbacks(0, average), with_callbacks(1, average, dashboard), with_callbacks(2)]
    )
    assert [len(group.runs) for group in groups] == [2, 1]
    assert skipped == []
