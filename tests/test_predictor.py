"""A model in use: videos in chunks; what a checkpoint says is tested in `test_checkpoints`."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import davezoo
from davezoo import CCNet, UnAV
from davezoo.predictor import EventPredictor
from davezoo.structures import FeatureGrid, Predictions
from davezoo.task import EventLocalizer
from tests.test_arrays import VGGISH, make_batch
from tests.test_task import model


def long_video(num_steps: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    visual, audio = (torch.randn(2, width, num_steps, generator=generator) for width in (6, 4))
    return visual, audio, torch.arange(num_steps) < torch.tensor([[num_steps], [40]])


def near_sighted(**settings: object) -> UnAV:
    """Return a model on two levels of which every point sees few steps and no position."""
    near: dict[str, object] = {
        "regression_ranges": [(0, 4), (4, 10000)],
        "attention_window": 3,
        "num_unimodal_blocks": 1,
        "dependency_width": 4,
        "max_length": 128,
    }
    module = model(**near, **settings).eval()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    module.detector.encoder.positions.table.zero_()
    return module


def assert_equal(found: Predictions, expected: Predictions) -> None:
    for name in ("logits", "offsets", "masks"):
        for ours, theirs in zip(getattr(found, name), getattr(expected, name), strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_a_video_that_fits_is_read_whole() -> None:
    whole, chunked = model().eval(), model(chunk_length=64).eval()
    inputs = long_video(64)
    for name, found in vars(chunked(*inputs)).items():
        assert (name != "features") or found
    assert_equal(chunked(*inputs), whole(*inputs))


@torch.inference_mode()
def test_chunks_have_the_points_of_the_whole() -> None:
    whole, chunked = model().eval(), model(chunk_length=64).eval()
    inputs = long_video(160)
    found, expected = chunked(*inputs), whole(*inputs)
    assert found.features == {}
    for name in ("logits", "offsets", "masks"):
        shapes = [[x.shape for x in getattr(p, name)] for p in (found, expected)]
        assert shapes[0] == shapes[1]
    for ours, theirs in zip(found.masks, expected.masks, strict=True):
        assert torch.equal(ours, theirs)
    # The first chunk is a video of its own.
    first = chunked(*(x[..., :64] for x in inputs))
    torch.testing.assert_close(found.logits[0][:, :48], first.logits[0][:, :48])


@torch.inference_mode()
def test_a_network_that_sees_less_than_half_the_overlap_answers_as_the_whole() -> None:
    """Of every point, level and video, also a shorter one and one that ends at a border."""
    whole, chunked = near_sighted(), near_sighted(chunk_length=64, chunk_overlap=48)
    chunked.load_state_dict(whole.state_dict())
    visual, audio, mask = long_video(200)
    expected, found = (module(visual, audio, mask) for module in (whole, chunked))
    assert_equal(found, expected)
    short = near_sighted(chunk_length=64, chunk_overlap=0)
    short.load_state_dict(whole.state_dict())
    assert not torch.allclose(short(visual, audio, mask).logits[0], expected.logits[0], atol=1e-3)


def test_training_reads_everything_at_once() -> None:
    module = model(chunk_length=32).train()
    assert module(*long_video(64)).features


@torch.inference_mode()
def test_detectors_of_a_fixed_length_read_long_videos_in_chunks() -> None:
    torch.manual_seed(0)
    names = ["dog", "bell", "rain"]
    small = {"width": 8, "head_width": 8, "dependency_width": 4, "max_length": 64}
    module = CCNet(names, 6, 4, chunk_length=32, **small).eval()  # type: ignore[arg-type]
    assert module.chunk_length == 64
    predictions = module(*long_video(160))
    assert [x.shape[1] for x in predictions.logits] == [160, 80, 40, 20, 10, 5]
    assert module.predict(*(x[0].T for x in long_video(160)[:2]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"chunk_length": 72}, "`chunk_length` .* multiple of the coarsest stride 32, got 72"),
        ({"chunk_length": 0}, "got 0"),
        ({"chunk_length": 64, "chunk_overlap": 32}, "`chunk_overlap` .* multiple of 64.* got 32"),
        ({"chunk_length": 64, "chunk_overlap": 64}, "less than the 64 steps"),
    ],
)
def test_chunks_that_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model(**settings)


def test_overlap_is_about_half_a_chunk() -> None:
    overlaps = {length: model(chunk_length=length).chunk_overlap for length in (32, 128, 224, 512)}
    assert overlaps == {32: 0, 128: 64, 224: 64, 512: 256}
    assert model(chunk_length=512, chunk_overlap=64).chunk_overlap == 64


def test_abstract() -> None:
    with pytest.raises(TypeError, match="abstract"):
        EventPredictor(None, [], None)  # type: ignore[abstract, arg-type]


@pytest.mark.parametrize("num_steps", [40, 160])
def test_a_video_without_sound(num_steps: int) -> None:
    """In one piece and in chunks: no audio is what a mask without any step says."""
    module = model(chunk_length=64).eval()
    rng = np.random.default_rng(0)
    visual, audio = rng.normal(size=(num_steps, 6)), rng.normal(size=(num_steps, 4))
    batch = make_batch(visual, audio)
    silent = replace(batch, audio_mask=torch.zeros_like(batch.mask))
    with torch.inference_mode():
        expected, loud = (module.detect(module(*b.inputs), b)[0] for b in (silent, batch))
    found = module.predict(visual, None)
    assert len(found) > 10
    assert [event.score for event in found] == pytest.approx(expected.scores.tolist())
    assert [event.score for event in found] != pytest.approx(loud.scores.tolist())


@pytest.mark.parametrize("method", ["UnAV", "CCNet", "LoCo", "DEL"])
def test_real_features(shared: Path, method: str) -> None:
    """I3D of 2.56 s and VGGish of 0.96 s, some videos longer than the weights; also silent."""
    small = {"width": 16, "head_width": 16, "max_length": 64}
    grids = {"grid": FeatureGrid(25, 64, 64), "audio_grid": VGGISH}
    build = getattr(davezoo, method)
    torch.manual_seed(0)
    module: EventLocalizer = build(["dog", "bell"], 2048, 128, **small, **grids, chunk_length=64)
    with np.load(shared / "data/features/bmt_style_rgb_flow_vggish.npz") as arrays:
        videos = sorted({name.rpartition("__")[0] for name in arrays.files})
        assert len(videos) == 15
        for video in videos:
            rgb, flow, audio = (arrays[f"{video}__{kind}"] for kind in ("rgb", "flow", "vggish"))
            visual = np.concatenate([rgb, flow], axis=1)
            own = {}
            if len(audio) == len(rgb):  # of one video: cut like its pictures
                with pytest.raises(ValueError, match=r"end together .* 92\.16 s and 34\.56 s"):
                    module.predict(visual, audio)
                own = {"audio_grid": module.grid}
            for events in (module.predict(visual, audio, **own), module.predict(visual, None)):
                last = 2.56 * len(rgb) + 1e-4
                assert all(0 <= event.start <= event.end <= last for event in events)
                beyond = 64 if len(rgb) > 64 else 0  # what chunks after the first one found
                assert max(event.end for event in events) > 2.56 * beyond
