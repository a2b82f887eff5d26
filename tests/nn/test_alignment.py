"""Adaptive attention against a dense mask over both streams, and the alignment around it."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from davezoo.nn.alignment import AdaptiveAlignment, AdaptiveAttention
from davezoo.nn.masks import StreamMasks
from tests.nn.plain import randomise

STREAMS = ["visual", "audio"]


def dense_mask(mask):
    """Return who may attend to whom in [summary, steps, summary, steps], (B, M N, M N)."""
    num_streams, batch, steps = mask.shape
    size = 1 + steps
    allowed = torch.zeros(batch, num_streams * size, num_streams * size, dtype=torch.bool)
    for b in range(batch):
        for m in range(num_streams):
            for row in range(size):
                for column in range(size):
                    valid = column == 0 or mask[m, b, column - 1]
                    allowed[b, m * size + row, m * size + column] = valid
                if row and num_streams == 2:
                    missing = mask[m, b, row - 1] and not mask[1 - m, b, row - 1]
                    allowed[b, m * size + row, (1 - m) * size + row] = not missing
    return allowed


def dense_attention(ours, x, mask):
    """Attend over both streams as one sequence, with a mask over all pairs."""
    rows = torch.cat(list(x), dim=1)  # (B, M N, C)
    query, key, value = (
        layer(rows).unflatten(-1, (ours.num_heads, -1)).transpose(1, 2)
        for layer in (ours.query, ours.key, ours.value)
    )
    allowed = dense_mask(mask)[:, None]
    mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
    return torch.stack(ours.out(mixed.transpose(1, 2).flatten(2)).chunk(len(x), dim=1))


def test_dense_mask_is_the_published_one(arrays_of_del):
    expected = torch.from_numpy(arrays_of_del["mask/attention"])
    lengths = torch.tensor([64, 37, 9])
    mask = torch.arange(64) < lengths[:, None]
    assert torch.equal(dense_mask(torch.stack([mask, mask])), expected)


@pytest.fixture(scope="module")
def arrays_of_del(golden):
    import numpy as np

    with np.load(golden / "del" / "golden_small.npz") as file:
        return dict(file)


@settings(max_examples=20, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    num_streams=st.sampled_from([1, 2]),
    complete=st.booleans(),
    seed=st.integers(0, 100),
)
def test_attention_is_that_of_the_dense_mask(lengths, num_streams, complete, seed):
    """Also where a stream lacks some steps, or all."""
    torch.manual_seed(seed)
    attention = randomise(AdaptiveAttention(8, 2)).double()
    x = torch.randn(num_streams, len(lengths), 7, 8, dtype=torch.float64)
    mask = torch.arange(6) < torch.tensor(lengths)[:, None]
    mask = mask & (torch.rand(num_streams, len(lengths), 6) < (1.1 if complete else 0.5))
    torch.testing.assert_close(attention(x, mask), dense_attention(attention, x, mask))


def alignment(streams=STREAMS, **changes):
    torch.manual_seed(0)
    widths = {name: {"visual": 6, "audio": 3}[name] for name in streams}
    steps = {"max_length": 8, "length_multiple": 4}
    return randomise(AdaptiveAlignment(widths, 16, **steps, **changes)).double()


def draw(lengths, steps=8, streams=STREAMS):
    torch.manual_seed(1)
    mask = torch.arange(steps) < torch.tensor(lengths)[:, None]
    widths = {"visual": 6, "audio": 3}
    drawn = {n: torch.randn(*mask.shape, widths[n]).double() * mask[..., None] for n in streams}
    return drawn, StreamMasks(mask)


def test_summary_after_one_layer_knows_its_own_stream_alone():
    streams, mask = draw([8, 5])
    other = {**streams, "audio": streams["audio"].flip(1)}
    one, two = alignment(num_layers=1), alignment(num_layers=2)
    torch.testing.assert_close(one(streams, mask)[1]["visual"], one(other, mask)[1]["visual"])
    first, second = (two(x, mask)[1]["visual"] for x in (streams, other))
    assert not torch.allclose(first, second)  # a second layer hears it from the visual steps


def test_layers_share_their_weights_unless_told():
    streams, mask = draw([8, 5])
    shared, apart = alignment(), alignment(share_layers=False)
    assert (len(shared.layers), len(apart.layers)) == (1, 2)
    weights = shared.state_dict()
    again = {n.replace("layers.0", "layers.1"): x for n, x in weights.items() if "layers.0" in n}
    apart.load_state_dict({**weights, **again})
    for found, expected in zip(apart(streams, mask), shared(streams, mask), strict=True):
        torch.testing.assert_close(found, expected)


def test_one_stream_alone():
    """With the weights of both it answers otherwise: nothing comes from a partner."""
    both, alone = alignment(), alignment(["visual"])
    names = alone.state_dict().keys()
    alone.load_state_dict({name: both.state_dict()[name] for name in names})
    streams, mask = draw([8, 5])
    tokens, summary = alone({"visual": streams["visual"]}, mask)
    assert set(tokens) == set(summary) == {"visual"}
    assert tokens["visual"].shape == (2, 8, 16)
    other = both(streams, mask)[0]["visual"]
    assert not torch.allclose(tokens["visual"], other)


def test_without_attention_the_summary_is_the_mean_of_the_valid_steps():
    module = alignment(attend=False)
    streams, mask = draw([8, 5])
    tokens, summary = module(streams, mask)
    mean = module.projections["audio"](streams["audio"][1:, :5]).mean(1)
    torch.testing.assert_close(summary["audio"][1:], mean)
    x = module.projections["audio"](streams["audio"])
    expected = module.outs["audio"](module.norms["audio"](x))
    torch.testing.assert_close(tokens["audio"], expected)
    assert not [name for name, _ in module.named_parameters() if "layers" in name]


def test_published_tokens_are_not_masked():
    streams, masks = draw([8, 5])
    mask = masks.video
    published, free = alignment(), alignment(length_free=True)
    assert published(streams, masks)[0]["visual"][~mask].all()
    assert not free(streams, masks)[0]["visual"][~mask].any()
    assert free(streams, masks)[0]["visual"][mask].any()


@settings(max_examples=20, deadline=None)
@given(length=st.integers(1, 8), steps=st.integers(8, 14), attend=st.booleans())
def test_length_free_tokens_do_not_depend_on_padding(length, steps, attend):
    module = alignment(length_free=True, attend=attend)
    streams, mask = draw([length], steps)
    short = {name: x[:, :length] for name, x in streams.items()}
    expected = module(short, StreamMasks(mask.video[:, :length]))
    found = module(streams, mask)
    for name in STREAMS:
        torch.testing.assert_close(found[0][name][:, :length], expected[0][name])
        torch.testing.assert_close(found[1][name], expected[1][name])


@pytest.mark.parametrize("length_free", [False, True])
@pytest.mark.parametrize("attend", [False, True])
def test_without_sound_the_visual_stream_is_alone(attend, length_free):
    switches = {"attend": attend, "length_free": length_free}
    both, alone = alignment(**switches), alignment(["visual"], **switches)
    alone.load_state_dict({name: both.state_dict()[name] for name in alone.state_dict()})
    streams, masks = draw([8, 5])
    silent = torch.zeros_like(masks.video)
    tokens, summary = both(streams, StreamMasks(masks.video, {"audio": silent}))
    expected, expected_summary = alone({"visual": streams["visual"]}, masks)
    # As published, partners on padded steps attend to each other.
    steps = masks.video
    torch.testing.assert_close(tokens["visual"][steps], expected["visual"][steps])
    torch.testing.assert_close(summary["visual"], expected_summary["visual"])
    assert tokens["audio"].isfinite().all()
    assert tokens["audio"].any() != length_free
    assert attend or not summary["audio"].any()


def test_longer_than_the_table():
    streams, mask = draw([30], steps=32)
    tokens, _ = alignment(length_free=True)(streams, mask)
    assert tokens["audio"].shape == (1, 32, 16)
    assert tokens["audio"].isfinite().all()


def test_attention_in_half_precision():
    attention = AdaptiveAttention(16, 8)
    x = 100 * torch.randn(2, 1, 9, 16)
    with torch.autocast("cpu", torch.bfloat16):
        found = attention(x, torch.zeros(2, 1, 8, dtype=torch.bool))
    assert found.isfinite().all()


def test_start_is_the_published_one():
    torch.manual_seed(0)
    module = AdaptiveAlignment({"visual": 64}, 64, max_length=64, length_multiple=4)
    for name, x in module.named_parameters():
        if x.ndim > 1:
            assert float(x.detach().std()) == pytest.approx(0.02, rel=0.3), name
        else:  # vectors are those of biases and norms
            assert (x == (0 if name.endswith("bias") else 1)).all(), name


@pytest.mark.parametrize("heads", [8, 0, -2])
def test_heads_that_do_not_divide_the_width(heads):
    with pytest.raises(ValueError, match=f"{heads} heads and width 20; change the width"):
        AdaptiveAlignment({"visual": 3}, 20, max_length=8, length_multiple=4, num_heads=heads)
