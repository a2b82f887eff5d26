import torch

from davezoo.data.collate import collate
from davezoo.data.dataset import Sample
from davezoo.structures import FeatureGrid

GRID = FeatureGrid(25, 8, 24)


def sample(steps, num_events, name="v", has_audio=True):
    return Sample(
        visual=torch.rand(3, steps) + 1,
        audio=torch.rand(2, steps) + 1,
        segments=torch.rand(num_events, 2) + 1,
        labels=torch.arange(num_events),
        video_id=name,
        duration=float(steps),
        grid=GRID,
        has_audio=has_audio,
    )


def test_collate_pads_and_marks():
    samples = [sample(40, 2, "a"), sample(10, 0, "b"), sample(70, 1, "c")]
    batch = collate(samples, 224, 32)
    assert batch.visual.shape == (3, 3, 128)
    assert batch.audio.shape == (3, 2, 128)
    assert batch.mask.shape == (3, 128)
    assert batch.mask.dtype == torch.bool
    assert batch.mask.sum(1).tolist() == [40, 10, 70]
    for row, one in enumerate(samples):
        steps, events = one.visual.shape[1], len(one.labels)
        assert batch.mask[row, :steps].all()
        assert torch.equal(batch.visual[row, :, :steps], one.visual)
        assert torch.equal(batch.audio[row, :, :steps], one.audio)
        assert not batch.visual[row, :, steps:].any()
        assert not batch.audio[row, :, steps:].any()
        assert torch.equal(batch.segments[row, :events], one.segments)
        assert not batch.segments[row, events:].any()
        assert torch.equal(batch.labels[row, :events], one.labels)
        assert (batch.labels[row, events:] == -1).all()
    assert batch.segments.shape == (3, 2, 2)
    assert batch.labels.dtype == torch.int64
    assert batch.video_ids == ["a", "b", "c"]
    assert batch.durations == [40.0, 10.0, 70.0]
    assert batch.grids == [GRID] * 3


def test_batch_without_events_has_one_empty_row():
    batch = collate([sample(5, 0), sample(6, 0)], 224, 32)
    assert batch.segments.tolist() == [[[0, 0]], [[0, 0]]]
    assert batch.labels.tolist() == [[-1], [-1]]


def test_without_sound_no_step_has_any():
    samples = [sample(40, 1, has_audio=False), sample(33, 1)]
    assert collate(samples, 224, 32).audio_mask is None
    batch = collate(samples, 224, 32, may_lack_audio=True)
    assert not batch.audio_mask[0].any()
    assert torch.equal(batch.audio_mask[1], batch.mask[1])
