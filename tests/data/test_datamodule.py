import gzip
import json

import lightning
import pytest
import torch
from jsonargparse import ArgumentParser
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn

from davezoo.annotations import AnnotationError
from davezoo.data import EventDataModule, Simulation
from davezoo.data.checks import MissingFeaturesError
from davezoo.data.features import FeatureError
from davezoo.errors import InputError
from davezoo.structures import Batch, FeatureGrid

TINY = Simulation(
    num_train=6, num_validation=2, num_test=2, rgb_width=3, flow_width=2, vggish_width=4
)


class Recorder(lightning.LightningModule):
    """Learns nothing and remembers what it was given."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = []

    def training_step(self, batch, index):
        self.seen.append((self.current_epoch, batch.video_ids, batch.visual.sum().item()))
        return self.weight * 0

    def validation_step(self, batch, index):
        if self.trainer.state.fn == "validate":
            self.seen.append(batch.video_ids)

    def test_step(self, batch, index):
        self.seen.append(batch.video_ids)

    def predict_step(self, batch, index):
        self.seen.append(batch.video_ids)
        return batch.video_ids

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def make_trainer(path, **settings):
    return lightning.Trainer(
        accelerator="cpu",
        logger=False,
        default_root_dir=path,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **settings,
    )


def fit(datamodule, path, epochs, ckpt_path=None):
    recorder = Recorder()
    checkpoint = ModelCheckpoint(path, save_last=True)
    trainer = make_trainer(path, max_epochs=epochs, callbacks=[checkpoint])
    trainer.fit(recorder, datamodule, ckpt_path=ckpt_path, weights_only=True)
    return recorder.seen


@pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers")
@pytest.mark.filterwarnings("ignore:The number of training batches")
@pytest.mark.filterwarnings("ignore:Checkpoint directory")
@pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.*")
@pytest.mark.parametrize("num_workers", [0, 2])
def test_resumed_run_sees_what_an_unbroken_one_sees(folder, tmp_path, num_workers):
    for index in range(6):
        folder.add(f"v{index}", steps=100)
    settings = {"crop_ratio": (0.5, 1.0), "val_split": "train"}
    unbroken = fit(folder.open(**settings), tmp_path / "a", 4)
    assert len(unbroken) == 12
    assert len({total for _, _, total in unbroken}) == 12  # every crop differs

    fit(folder.open(**settings), tmp_path / "b", 2)
    last = tmp_path / "b" / "last.ckpt"
    resumed = fit(folder.open(**settings, num_workers=num_workers), tmp_path / "b", 4, last)
    assert resumed == unbroken[6:]

    saved = torch.load(last, weights_only=True)
    assert saved["datamodule_hyper_parameters"]["grid"] == {"fps": 25, "stride": 8, "window": 24}
    again = EventDataModule.load_from_checkpoint(last, weights_only=True)
    assert again.grid == FeatureGrid(25, 8, 24)
    assert again.crop_ratio == (0.5, 1.0)


@pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers")
@pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.*")
@pytest.mark.parametrize("stage", ["validate", "test", "predict"])
def test_trainer_evaluates_the_videos_of_the_stage(folder, tmp_path, stage):
    for split in ("train", "validate", "test", "predict"):
        for index in range(3):
            folder.add(f"{split}{index}", subset=split)
    datamodule = folder.open(val_split="validate", test_split="test", predict_split="predict")
    recorder = Recorder()
    getattr(make_trainer(tmp_path), stage)(recorder, datamodule)
    assert recorder.seen == [[f"{stage}0", f"{stage}1"], [f"{stage}2"]]
    assert list(datamodule.datasets) == [stage]


def test_hyperparameters_are_plain_and_complete(folder):
    folder.add("v")
    datamodule = folder.open(grid=FeatureGrid(30, 16, 16), simulation=TINY)

    def kinds(value):
        if isinstance(value, dict):
            return set().union(*map(kinds, value.values()))
        return set().union(*map(kinds, value)) if isinstance(value, list) else {type(value)}

    hyperparameters = dict(datamodule.hparams)
    assert kinds(hyperparameters) <= {str, int, float, bool, type(None)}
    copy = EventDataModule(**hyperparameters)
    assert dict(copy.hparams) == hyperparameters
    assert copy.grid == FeatureGrid(30, 16, 16)
    assert copy.simulation == TINY


def test_command_line_knows_every_setting():
    parser = ArgumentParser()
    parser.add_class_arguments(EventDataModule, "data")
    arguments = [
        "--data.grid.fps=30",
        "--data.simulation.num_train=3",
        '--data.visual_files=["{video}.npy"]',
        "--data.crop_ratio=null",
    ]
    data = parser.instantiate(parser.parse_args(arguments)).data
    assert data.grid == FeatureGrid(30, 8, 24)
    assert data.simulation == Simulation(num_train=3)
    assert data.layout.visual_files == ["{video}.npy"]
    assert data.crop_ratio is None


def test_what_the_command_line_links_is_there_before_setup(folder):
    folder.add("v", events=[(1, 2, 0), (3, 4, 1)])
    datamodule = folder.open()
    assert datamodule.class_names == ["class 0", "class 1"]
    assert (datamodule.visual_width, datamodule.audio_width) == (5, 4)
    assert datamodule.max_length == 224
    assert datamodule.grid == FeatureGrid(25, 8, 24)


def test_annotation_file_may_be_zipped(folder):
    folder.add("v")
    datamodule = folder.open()
    path = folder.root / datamodule.annotations
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert datamodule.class_names == ["class 0"]


def test_home_folder_is_expanded(folder, monkeypatch):
    folder.add("v")
    folder.open()
    monkeypatch.setenv("HOME", str(folder.root.parent))
    datamodule = EventDataModule(f"~/{folder.root.name}")
    assert datamodule.class_names == ["class 0"]


def test_loaders(folder):
    for index in range(5):
        folder.add(f"v{index}", steps=30 + index)
    folder.add("w1", subset="validation")
    folder.add("w0", subset="validation", events=())
    datamodule = folder.open(val_split="validation", eval_batch_size=4)
    datamodule.setup()
    train = list(datamodule.train_dataloader())
    assert [len(batch.video_ids) for batch in train] == [2, 2]
    assert all(isinstance(batch, Batch) for batch in train)
    (val,) = datamodule.val_dataloader()
    assert val.video_ids == ["w1", "w0"]
    assert val.labels.tolist() == [[0], [-1]]
    order = [["v3", "v4", "v0", "v1"], ["v2"]]  # up to 32 steps fit into 64 with their padding
    assert [batch.video_ids for batch in datamodule.test_dataloader()] == order
    assert [batch.video_ids for batch in datamodule.predict_dataloader()] == order


def test_padding(folder):
    folder.add("a", steps=40)
    folder.add("b", steps=10)
    datamodule = folder.open()
    datamodule.setup("test")
    (batch,) = datamodule.test_dataloader()
    assert batch.visual.shape == (2, 5, 96)


def test_data_without_a_modality(folder):
    folder.add("a", steps=40)
    datamodule = folder.open(audio_files=[], audio_width=0)
    datamodule.setup("test")
    (batch,) = datamodule.test_dataloader()
    assert batch.audio.shape == (1, 0, batch.visual.shape[2])
    assert int(batch.mask.sum()) == 40


def test_workers_give_the_same_batches(folder):
    for index in range(4):
        folder.add(f"v{index}")

    def batches(num_workers):
        datamodule = folder.open(num_workers=num_workers)
        datamodule.setup("fit")
        loader = datamodule.train_dataloader()
        found = []
        for epoch in range(2):
            loader.sampler.set_epoch(epoch)
            found += [(batch.video_ids, batch.visual.sum().item()) for batch in loader]
        return found

    assert batches(0) == batches(2)


@pytest.mark.parametrize("kind", ["rgb", "flow", "vggish"])
def test_missing_files_are_counted_and_listed(folder, kind):
    for index in range(14):
        folder.add(f"v{index:02d}")
    for index in range(12):
        folder.path(f"v{index:02d}", kind).unlink()
    with pytest.raises(
        MissingFeaturesError, match="12 of 14 videos of the split 'train'"
    ) as caught:
        folder.dataset()
    message = str(caught.value)
    assert str(folder.root / "av_features") in message
    assert "'v09'" in message
    assert "'v10'" not in message
    assert "skip_unreadable" in message


def test_missing_files_may_be_skipped_but_still_count(folder):
    folder.add("gone")
    folder.add("there", events=[(1, 2, 1)])
    folder.path("gone", "flow").unlink()
    datamodule = folder.open(skip_unreadable=True)
    with pytest.warns(UserWarning, match="1 of 2 videos"):
        datamodule.setup("test")
    (split,) = datamodule.manifest("test").splits
    assert split.missing == {"gone": "no gone_flow.npy"}
    assert split.usable == 1
    assert datamodule.datasets["test"].video_ids == ["there"]
    assert datamodule.datasets["test"][0].labels.tolist() == [1]
    assert datamodule.ground_truth("train").videos.index.tolist() == ["gone", "there"]


def test_no_video_left(folder):
    folder.add("v")
    folder.path("v", "flow").unlink()
    with (
        pytest.warns(UserWarning, match="Skipped: 1 of 1"),
        pytest.raises(MissingFeaturesError, match="hold videos"),
    ):
        folder.dataset(skip_unreadable=True)


def test_features_in_subfolders(folder):
    folder.add("v")
    for kind in folder.widths:
        (folder.root / "av_features" / kind).mkdir()
        folder.path("v", kind).rename(folder.root / "av_features" / kind / "v.npy")
    dataset = folder.dataset(
        visual_files=["rgb/{video}.npy", "flow/{video}.npy"], audio_files=["vggish/{video}.npy"]
    )
    assert dataset[0].visual.shape == (5, 40)


def test_lengths_of_the_videos_to_evaluate(folder):
    folder.add("a", steps=90)
    folder.add("b", steps=30)
    folder.add("v", steps=50, audio_steps=46, subset="validation")
    folder.add("w", steps=45, subset="validation")
    folder.add("t", steps=60, subset="test")
    folder.add("damaged", steps=70, subset="test")
    folder.path("damaged", "vggish").write_bytes(b"")
    splits = {"val_split": "validation", "test_split": "test", "predict_split": "train"}
    datamodule = folder.open(skip_unreadable=True, **splits)
    datamodule.setup("fit")
    to_validate = {"v": 46, "w": 45}
    assert datamodule.video_lengths("fit") == to_validate  # training crops what is longer
    with pytest.warns(UserWarning, match="1 of 2 videos"):
        datamodule.setup("test")
    assert datamodule.video_lengths("fit") == {**to_validate, "t": 60}
    datamodule.setup("predict")
    found = {stage: datamodule.video_lengths(stage) for stage in ("validate", "test", "predict")}
    assert found == {"validate": to_validate, "test": {"t": 60}, "predict": {"a": 90, "b": 30}}
    assert datamodule.video_lengths(TrainerFn.TESTING) == {"t": 60}
    assert datamodule.video_lengths(TrainerFn.FITTING) == {**to_validate, "t": 60}


def test_wrong_width_shows_in_setup(folder):
    folder.add("v")
    with pytest.raises(FeatureError, match="visual_width"):
        folder.dataset(visual_width=2048)


def test_batch_larger_than_the_split(folder):
    folder.add("v")
    datamodule = folder.open(batch_size=2)
    datamodule.setup("fit")
    with pytest.raises(ValueError, match="got 2 for 1 videos"):
        datamodule.train_dataloader()


def test_unknown_split(folder):
    folder.add("v")
    with pytest.raises(AnnotationError, match=r"\['train'\], got 'nowhere'"):
        folder.dataset(test_split="nowhere")


def test_split_of():
    datamodule = EventDataModule(train_split="a", val_split="b", test_split="c", predict_split="d")
    stages = ["fit", "validate", "test", "predict"]
    assert [datamodule.split_of(stage) for stage in stages] == list("abcd")
    with pytest.raises(ValueError, match="got 'train'"):
        datamodule.split_of("train")


def test_bad_settings_are_refused_at_once(tmp_path):
    with pytest.raises(InputError, match="multiple of 32"):
        EventDataModule(str(tmp_path / "nowhere"), max_length=100)


@pytest.mark.parametrize("exists", [True, False])
def test_empty_root_is_simulated(tmp_path, exists):
    root = tmp_path / "data"
    if exists:
        root.mkdir()
    datamodule = EventDataModule(str(root), visual_width=5, audio_width=4, simulation=TINY)
    assert len(datamodule.class_names) == 5
    datamodule.prepare_data()
    datamodule.setup()
    assert len(datamodule.datasets["fit"]) == 6
    assert datamodule.datasets["test"][0].visual.shape[0] == 5


def test_broken_simulation_is_finished(tmp_path):
    settings = {"visual_width": 5, "audio_width": 4, "simulation": TINY}
    EventDataModule(str(tmp_path), **settings).prepare_data()
    lost = tmp_path / "av_features" / "train_00003_rgb.npy"
    content = lost.read_bytes()
    lost.unlink()
    datamodule = EventDataModule(str(tmp_path), **settings)
    datamodule.prepare_data()
    datamodule.setup()
    assert lost.read_bytes() == content


def test_real_data_is_never_simulated_over(folder):
    folder.add("v")
    datamodule = folder.open(simulation=TINY)
    before = sorted(folder.root.rglob("*"))
    datamodule.prepare_data()
    assert datamodule.class_names == ["class 0"]
    assert sorted(folder.root.rglob("*")) == before


def test_longer_videos_come_first_in_batches_alone(folder, tmp_path):
    for index, steps in enumerate([20, 300, 30, 250]):
        folder.add(f"v{index}", steps=steps)

    def order(**settings):
        datamodule = folder.open(**settings)
        datamodule.setup("predict")
        return [video for batch in datamodule.predict_dataloader() for video in batch.video_ids]

    assert order(eval_batch_size=2) == ["v1", "v3", "v0", "v2"]
    assert order(eval_batch_size=1) == ["v0", "v1", "v2", "v3"]


@pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers")
@pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.*")
@pytest.mark.parametrize("stage", ["validate", "test", "predict"])
def test_lightning_keeps_the_order(folder, tmp_path, stage):
    for index, steps in enumerate([20, 300, 30]):
        folder.add(f"v{index}", steps=steps)
    recorder = Recorder()
    getattr(make_trainer(tmp_path), stage)(recorder, folder.open())
    assert recorder.seen == [["v1", "v0"], ["v2"]]


def test_training_batches_hold_videos_of_like_lengths(folder):
    for index in range(12):
        folder.add(f"v{index}", steps=30 if index % 2 else 200)
    datamodule = folder.open(bucket_ratio=2.0, crop_ratio=None, batch_size=3)
    datamodule.setup("fit")
    sums = [batch.mask.sum(1).tolist() for batch in datamodule.train_dataloader()]
    assert sorted(sums) == [[30] * 3, [30] * 3, [200] * 3, [200] * 3]


def test_manifest(folder):
    for index in range(6):
        folder.add(
            f"v{index}", subset="train" if index < 4 else "test", events=[(1, 1, 0), (2, 3, 0)]
        )
    folder.add("w", subset="nobody's")
    del folder.database["w"]
    datamodule = folder.open(train_split="train", val_split="test", test_split="Test")
    with pytest.warns(UserWarning, match="Left out of the training split 'train': 4 zero-length"):
        datamodule.setup("fit")
    datamodule.setup("test")
    manifest = datamodule.manifest(TrainerFn.FITTING)
    train, test = manifest.splits
    assert (train.split, train.stages, train.videos) == ("train", ["fit"], 4)
    assert train.left_out["zero-length events"] == 4
    assert (test.split, test.stages, test.videos) == ("test", ["validate", "test"], 2)
    assert manifest.stray_files == ["w_flow.npy", "w_rgb.npy", "w_vggish.npy"]
    assert [split.split for split in datamodule.manifest("test").splits] == ["test"]
    json.dumps(manifest.to_dict())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--data.annotations=null"], ("annotations", None)),
        (
            ["--data.annotations={training: a.csv, test: b.csv}"],
            ("annotations", ["a.csv", "b.csv"]),
        ),
        (["--data.video_info=[a.csv, b.csv]"], ("video_info", ["a.csv", "b.csv"])),
        (["--data.audio_grid={fps: 100, stride: 96, window: 96}"], ("audio_grid", [100, 96, 96])),
        (["--data.labels=noun"], ("labels", "noun")),
        (["--data.resize_to=160"], ("resize_to", 160)),
        (["--data.bucket_ratio=1.5"], ("bucket_ratio", 1.5)),
    ],
)
def test_command_line_knows_every_form(words, expected):
    parser = ArgumentParser()
    parser.add_class_arguments(EventDataModule, "data")
    name, value = expected
    found = parser.instantiate(parser.parse_args(words)).data.hparams[name]
    assert (list(found.values()) if isinstance(found, dict) else found) == value
