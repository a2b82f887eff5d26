"""A detector small enough to count its weights by hand."""

import torch
import torch.nn.functional as F

from davezoo.nn.detector import Detector
from davezoo.nn.layers import DepthwiseConv, TemporalConv
from davezoo.structures import Predictions


class TinyDetector(Detector):
    """Two levels, both answered from one product of visual and audio features."""

    def __init__(self, visual_width=3, audio_width=2, num_classes=4, max_length=8, **changes):
        pyramid = {"strides": [1, 2], "regression_ranges": [(0, 4), (4, 100)], **changes}
        super().__init__(visual_width, audio_width, num_classes, max_length, **pyramid)
        self.wide = TemporalConv(visual_width, 6, bias=True)
        self.narrow = TemporalConv(6, 2)
        self.depthwise = DepthwiseConv(audio_width)
        self.norm = torch.nn.LayerNorm(2)
        self.linear = torch.nn.Linear(2, num_classes)
        self.unused = torch.nn.Linear(7, 7)

    def forward(self, visual, audio, mask, audio_mask=None):
        streams, masks = self.prepare(visual, audio, mask, audio_mask)
        mask = masks.video
        steps = mask.shape[1]
        x = self.narrow(self.wide(streams["visual"], mask, [steps]), mask, [steps])
        y = self.depthwise(streams["audio"])
        mixed = F.scaled_dot_product_attention(x[:, None], y[:, None, ::2], y[:, None, ::2])
        logits = self.linear(self.norm(mixed[:, 0]))
        offsets = logits.relu()[..., None].expand(*logits.shape, 2)
        return Predictions([logits], [offsets], [mask])
