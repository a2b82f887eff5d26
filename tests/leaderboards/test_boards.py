"""Tables: one a protocol and set of videos, sorted, with the published figures."""

import math
from dataclasses import replace

import pytest

from davezoo.leaderboards.boards import make_tables
from davezoo.leaderboards.collection import FoundRun
from davezoo.leaderboards.groups import group_runs
from davezoo.leaderboards.published_rows import _model_settings
from davezoo.leaderboards.reported import get_table
from tests.leaderboards.runs import make_run


def tables_of(*runs):
    found = [FoundRun(f"run {index}", run) for index, run in enumerate(runs)]
    return make_tables(group_runs(found)[0])


def test_best_mean_comes_first_beside_the_published_figure():
    runs = [make_run(0.5, seed=0), make_run(0.54, seed=1), make_run(0.55, data="unav100")]
    (table,) = tables_of(*runs)
    frame = table.frame
    assert frame["Avg"].tolist() == pytest.approx([55, 52])
    assert frame["seeds"].tolist() == [1, 2]
    assert math.isnan(frame["deviation"][0])
    assert frame["deviation"][1] == pytest.approx(math.sqrt(8))
    assert frame["features"].tolist() == ["I3D-VGGish", "ONE-PEACE"]
    assert frame["published"].tolist() == [49.5, 54.9]
    assert frame["difference"].tolist() == pytest.approx([5.5, -2.9])
    assert frame["table"].tolist() == ["loco/I", "loco/I"]
    assert (frame["M parameters"] == 1).all()
    assert (frame["GMACs"] == 2).all()
    assert "real features" in table.title


def test_what_is_not_comparable_never_shares_a_table():
    runs = [
        make_run(),
        make_run(protocol="thumos14-212"),
        make_run(protocol="thumos14-213"),
        make_run(sha="b" * 64),
        make_run(simulated=True),
    ]
    tables = tables_of(*runs)
    assert [len(table.frame) for table in tables] == [1] * 5
    assert len({table.title for table in tables}) == 5
    assert "mAP@0.1" in tables[0].frame
    assert "mAP@0.1" not in tables[1].frame


def test_simulated_features_are_called_so_and_stand_beside_nothing():
    (table,) = tables_of(make_run(simulated=True))
    assert "simulated features" in table.title
    assert any("say nothing about real videos" in note for note in table.notes)
    assert table.frame["features"].tolist() == ["simulated"]
    assert {"published", "difference"}.isdisjoint(table.frame)


def test_settings_are_told_where_they_differ():
    narrow = {"width": 64}
    runs = [
        make_run(0.5, changes=narrow),
        make_run(0.4, changes=narrow | {"attention": "global"}),
        make_run(0.3, changes=narrow, epochs=12),
        make_run(0.2, changes=narrow, data="unav100"),
    ]
    (table,) = tables_of(*runs)
    assert table.notes == ("All rows: width=64.",)
    settings = table.frame["settings"].tolist()
    assert "trainer.max_epochs=45" in settings[0]
    assert "attention=global" in settings[1]
    assert "attention" not in settings[0]  # its default
    assert "trainer.max_epochs=12" in settings[2]
    assert "data.visual_width=2048" in settings[3]


def test_single_row_tells_its_changes():
    (table,) = tables_of(make_run(changes={"ranges": list(range(1000))}))
    (settings,) = table.frame["settings"]
    assert settings.startswith("ranges=[0, 1")
    assert len(settings) < 80


def test_missing_videos_are_counted():
    (table,) = tables_of(make_run(missing=["a", "b"]), make_run(seed=1, missing=["c"]))
    assert table.frame["missing videos"].tolist() == [3]
    (table,) = tables_of(make_run())
    assert "missing videos" not in table.frame


def test_what_the_model_takes_from_the_data_is_told_once():
    def audio_only(**changes):
        run = make_run(0.4, changes={"modalities": "audio", "visual_width": 0} | changes)
        run.settings["data"]["modalities"] = "audio"
        return replace(run, changed=["modalities", *changes])

    (table,) = tables_of(make_run(), audio_only(), audio_only(width=64))
    settings = ["", "data.modalities=audio", "data.modalities=audio, width=64"]
    assert table.frame["settings"].tolist() == settings
    (table,) = tables_of(audio_only())
    assert table.frame["settings"].tolist() == ["data.modalities=audio"]


def test_notes_travel_with_published_figures():
    (table,) = tables_of(make_run())
    assert "loco/I: The average is over tIoU 0.1 to 0.9" in "\n".join(table.notes)
    assert any("LoCo (Ours): The first version prints 53.4" in note for note in table.notes)
    (table,) = tables_of(make_run(simulated=True))
    assert not any("loco/I" in note for note in table.notes)


def test_average_over_other_thresholds_is_not_set_against_a_run():
    """DEL prints the mean of three thresholds on ActivityNet, where the protocol has ten."""
    run = make_run(
        0.36, method="DEL", data="activitynet13_proposals", protocol="activitynet13-full"
    )
    row = get_table("del/2").rows[-1]
    settings = dict(_model_settings(row.words))
    run.settings["model"] = settings
    (table,) = tables_of(replace(run, changed=[]))
    assert table.frame["published"].tolist() == [38.0]
    assert table.frame["difference"].isna().all()
    assert any("mean of the three printed thresholds" in note for note in table.notes)


def test_effort_grows_with_the_number_of_systems():
    """Each is compared with one other, not with all: a thousand would take minutes."""
    looks = []

    class Watched(dict):
        def get(self, name, default=None):
            looks.append(name)
            return super().get(name, default)

    run = make_run()
    found = [FoundRun(str(x), replace(run, method="LoCo", data_seed=x)) for x in range(40)]
    groups = [group_runs([entry])[0][0] for entry in found]
    names = len(groups[0].settings)
    make_tables([replace(group, settings=Watched(group.settings)) for group in groups])
    assert len(looks) < 40 * names * 4
