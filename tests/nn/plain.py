"""The plain blocks of the benchmarks, with the weights of ours."""

import torch

from benchmarks.reference_unav import Block


def randomise(module):
    """Give every parameter, norms and gains too, a value that shows a mistake."""
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return module


def copy_weights(ours, plain):
    """Load the weights of `ours` into a plain module whose parameters have the same names."""
    shapes = {name: parameter.shape for name, parameter in plain.named_parameters()}
    weights = ours.state_dict()
    plain = plain.to(next(ours.parameters()).dtype)
    plain.load_state_dict({name: x.reshape(shapes[name]) for name, x in weights.items()})
    return plain


def plain_block(ours, num_heads, mlp_ratio):
    """Return the plain form of a `ConvAttentionBlock`: it masks after every convolution."""
    width = len(ours.norm_x.weight)
    mlp_width = mlp_ratio * width
    return copy_weights(ours, Block(width, num_heads, ours.stride, mlp_width, drop_path=0.0))


def run_plain(block, x, y, mask, mask_keys=True):
    """Run a plain block, whose sequences are (N, C, T), on (N, T, C)."""
    out = block(x.transpose(1, 2), y.transpose(1, 2), mask[:, None], mask_keys)
    return out.transpose(1, 2)
