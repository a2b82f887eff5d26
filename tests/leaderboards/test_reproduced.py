"""A published table beside its own runs."""

from davezoo.leaderboards.reported import get_table
from davezoo.leaderboards.reproduced import format_reproduced
from tests.leaderboards.runs import make_run


def rows_of(text):
    return [line.split(" | ") for line in text.splitlines() if line.startswith("| ")][1:]


def test_mean_deviation_and_difference_below_each_published_row():
    table = get_table("loco/II")
    runs = [[], [make_run(0.45)], [], [make_run(0.5), make_run(0.54, seed=1)]]
    rows = rows_of(format_reproduced(table, runs, None))
    kinds = [row[1] for row in rows]
    assert kinds == [
        "published",
        *["published", "measured", "difference"],
        "published",
        *kinds[1:4],
    ]
    assert rows[0][0] == "| neither (base), ONE-PEACE"
    assert rows[2][2:] == ["1", *["45.00"] * 5, "45.00 |"]
    assert rows[3][-1] == "-0.10 |"
    assert rows[5][-1] == "54.9 |"
    assert rows[6][2:4] == ["2", "52.00 ± 2.83"]
    assert rows[7][3:5] == ["-6.50", "-1.20"]


def test_costs_are_those_of_the_layers():
    table = get_table("loco/VII")
    runs = [[make_run(0.51)], *[[]] * 6]
    text = format_reproduced(table, runs, None)
    assert "| row | figures | seeds | GMACs | M parameters | Avg |" in text
    assert rows_of(text)[1][3:] == ["2.00", "1.00", "51.00 |"]


def test_columns_that_no_test_measures_stay_empty():
    text = format_reproduced(get_table("loco/fig3"), [[make_run()], *[[]] * 3], None)
    assert rows_of(text)[1][-1] == "– |"  # noqa: RUF001


def test_simulated_runs_are_no_reproduction():
    text = format_reproduced(
        get_table("loco/II"), [[make_run(simulated=True, num_videos=24)]] * 4, "small.yaml"
    )
    assert "no reproduction of the published ones" in text
    assert "The annotations have 24 videos where published results are about 2167." in text
    assert "Settings of `small.yaml` overruled" in text
    assert text.count("measured (simulated)") == 4
    assert "difference" not in text


def test_runs_of_another_protocol_never_share_a_column():
    runs = [[make_run(protocol="thumos14-213"), make_run(0.4)], *[[]] * 3]
    text = format_reproduced(get_table("loco/II"), runs, None)
    assert "scored by thumos14-213, not unav100, are left out" in text
    assert rows_of(text)[1][2:4] == ["1", "40.00"]


def test_notes_of_the_published_table_stand_below():
    lines = format_reproduced(get_table("del/2"), [[]] * 11, None).splitlines()
    notes = [line for line in lines if line.startswith("- ")]
    assert lines[-len(notes) :] == notes
    assert notes[0].startswith("- del/2: Numbers of DEL are means of five runs")
    assert notes[-1].startswith("- del/2, DEL: The average is the mean of the three printed")
    assert len(set(notes)) == len(notes)


def test_number_that_is_not_comparable_has_no_difference():
    run = make_run(0.36, method="DEL", protocol="activitynet13-full")
    rows = rows_of(format_reproduced(get_table("del/2"), [[]] * 10 + [[run]], None))
    assert rows[-3][-1] == "38.0 |"
    assert rows[-1][3:] == ["-20.90", "-6.50", "+21.30", "– |"]  # noqa: RUF001
