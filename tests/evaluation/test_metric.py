"""The metric scores what `davezoo evaluate` scores, however the videos arrive."""

import copy
import pickle
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from davezoo.evaluation.metric import TemporalMeanAveragePrecision
from davezoo.evaluation.predictions import (
    PredictionError,
    PredictionTable,
    read_predictions,
    write_predictions,
)
from davezoo.evaluation.protocols import PROTOCOLS, ProtocolError
from davezoo.evaluation.scoring import score
from davezoo.structures import Events
from tests.evaluation.tables import make_annotations
from tests.evaluation.two_processes import score_share

VIDEOS = [f"video {i}" for i in range(12)]


def random_events(count, generator):
    """Detections with few different times and scores, so that ties are common."""
    start = torch.randint(0, 9, (count,), generator=generator).float()
    length = torch.randint(0, 9, (count,), generator=generator).float()
    return Events(
        segments=torch.stack([start, start + length], dim=1) / 3,
        labels=torch.randint(0, 4, (count,), generator=generator),
        scores=torch.randint(0, 10, (count,), generator=generator).float() / 10,
    )


def make_problem(seed=0):
    """Annotations, the last class without events, and detections of most videos."""
    generator = torch.Generator().manual_seed(seed)
    annotated = []
    for video in VIDEOS:
        events = random_events(4, generator)
        labels = (events.labels % 3).tolist()
        annotated += [(video, *pair) for pair in zip(labels, events.segments.tolist(), strict=True)]
    annotations = make_annotations(annotated, VIDEOS, ["a", "b", "c", "d"])
    counts = torch.randint(0, 15, (len(VIDEOS),), generator=generator).tolist()
    found = {v: random_events(n, generator) for v, n in zip(VIDEOS, counts, strict=True)}
    del found[VIDEOS[3]]
    return annotations, found


def batches(found, size, order=None):
    names = list(found) if order is None else [list(found)[i] for i in order]
    return [
        (names[i : i + size], [found[name] for name in names[i : i + size]])
        for i in range(0, len(names), size)
    ]


def run_metric(annotations, updates, **options):
    metric = TemporalMeanAveragePrecision(annotations, **options)
    for video_ids, predictions in updates:
        metric.update(video_ids, predictions)
    return metric


@pytest.fixture(scope="module")
def problem():
    return make_problem()


@pytest.fixture(scope="module")
def expected(problem):
    annotations, found = problem
    return score(annotations, PredictionTable.from_events(found, annotations.class_names))


@pytest.mark.parametrize(
    "protocol", ["unav100", "thumos14-212", "activitynet13-full", "epic100-verb"]
)
def test_equals_the_score_of_the_written_file(problem, tmp_path, protocol):
    annotations, found = problem
    metric = run_metric(annotations, batches(found, 4), protocol=protocol)
    backwards = dict(reversed(found.items()))
    table = PredictionTable.from_events(backwards, annotations.class_names)
    write_predictions(tmp_path / "p.json", table)
    result = score(annotations, read_predictions(tmp_path / "p.json"), protocol)
    assert metric.result() == result
    assert 0 < result.avg_map < 1


def test_blocked_and_excluded_videos_leave_with_their_detections(problem, tmp_path):
    annotations, found = problem
    protocol = replace(PROTOCOLS["activitynet13-blocked"], excluded_videos=(VIDEOS[2], "elsewhere"))
    blocked = [VIDEOS[0], VIDEOS[2], VIDEOS[5], "nowhere"]
    metric = run_metric(annotations, batches(found, 4), protocol=protocol, blocked=blocked)
    write_predictions(
        tmp_path / "p.json", PredictionTable.from_events(found, annotations.class_names)
    )
    result = metric.result()
    assert result == score(annotations, read_predictions(tmp_path / "p.json"), protocol, blocked)
    assert (result.num_blocked_videos, result.num_excluded_videos) == (2, 1)
    assert result.num_blocked_predictions == len(found[VIDEOS[0]]) + len(found[VIDEOS[5]])
    assert result.num_excluded_predictions == len(found[VIDEOS[2]])
    assert result.num_expected_videos == len(VIDEOS) - 3


