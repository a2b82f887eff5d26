"""Both modalities on one time axis: by time stamps, resized, or cut to the shorter."""

import numpy as np
import torch

from davezoo.data.features import FeatureLayout, open_store
from davezoo.data.streams import AlignedStreams, open_stream
from davezoo.structures import FeatureGrid

VISUAL = FeatureGrid(25, 8, 24)
VGGISH = FeatureGrid(100, 96, 96)


def seconds_on(grid, num_steps):
    """Features that are their own second."""
    return grid.to_seconds(torch.arange(float(num_steps), dtype=torch.float64))[:, None]


def aligned(folder, visual, audio, **settings):
    np.save(folder / "v_a.npy", np.asarray(visual, np.float32))
    np.save(folder / "v_b.npy", np.asarray(audio, np.float32))
    layout = FeatureLayout(folder, ["{video}_a.npy"], ["{video}_b.npy"], 1, 1, VISUAL, **settings)
    store = open_store(folder)
    opened = {
        modality: open_stream(store, layout, modality, "v", VISUAL.fps)
        for modality in ("visual", "audio")
        if layout.patterns(modality)
    }
    return AlignedStreams(layout, opened)


def test_audio_is_read_at_the_seconds_of_the_visual_steps(tmp_path):
    visual, audio = seconds_on(VISUAL, 90), seconds_on(VGGISH, 31)
    streams = aligned(tmp_path, visual, audio, audio_grid=VGGISH)
    assert streams.num_steps == 90
    heard = streams.read("audio", 0, 90)[0]
    expected = visual[:, 0].clamp(VGGISH.to_seconds(torch.tensor(0.0)), audio[-1, 0])
    torch.testing.assert_close(heard, expected.float(), atol=1e-5, rtol=0)
    assert torch.equal(streams.read("audio", 20, 30)[0], heard[20:50])
