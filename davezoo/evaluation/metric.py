"""Mean average precision as a torchmetrics metric: in the training loop, over several processes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torchmetrics import Metric

from davezoo.evaluation.average_precision import AveragePrecision, EventArrays, average_precision
from davezoo.evaluation.ground_truth import select_ground_truth
from davezoo.evaluation.predictions import (
    PredictionError,
    PredictionTable,
    check_scores,
    first_bad_row,
)
from davezoo.evaluation.protocols import Protocol, get_protocol
from davezoo.evaluation.scoring import SelectionCounts, assemble_result

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from davezoo.annotations import Annotations
    from davezoo.evaluation.results import EvaluationResult
    from davezoo.structures import Events

_STATES = ("videos", "counts", "labels", "segments", "scores")


class TemporalMeanAveragePrecision(Metric):
    """Temporal mAP of detections against the annotations of one split.

    The score is that of `davezoo evaluate` on the written detections, to the last bit, and does not
    depend on the order of the updates, their sizes or the number of processes. Videos that were
    never seen count as missed. A video that two updates or two processes saw, as when a sampler
    pads the last batch, counts once: the first update of the lowest rank wins.

    Half-precision scores are refused, because they tie. On devices without float64 (Apple's mps)
    detections are kept in float32 and scored on the CPU.

    Args:
        annotations: videos and events of the split; see `Annotations.split`.
        protocol: name of a protocol, or one of one's own.
        blocked: ids of videos to leave out with their events and detections, for a protocol that
            asks for them.
        kwargs: options of `torchmetrics.Metric`.

    Raises:
        ProtocolError: if there is no such protocol, or the list does not go with it.
        GroundTruthError: if the split has no events.

    Example:
        >>> metric = TemporalMeanAveragePrecision(annotations.split("test"))  # doctest: +SKIP
        >>> metric.update(batch.video_ids, detections)  # doctest: +SKIP
        >>> metric.compute()["avg_map"]  # doctest: +SKIP
        tensor(0.4780, dtype=torch.float64)
    """

    higher_is_better = True
    is_differentiable = False
    full_state_update = False

    videos: list[Tensor]
    counts: list[Tensor]
    labels: list[Tensor]
    segments: list[Tensor]
    scores: list[Tensor]

    def __init__(
        self,
        annotations: Annotations,
        protocol: str | Protocol = "unav100",
        blocked: Collection[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.protocol = get_protocol(protocol)
        self.blocked = frozenset(blocked)
        self.ground_truth = select_ground_truth(annotations, self.protocol, self.blocked)
        truth = self.ground_truth
        # Videos that are left out come last; their detections are counted and dropped.
        self._ids = [*truth.video_ids, *sorted(truth.blocked_ids), *sorted(truth.excluded_ids)]
        self._index_of = {video: i for i, video in enumerate(self._ids)}
        self._result: EvaluationResult | None = None
        # One row a video: its index and number of detections. One row a detection: the others.
        for name in _STATES:
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, video_ids: Sequence[str], predictions: Sequence[Events]) -> None:
        """Add the detections of some videos.

        Args:
            video_ids: ids of the videos.
            predictions: detections of each video, segments in seconds, labels as indices into the
                class names of the annotations; none is fine.

        Raises:
            PredictionError: if a video is not of the split or detections cannot be ranked.
        """
        if len(video_ids) != len(predictions):
            raise PredictionError(
                f"Expected `predictions` to be one item for each of {len(video_ids)} videos, got "
                f"{len(predictions)}; hand in empty events for videos without detections."
            )
        for video, detections in zip(video_ids, predictions, strict=True):
            if video not in self._index_of:
                raise PredictionError(
                    f"Expected `video_ids` to be videos of the split {self.ground_truth.split!r}, "
                    f"got {video!r}; build the metric from the annotations of the loaded videos."
                )
            check_scores(video, detections)
        new = self._empty_states()
        new["videos"].append(self._integers([self._index_of[video] for video in video_ids]))
        new["counts"].append(self._integers([len(detections) for detections in predictions]))
        new["labels"] += [detections.labels for detections in predictions]
        new["segments"] += [detections.segments for detections in predictions]
        new["scores"] += [d.scores for d in predictions if d.scores is not None]
        for name, parts in new.items():
            # Starting from the empty state gives every part its type and device.
            joined = torch.cat([part.detach().to(parts[0]) for part in parts])
            getattr(self, name).append(joined)

    @property
    def score_names(self) -> list[str]:
        """Names of what `compute` returns."""
        tious = self.protocol.tiou_thresholds
        return ["avg_map", *(f"map_{round(100 * tiou)}" for tiou in tious)]

    def compute(self) -> dict[str, Tensor]:
        """Return `avg_map` and `map_10`, `map_20`, ... (thresholds in percent) as fractions.

        Raises:
            PredictionError: if a time or score is not finite or a segment ends before it starts.
        """
        result = self._score()
        self._result = result
        values = torch.tensor([result.avg_map, *result.map], dtype=self._float, device=self.device)
        return dict(zip(self.score_names, values, strict=True))

    def result(self) -> EvaluationResult:
        """Return the score of every class, the missing videos and all counts.

        In a run of several processes all of them must call this, as for `compute`.
        """
        self.compute()
        return self._result if self._result is not None else self._score()

    def detections(self) -> PredictionTable:
        """Return the detections that are scored, those of blocked and left-out videos aside.

        In a run of several processes all of them must call this, as for `compute`.
        """
        with self.sync_context(should_sync=not self._is_synced):
            found, _ = self._collect()
        scores = found.segments[:0, 0] if found.scores is None else found.scores
        return PredictionTable(
            video_ids=self.ground_truth.video_ids,
            class_names=self.ground_truth.class_names,
            videos=found.videos.cpu().numpy(),
            labels=found.labels.cpu().numpy(),
            segments=found.segments.cpu().double().numpy(),
            scores=scores.cpu().double().numpy(),
        )

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Gather the states of all processes; also those of a process that saw no video.

        torchmetrics stands in for an empty list with a float32 vector, which cannot be gathered
        with integers or with segments.
        """
        for name, parts in self._empty_states().items():
            if isinstance(getattr(self, name), list) and not getattr(self, name):
                setattr(self, name, parts)
        super().sync(*args, **kwargs)

    def _score(self) -> EvaluationResult:
        """Score what the states hold."""
        detections, counts = self._collect()
        events = self.ground_truth.events
        events = EventArrays(
            *(
                torch.from_numpy(array).to(detections.segments.device)
                for array in (events.videos, events.labels, events.segments)
            )
        )
        values = average_precision(events, detections, self.protocol.tiou_thresholds)
        on_cpu = AveragePrecision(
            values.classes.cpu().numpy(),
            values.num_events.cpu().numpy(),
            values.values.cpu().numpy(),
        )
        return assemble_result(self.protocol, self.ground_truth, counts, on_cpu, self.blocked)

    def _collect(self) -> tuple[EventArrays, SelectionCounts]:
        """Return the detections, each video once, in the order of the annotations."""
        states = {}
        for name, empty in self._empty_states().items():
            parts = getattr(self, name)
            # A tensor after synchronisation, a list before.
            state = torch.cat([*empty, *([parts] if isinstance(parts, Tensor) else parts)])
            states[name] = state.cpu() if state.device.type == "mps" else state
        videos, segments, scores = states["videos"], states["segments"], states["scores"]

        order = torch.argsort(videos, stable=True)
        first = torch.ones_like(order, dtype=torch.bool)
        first[1:] = videos[order][1:] != videos[order][:-1]
        counted = torch.zeros_like(first)
        counted[order[first]] = True
        update_of = torch.repeat_interleave(states["counts"])
        rows = torch.nonzero(counted[update_of])[:, 0]
        rows = rows[torch.argsort(videos[update_of[rows]], stable=True)]
        detections = EventArrays(
            videos[update_of[rows]], states["labels"][rows], segments[rows], scores[rows]
        )

        bad = first_bad_row(detections.segments, detections.scores)
        if bad is not None:
            raise PredictionError(
                f"Expected the detections of video {self._ids[int(detections.videos[bad])]!r} to "
                "have finite times and scores and no end before its start, got segment "
                f"{detections.segments[bad].tolist()}; correct the decoding."
            )
        num_scored = len(self.ground_truth.video_ids)
        num_kept = num_scored + len(self.ground_truth.blocked_ids)
        blocked = (detections.videos >= num_scored) & (detections.videos < num_kept)
        scored = detections[detections.videos < num_scored]
        return scored, SelectionCounts(
            scored_videos={self._ids[i] for i in set(videos.tolist()) if i < num_scored},
            num_predictions=len(detections),
            num_blocked_predictions=int(blocked.sum()),
            num_excluded_predictions=int((detections.videos >= num_kept).sum()),
            unknown_labels=self._unknown_labels(scored.labels),
        )

    def _unknown_labels(self, labels: Tensor) -> dict[str, int]:
        """Count the detections of each class without annotated events."""
        names = dict(enumerate(self.ground_truth.class_names))
        present = torch.from_numpy(self.ground_truth.events.labels).to(labels.device)
        unknown = Counter(labels[~torch.isin(labels, present)].tolist())
        return {names.get(label, str(label)): count for label, count in unknown.items()}

    @property
    def _float(self) -> torch.dtype:
        return torch.float32 if self.device.type == "mps" else torch.float64

    def _integers(self, values: list[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.int64, device=self.device)

    def _empty_states(self) -> dict[str, list[Tensor]]:
        """Return every state as a list of one tensor without rows."""
        integers, floats = self._integers([]), torch.empty(0, dtype=self._float, device=self.device)
        return {
            "videos": [integers],
            "counts": [integers],
            "labels": [integers],
            "segments": [floats.reshape(0, 2)],
            "scores": [floats],
        }