def test_numbers_and_names(problem, expected):
    scores = run_metric(problem[0], batches(problem[1], 5)).compute()
    assert list(scores) == ["avg_map", *(f"map_{percent}" for percent in range(10, 100, 10))]
    assert all(value.ndim == 0 for value in scores.values())
    assert [value.item() for value in scores.values()] == [expected.avg_map, *expected.map]


def test_thresholds_in_percent(problem):
    scores = run_metric(
        *problem[:1], batches(problem[1], 5), protocol="activitynet13-full"
    ).compute()
    assert list(scores) == ["avg_map", *(f"map_{percent}" for percent in range(50, 100, 5))]


@settings(max_examples=40, deadline=None)
@given(st.permutations(range(len(VIDEOS) - 1)), st.integers(1, 12))
def test_order_and_batching_do_not_matter(order, size):
    annotations, found = make_problem(1)
    expected = score(annotations, PredictionTable.from_events(found, annotations.class_names))
    assert run_metric(annotations, batches(found, size, order)).result() == expected


def test_counts(problem):
    result = run_metric(problem[0], batches(problem[1], 3)).result()
    assert result.missing_videos == [VIDEOS[3]]
    assert result.num_scored_videos == len(VIDEOS) - 1
    unknown = sum((events.labels == 3).sum().item() for events in problem[1].values())
    assert result.unknown_labels == {"d": unknown}
    assert result.num_predictions == sum(map(len, problem[1].values()))


def test_first_update_of_a_video_wins(problem, expected):
    annotations, found = problem
    generator = torch.Generator().manual_seed(9)
    again = {video: random_events(7, generator) for video in list(found)[:5]}
    metric = run_metric(annotations, [*batches(found, 4), *batches(again, 2)])
    assert metric.result() == expected


def test_no_video(problem):
    metric = run_metric(problem[0], [([], [])])
    assert metric.compute()["avg_map"] == 0
    assert metric.result().missing_videos == VIDEOS


def test_video_without_detections(problem):
    empty = Events(torch.empty(0, 2), torch.empty(0, dtype=torch.int64), torch.empty(0))
    assert run_metric(problem[0], [(VIDEOS[:1], [empty])]).result().num_scored_videos == 1


def test_reset(problem, expected):
    metric = run_metric(problem[0], batches(problem[1], 4)[:1])
    first = metric.result()
    metric.reset()
    for update in batches(problem[1], 4):
        metric.update(*update)
    assert metric.result() == expected != first


def test_scores_again_after_more_updates(problem, expected):
    first, *others = batches(problem[1], 4)
    metric = run_metric(problem[0], [first])
    metric.compute()
    for update in others:
        metric.update(*update)
    assert metric.result() == expected


def test_call_scores_the_batch_alone(problem, expected):
    annotations, found = problem
    metric = TemporalMeanAveragePrecision(annotations)
    for update in batches(found, 4):
        alone = run_metric(annotations, [update]).compute()
        assert metric(*update) == alone
    assert metric.result() == expected


@pytest.mark.parametrize("how", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])  # noqa: S301
def test_copies(problem, expected, how):
    first, *others = batches(problem[1], 4)
    metric = how(run_metric(problem[0], [first]))
    for update in others:
        metric.update(*update)
    assert how(metric).result() == expected
    assert metric.clone().result() == expected


def test_double_precision_is_kept(problem):
    annotations, found = problem
    shifted = {
        video: Events(e.segments.double(), e.labels, e.scores.double() + 1e-12 * torch.rand(len(e)))
        for video, e in found.items()
    }
    table = PredictionTable.from_events(shifted, annotations.class_names)
    assert run_metric(annotations, batches(shifted, 4)).result() == score(annotations, table)


