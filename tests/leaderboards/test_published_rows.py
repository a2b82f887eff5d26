"""Published figures stand beside runs that repeat them, and beside no others."""

import pytest
import yaml

from davezoo.leaderboards.published_rows import encoder_of, published_row
from davezoo.leaderboards.reported import read_reported
from tests.leaderboards.runs import LOCO, make_run


def name_of(run):
    found = published_row(run)
    return None if found is None else (found[0].name, found[1].values["avg_map"])


@pytest.mark.parametrize(
    ("data", "encoder"),
    [
        ("unav100", "I3D-VGGish"),
        ("unav100_batch8", "I3D-VGGish"),
        ("unav100_onepeace", "ONE-PEACE"),
        ("unav100_dinov2_mert", "DINOv2-MERT"),
        ("thumos14", "I3D-VGGish"),
        ("activitynet13_tsp", "TSP-VGGish"),
        ("epic100_noun", "SlowFast-VGGish"),
    ],
)
def test_features_have_the_names_of_the_tables(data, encoder):
    run = make_run(data=data)
    assert encoder_of(run) == encoder
    run.settings["data"]["visual_width"] = 7
    assert encoder_of(run).startswith("other (7+")


def test_every_encoder_of_a_row_with_a_recipe_has_features():
    rows = [row for table in read_reported().values() for row in table.rows if row.recipe]
    encoders = {row.encoder for row in rows}
    names = ("unav100", "unav100_onepeace", "unav100_dinov2_mert", "epic100_verb")
    assert encoders <= {encoder_of(make_run(data=name)) for name in names}


@pytest.mark.parametrize(
    ("run", "row"),
    [
        ({}, ("loco/I", 54.9)),  # of the final version, before the first's 53.4
        ({"data": "unav100"}, ("loco/I", 49.5)),
        ({"changes": {"attention": "global"}}, ("loco/V", 53.8)),
        ({"changes": {"pyramid": False}}, ("loco/II", 45.1)),
        ({"changes": {"pyramid": False, "correspondence": "none"}}, ("loco/II", 37.0)),
        ({"changes": {"window_size": 16}}, ("loco/VI", 54.2)),
        ({"changes": {"learning_rate": 3e-4}, "epochs": 60}, ("loco/I", 54.9)),
        ({"method": "UnAV"}, ("ccnet/1", 51.0)),
        ({"method": "DEL", "data": "unav100", "changes": {"modalities": "audio"}}, ("del/8", 40.6)),
        ({"changes": {"width": 64}}, None),
        ({"changes": {"window_size": 12}}, None),
        ({"changes": {"pyramid": False, "window_size": 16}}, None),
        ({"method": "Mine"}, None),
        ({"data": "unav100_dinov2_mert"}, None),
        ({"protocol": "thumos14-213"}, None),
        ({"simulated": True}, None),
        ({"num_videos": 96}, None),
    ],
)
def test_row_that_a_run_repeats(run, row):
    assert name_of(make_run(**run)) == row


def test_each_row_finds_its_own_figure():
    """A run with exactly the options of a row of LoCo stands beside the row's figure."""
    tables = [t for t in read_reported().values() if t.name.startswith("loco/")]
    rows = [row for t in tables for row in t.rows if row.recipe and row.method == "LoCo"]
    assert len(rows) > 20
    for row in rows:
        options = dict(word.removeprefix("--model.").split("=") for word in row.options)
        wanted = {name: yaml.safe_load(value) for name, value in options.items()}
        changes = {name: value for name, value in wanted.items() if LOCO[name] != value}
        data = "unav100" if "i3d" in row.recipe else "unav100_onepeace"
        found = published_row(make_run(changes=changes, data=data))
        assert found is not None
        assert found[1].values["avg_map"] == row.values["avg_map"]
