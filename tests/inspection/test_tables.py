"""Texts of the tables."""

from __future__ import annotations

from pathlib import Path

from davezoo.inspection.collect import collect
from davezoo.inspection.tables import (
    Table,
    class_sentences,
    class_table,
    crop_table,
    feature_notes,
    feature_table,
    length_table,
    level_table,
    oddity_table,
    overlap_table,
    split_table,
)
from tests.inspection.sets import USUAL, inspect_events, open_data

EVENTS = [("a", 1.0, 21.0, 0), ("a", 2.0, 3.0, 1), ("b", 5.0, 5.0, 0), ("b", 6.0, 7.0, 0)]


def test_format_aligns_numbers_to_the_right() -> None:
    table = Table("Title", ["what", "videos"], [["a", "1,000"], ["long name", "1"]])
    assert table.format() == "# Title\nwhat       videos\na           1,000\nlong name       1\n"


def test_what_would_steer_a_terminal_is_replaced() -> None:
    assert "\x1b" not in Table("t", ["x"], [["\x1b[0m"]]).format()


def test_rows(tmp_path: Path) -> None:
    inspection = inspect_events(tmp_path, EVENTS, ("dog", "cat", "bell"))
    assert split_table(inspection).rows == [
        ["train", "fit, validate, test, predict", "2", "0.0", "4", "2.00", "2", "0", "2", "1"]
    ]
    # 60 s of UnAV-100 are 185 steps of 0.32 s; the median of events of 0, 1, 1 and 20 s is one.
    videos, events = length_table(inspection).rows
    assert videos == ["train", "videos", *["60"] * 4, *["185"] * 4]
    assert events == ["train", "events", "0.15", "1", "17.1", "20", "0.469", "3.12", "53.6", "62.5"]
    assert overlap_table(inspection).rows == [
        ["train", "2", "50.0", "0", "0.0", "1", "50.0", "1"]
    ]  # fmt: skip
    now, proposed = crop_table(inspection).rows
    assert now == ["set now", "224", "71.7", "0", "0.0", "0", "0.0", "0", "0.0", "0.0"]
    assert proposed[:2] == ["proposed", "192"]
    assert class_table(inspection).rows == [
        ["dog", "3", "1"], ["cat", "1", "1"], ["bell", "0", "-"]
    ]  # fmt: skip
    assert class_sentences(inspection) == [
        "Most frequent in train: dog (3), cat (1).",
        "Rarest in train: dog (3), cat (1).",
        "Never in train: bell.",
    ]


def test_subsets_that_are_not_in_use_are_named(root: Path) -> None:
    splits = dict.fromkeys(("test_split", "predict_split"), "validation")
    inspection = collect(open_data(root, **splits), USUAL, check_pack=True)
    assert split_table(inspection).hint == ("In the annotations, but not in use: test (2 videos).")


def test_levels_have_seconds(tmp_path: Path) -> None:
    table = level_table("Levels", inspect_events(tmp_path, EVENTS).levels, 0.32)
    assert table.rows[0][:4] == ["0", "1", "0 to 4", "0 to 1.28"]
    assert table.rows[-1][:4] == ["5", "32", "64 or more", "20.5 or more"]
    assert "Of 4 events 1 (25.0 %) are shorter than one step" in table.hint


def test_oddities(tmp_path: Path) -> None:
    oddities = oddity_table(inspect_events(tmp_path, EVENTS))
    assert oddities is not None
    assert oddities.rows == [["zero-length events", "1"]]
    assert oddity_table(inspect_events(tmp_path, EVENTS[:2])) is None


def test_features(root: Path) -> None:
    first = min((root / "av_features").glob("*_flow.npy"))
    first.unlink()
    (root / "av_features/nobody_rgb.npy").write_bytes(b"")
    inspection = collect(open_data(root), USUAL, check_pack=True)
    table = feature_table(inspection)
    assert table is not None
    assert [sum(int(row[column]) for row in table.rows) for column in range(1, 6)] == [
        9, 8, 1, 0, 0
    ]  # fmt: skip
    assert feature_notes(inspection) == [
        "1 feature files belong to no video of the annotations, such as nobody_rgb.npy."
    ]


def test_no_features_no_table(tmp_path: Path) -> None:
    inspection = inspect_events(tmp_path, EVENTS)
    assert feature_table(inspection) is None
    assert feature_notes(inspection) == []
