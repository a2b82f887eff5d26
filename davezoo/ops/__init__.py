"""Pure functions on tensors: segments, points, losses, decoding, non-maximum suppression."""
