"""Layouts are read from data files, packaged or one's own."""

import pytest
import yaml

from davezoo.data.simulated_layout import read_layout
from davezoo.errors import InputError
from davezoo.recipes import FOLDER

DATA_FILES = sorted(path.stem for path in FOLDER.glob("data/*.yaml"))


@pytest.mark.parametrize("like", DATA_FILES)
def test_every_packaged_data_file_is_a_layout(like):
    settings = yaml.safe_load((FOLDER / f"data/{like}.yaml").read_text())
    layout = read_layout(like)
    widths = {"visual": 0, "audio": 0}
    for file in layout.files:
        widths[file.modality] += file.width
        assert file.own_fps == (settings["own_fps"] and file.modality == "visual")
    assert widths == {"visual": settings["visual_width"], "audio": settings["audio_width"]}


def test_unav100_is_the_default():
    assert read_layout(None) == read_layout("unav100")
    assert [file.kind for file in read_layout(None).files] == ["rgb", "flow", "vggish"]


def test_what_a_file_leaves_out_is_as_in_unav100(tmp_path):
    (tmp_path / "mine.yaml").write_text("visual_width: 10\n")
    assert read_layout(str(tmp_path / "mine.yaml")) == read_layout(None, 10)


def test_audio_grid_is_that_of_the_audio_alone():
    visual, audio = read_layout("thumos14").files
    assert (visual.fps, visual.stride, visual.window, visual.own_fps) == (30, 4, 16, True)
    assert (audio.fps, audio.stride, audio.window, audio.own_fps) == (100, 96, 96, False)


def test_archives_have_members():
    visual, audio = read_layout("epic100_noun").files
    assert (visual.name, visual.member) == ("features/{video}.npz", "feats")
    assert audio.member is None


def test_widths_are_shared_out():
    assert [file.width for file in read_layout(None, 5, 2).files] == [3, 2, 2]
    assert [file.width for file in read_layout(None, [1, 4], [2]).files] == [1, 4, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("visual_width: 1", "at least one channel for each"),
        ('visual_files: ["{video}.txt"]', "end in .npy or .npz"),
        ('visual_files: ["rgb.npy"]', "with {video}"),
        ('visual_files: ["/tmp/{video}.npy"]', "with {video}"),
        ('visual_files: ["{video}_vggish.npy"]', "to differ beside {video}"),
    ],
)
def test_bad_data_files_are_refused(tmp_path, text, message):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        read_layout(str(tmp_path / "bad.yaml"))