def test_properties():
    assert TemporalMeanAveragePrecision.higher_is_better is True
    assert TemporalMeanAveragePrecision.is_differentiable is False
    assert TemporalMeanAveragePrecision.full_state_update is False


def test_wrong_input(problem):
    metric = TemporalMeanAveragePrecision(problem[0])
    events = random_events(2, None)
    with pytest.raises(PredictionError, match="one item for each of 1 videos, got 2"):
        metric.update(VIDEOS[:1], [events, events])
    with pytest.raises(PredictionError, match=r"split 'test', got 'elsewhere'"):
        metric.update(["elsewhere"], [events])
    with pytest.raises(PredictionError, match="`scores`, got None"):
        metric.update(VIDEOS[:1], [Events(events.segments, events.labels)])
    with pytest.raises(PredictionError, match=r"float16; cast the logits"):
        metric.update(VIDEOS[:1], [Events(events.segments, events.labels, events.scores.half())])
    with pytest.raises(ProtocolError, match="unav100"):
        TemporalMeanAveragePrecision(problem[0], "no such protocol")
    with pytest.raises(ProtocolError, match="Expected a list of blocked videos"):
        TemporalMeanAveragePrecision(problem[0], "activitynet13-blocked")


@pytest.mark.parametrize("segment", [[2.0, 1.0], [0.0, float("nan")], [0.0, float("inf")]])
def test_bad_values_name_the_video(problem, segment):
    bad = Events(torch.tensor([[0.0, 1.0], segment]), torch.tensor([0, 1]), torch.rand(2))
    metric = run_metric(problem[0], [(VIDEOS[5:7], [random_events(3, None), bad])])
    with pytest.raises(PredictionError, match=f"'{VIDEOS[6]}'"):
        metric.compute()


@pytest.mark.slow
@pytest.mark.parametrize("case", ["padded", "one process idle"])
def test_two_processes_equal_one(problem, expected, tmp_path, case):
    annotations, found = problem
    updates = batches(found, 2)
    if case == "padded":  # the sampler repeats the first video on the second process
        shares = [updates[0::2], [*updates[1::2], (updates[0][0][:1], updates[0][1][:1])]]
    else:
        shares = [[], updates]
    torch.multiprocessing.spawn(score_share, (str(tmp_path), annotations, shares), nprocs=2)
    for rank, share in enumerate(shares):
        scores, result, kept = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert result == expected.to_dict()
        assert [value.item() for value in scores.values()] == [expected.avg_map, *expected.map]
        assert kept == sum(len(video_ids) for video_ids, _ in share)


@pytest.mark.gpu
def test_on_a_gpu(problem, expected):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    metric = TemporalMeanAveragePrecision(problem[0]).to("cuda")
    for video_ids, predictions in batches(problem[1], 4):
        metric.update(video_ids, [events.to("cuda") for events in predictions])
    assert metric.compute()["avg_map"].device.type == "cuda"
    assert metric.result() == expected


def test_scored_detections_are_handed_out():
    annotations, found = make_problem()
    metric = TemporalMeanAveragePrecision(annotations)
    for video, events in reversed(found.items()):
        metric.update([video], [events])
    metric.update(VIDEOS[:1], [random_events(3, torch.Generator())])  # seen twice: the first counts
    table = metric.detections()
    expected = PredictionTable.from_events(
        {video: found.get(video, random_events(0, torch.Generator())) for video in VIDEOS}, "abcd"
    )
    assert (table.video_ids, table.class_names) == (VIDEOS, ["a", "b", "c", "d"])
    assert len(table) == len(expected)
    for name in ("videos", "labels", "segments", "scores"):
        assert (getattr(table, name) == getattr(expected, name)).all(), name
    assert list(metric.compute()) == metric.score_names
    assert len(metric.detections()) == len(table)  # the score has changed nothing
