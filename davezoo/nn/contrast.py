"""DEL's losses on tokens: scores, categories, and contrast between and within videos.

Reference:
    Ahmadian, Shirian, Guerin, Gilbert, "DEL: Dense Event Localization for Multi-modal Audio-Visual
    Understanding", 2025, section 3.3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from davezoo.errors import InputError
from davezoo.nn.layers import each_block, without_autocast
from davezoo.nn.token_targets import (
    Negatives,
    class_members,
    paper_negatives,
    predicted_members,
    published_negatives,
    published_targets,
)
from davezoo.ops.losses import sigmoid_focal_loss

ContrastRule = Literal["published", "paper"]

_LOG_SCALE = math.log(1 / 0.07)  # where every temperature starts: at 0.07
_MOST_LOG_SCALE = math.log(100)  # paper: temperatures stay between 0.01 and 1
_MOST_PAIRS = 2**25  # of steps at a time; the usual batches are one block


def inter_loss(visual: Tensor, audio: Tensor, complete: Tensor, scale: Tensor) -> Tensor:
    """Return how hard it is to tell each video's other modality from those of the batch (Eq. 7).

    Cross-entropy of the scaled cosine similarities, mean of both directions. A video without one of
    the modalities is neither asked nor offered.

    Args:
        visual: visual summaries, (B, C).
        audio: audio summaries, (B, C).
        complete: videos that have both, (B,), bool.
        scale: inverse temperature, ().

    Returns:
        Loss of each video, (B,); zero for one that has nothing to be told from.
    """
    logits = scale * (F.normalize(visual, dim=-1) @ F.normalize(audio, dim=-1).mT)
    same = logits.diagonal()
    # On the diagonal every video keeps itself: alone with it, it costs nothing.
    itself = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    logits = logits.masked_fill(~(complete[:, None] & complete | itself), -torch.inf)
    return 0.5 * (logits.logsumexp(0) + logits.logsumexp(1)) - same


def published_intra_loss(
    anchor: Tensor, other: Tensor, key: Tensor, negatives: Negatives, scale: Tensor
) -> Tensor:
    """Return the contrast within each video by the rule of the published code.

    The mean of the key steps of one modality should resemble that of the other more than it
    resembles hard negatives of its own modality (the paper takes those of the other one).

    Args:
        anchor: tokens of the modality of anchor and negatives, (B, T, C).
        other: tokens of the other modality, (B, T, C).
        key: key steps at which both have content, (B, T), bool.
        negatives: hard negatives of each video, (B, M).
        scale: factor of the cosine similarities, ().

    Returns:
        Loss of each video, (B,); zero without key steps and without negatives.
    """
    weights = key.float().unsqueeze(1)  # (B, 1, T); a sum points where the mean does
    z, positive = (F.normalize(weights @ x, dim=-1) for x in (anchor, other))  # (B, 1, C)
    rows = negatives.steps.unsqueeze(-1).expand(-1, -1, anchor.shape[-1])
    candidates = torch.cat([positive, F.normalize(anchor.gather(1, rows), dim=-1)], dim=1)
    logits = scale * (z * candidates).sum(-1)  # (B, 1 + M), the positive first
    counts = F.pad(negatives.chosen, (1, 0), value=True)
    loss = logits.masked_fill(~counts, -torch.inf).logsumexp(1) - logits[:, 0]
    return torch.where(key.any(1), loss, 0.0)


def paper_intra_loss(
    anchor: Tensor,
    other: Tensor,
    anchors: Tensor,
    positives: Tensor,
    negatives: Negatives,
    scale: Tensor,
) -> Tensor:
    """Return the contrast within videos as the paper has it (Eq. 8, 10), one direction.

    For each event class, every anchor of one modality should resemble every positive of the other
    one more than it resembles all hard negatives of that other one together. The expectation over
    pairs is computed in full, that over classes and videos is the mean.

    Rows are event classes rather than all classes: a video has few of the many. For each of them
    all pairs of steps are looked at, in long videos for some of the rows at a time.

    Args:
        anchor: tokens of one modality, (B, T, C).
        other: tokens of the other modality, (B, T, C).
        anchors: anchors of each event class, (B, N, T), bool; none in rows that do not count.
        positives: positives of each event class, (B, N, T), bool.
        negatives: hard negatives of each event class, (B, N, M).
        scale: inverse temperature, ().

    Returns:
        The mean over event classes with anchors, positives and negatives, (); zero without any.
    """
    similarity = scale * (F.normalize(anchor, dim=-1) @ F.normalize(other, dim=-1).mT)  # (B, T, T)

    def costs_of(rows: slice) -> tuple[Tensor, Tensor]:
        """Return the cost of some event classes, and which of them count: (B, rows) each."""
        steps, chosen = negatives.steps[:, rows], negatives.chosen[:, rows]  # (B, rows, M)
        places = steps.flatten(1).unsqueeze(1).expand(-1, anchor.shape[1], -1)
        against = similarity.gather(2, places)
        against = against.reshape(*similarity.shape[:2], *steps.shape[1:])  # (B, T, rows, M)
        has_negatives = chosen.any(-1)  # (B, rows)
        # Rows without negatives are left as they are: a logsumexp of nothing has no gradient.
        left_out = ~chosen & has_negatives.unsqueeze(-1)
        against = against.masked_fill(left_out.unsqueeze(1), -torch.inf).logsumexp(-1)

        # (B, rows, T, T); the sum over anchors comes first to read it along rows.
        pairs = F.softplus(against.mT.unsqueeze(-1) + (-similarity).unsqueeze(1))
        total = (anchors[:, rows].float().unsqueeze(2) @ pairs).squeeze(2) * positives[:, rows]
        num_pairs = anchors[:, rows].sum(-1) * positives[:, rows].sum(-1)
        counts = has_negatives & (num_pairs > 0)
        return torch.where(counts, total.sum(-1) / num_pairs.clamp(min=1), 0.0), counts

    block_rows = max(1, _MOST_PAIRS // max(1, similarity.numel()))
    mean, counts = zip(*each_block(costs_of, anchors.shape[1], block_rows), strict=True)
    return torch.cat(mean, dim=1).sum() / torch.cat(counts, dim=1).sum().clamp(min=1)


class TokenLosses(nn.Module):
    """The losses that DEL adds to those of the pyramid, weighted.

    `published` follows the published code: sums over the batch, and the contrast within a video
    takes the mean of all its key steps as anchor, with a factor of the similarities that is not
    exponentiated. `paper` follows the paper: means, so that its weights should be larger (0.1, 0.1,
    0.2 for inter, intra and score make terms of like size), anchors one by one and class by class.

    A loss of weight zero is left out, and its log scales are frozen: training in several processes
    refuses parameters without a gradient. With a single stream nothing is contrasted.

    Args:
        streams: names of the modalities, of "visual" and "audio".
        num_classes: classes.
        inter_weight: weight of the contrast between videos.
        intra_weight: weight of the contrast within videos.
        score_weight: weight of the loss of the score heads.
        category_weight: weight of the loss of the category heads; published without one.
        objective: whose losses.
        published_token_grid: repeat the slips in the targets of the published code; see
            `token_targets.published_targets`. Has no meaning for the paper's objective.

    Attributes:
        chosen: steps that the contrast within videos chose in the latest forward pass, by name
            (`positives_visual`, `negatives_visual`, ...), a video; {} before it and without such a
            contrast.

    Raises:
        InputError: if the objective is unknown or lacks the published token grid, or if a weight is
            negative.
    """

    def __init__(
        self,
        streams: Sequence[str],
        num_classes: int,
        *,
        inter_weight: float = 0.001,
        intra_weight: float = 1.0,
        score_weight: float = 0.001,
        category_weight: float = 0.001,
        objective: ContrastRule = "published",
        published_token_grid: bool = False,
    ) -> None:
        super().__init__()
        if objective not in get_args(ContrastRule):
            raise InputError(
                f"Expected `objective` to be one of {list(get_args(ContrastRule))}, got "
                f"{objective!r}; choose one."
            )
        if objective == "paper" and published_token_grid:
            raise InputError(
                "Expected `published_token_grid` to come with the published `objective`, got "
                f"{objective!r}; leave one of them out."
            )
        self.streams = list(streams)
        self.chosen: dict[str, Tensor] = {}
        self.num_classes = num_classes
        self.objective = objective
        self.published_token_grid = published_token_grid
        weights = {"score": score_weight, "category": category_weight}
        between_streams = {"inter": inter_weight, "intra": intra_weight}
        for name, weight in (weights | between_streams).items():
            if not weight >= 0:
                raise InputError(
                    f"Expected `{name}_weight` to be at least 0, got {weight}; choose 0 to leave "
                    "this loss out."
                )
        scales = []
        if len(self.streams) == 2:
            weights |= between_streams
            scales = ["inter", *(self.streams if objective == "published" else ["intra"])]
        self.weights = {name: weight for name, weight in weights.items() if weight}
        # Of the contrast between videos and within them; the published code has one per anchor.
        self.log_scales = nn.ParameterDict(
            {name: nn.Parameter(torch.tensor(_LOG_SCALE)) for name in scales}
        )
        for name, scale in self.log_scales.items():
            scale.requires_grad_(("inter" if name == "inter" else "intra") in self.weights)

    def forward(
        self, features: dict[str, Any], segments: Tensor, labels: Tensor
    ) -> dict[str, Tensor]:
        """Return the weighted losses by name: `loss_inter`, `loss_intra`, `loss_score`, ...

        Args:
            features: `mask`, the steps of the video (B, T), and by stream `stream_masks`, its
                steps with content (B, T), `tokens`, (B, T, C), `scores`, (B, T) logits,
                `categories`, (B, T, K) logits, and `summary`, (B, C). Steps without content say
                nothing and are contrasted with nothing.
            segments: events in grid steps, (B, N, 2).
            labels: class indices, (B, N), -1 where there is no event.
        """
        if not self.weights:
            return {}
        streams = {
            name: {
                kind: features[kind][name].float()
                for kind in ("tokens", "scores", "categories", "summary")
            }
            | {"mask": features["stream_masks"][name]}
            for name in self.streams
        }
        with without_autocast(segments):
            find = self._published if self.objective == "published" else self._paper
            complete = torch.stack([x["mask"] for x in streams.values()]).all(0)  # (B, T)
            losses = find(streams, features["mask"], complete, segments.float(), labels)
        return {f"loss_{name}": weight * losses[name] for name, weight in self.weights.items()}

    def _published(
        self,
        streams: dict[str, dict[str, Tensor]],
        mask: Tensor,
        complete: Tensor,
        segments: Tensor,
        labels: Tensor,
    ) -> dict[str, Tensor]:
        """Return the losses of the published code, without weights."""
        with torch.no_grad():
            targets = published_targets(segments, labels, mask, self.published_token_grid)
            classes = torch.arange(self.num_classes, device=mask.device)
            one_hot = targets.category.unsqueeze(-1) == classes  # (B, T, K)
        scores = [sigmoid_focal_loss(x["scores"], targets.foreground) for x in streams.values()]
        categories = [sigmoid_focal_loss(x["categories"], one_hot) for x in streams.values()]
        content = torch.stack([x["mask"] for x in streams.values()])
        losses = {
            "score": (torch.stack(scores) * content).sum(),
            "category": (torch.stack(categories).sum(-1) * content).sum(),
        }
        if len(streams) == 2:
            visual, audio = (x["summary"] for x in streams.values())
            inter = self.log_scales["inter"].exp()
            losses["inter"] = inter_loss(visual, audio, complete.any(1), inter).sum()
            directions = []
            for name, other in zip(streams, reversed(streams), strict=True):
                x = streams[name]
                with torch.no_grad():
                    negatives = published_negatives(
                        x["scores"], x["categories"], targets, x["mask"]
                    )
                    self._note_chosen(name, targets.key & complete, negatives)
                directions.append(
                    published_intra_loss(
                        x["tokens"],
                        streams[other]["tokens"],
                        targets.key & complete,
                        negatives,
                        self.log_scales[name],  # itself, not its exponential
                    )
                )
            losses["intra"] = torch.stack(directions).mean()
        return losses

    def _paper(
        self,
        streams: dict[str, dict[str, Tensor]],
        mask: Tensor,
        complete: Tensor,
        segments: Tensor,
        labels: Tensor,
    ) -> dict[str, Tensor]:
        """Return the losses of the paper, without weights."""
        with torch.no_grad():
            members = class_members(segments, labels, mask, self.num_classes)  # (B, K, T)
            shares = members.mT / members.sum(1).unsqueeze(-1).clamp(min=1)  # (B, T, K)
            foreground = members.any(1)
        scores, categories = [], []
        for x in streams.values():
            target, content = foreground.float(), x["mask"]
            entropy = F.binary_cross_entropy_with_logits(x["scores"], target, reduction="none")
            scores.append((entropy * content).sum() / content.sum().clamp(min=1))
            entropy = -(shares * x["categories"].log_softmax(-1)).sum(-1)  # zero off the events
            num_foreground = (foreground & content).sum().clamp(min=1)
            categories.append((entropy * content).sum() / num_foreground)
        losses = {"score": torch.stack(scores).mean(), "category": torch.stack(categories).mean()}
        if len(streams) == 2:
            inter, intra = (
                self.log_scales[name].clamp(0, _MOST_LOG_SCALE).exp() for name in ("inter", "intra")
            )
            visual, audio = (x["summary"] for x in streams.values())
            videos = complete.any(1)
            total = inter_loss(visual, audio, videos, inter).sum()
            losses["inter"] = total / videos.sum().clamp(min=1)
            losses["intra"] = self._paper_intra(streams, members, labels, intra)
        return losses

    def _paper_intra(
        self,
        streams: dict[str, dict[str, Tensor]],
        members: Tensor,
        labels: Tensor,
        scale: Tensor,
    ) -> Tensor:
        """Return the mean of both directions of the paper's contrast within videos."""
        positives, negatives = {}, {}
        with torch.no_grad():
            same = labels.unsqueeze(2) == labels.unsqueeze(1)  # (B, N, N)
            counts = (labels >= 0) & ~same.tril(-1).any(-1)  # the first event of each class
            rows = labels.clamp(min=0).unsqueeze(-1)  # (B, N, 1)
            own = members.gather(1, rows.expand(-1, -1, members.shape[2])) & counts.unsqueeze(-1)
            for name, x in streams.items():
                agrees = x["categories"].argmax(-1).unsqueeze(1) == rows  # (B, N, T)
                there = own & x["mask"].unsqueeze(1)
                positives[name] = predicted_members(there, agrees, x["scores"])
                negatives[name] = paper_negatives(own, agrees, x["scores"], x["mask"])
                self._note_chosen(name, positives[name], negatives[name])
        directions = [
            paper_intra_loss(
                streams[name]["tokens"],
                streams[other]["tokens"],
                positives[name],
                positives[other],
                negatives[other],
                scale,
            )
            for name, other in zip(streams, reversed(streams), strict=True)
        ]
        return torch.stack(directions).mean()

    def _note_chosen(self, name: str, positives: Tensor, negatives: Negatives) -> None:
        """Note how many steps of a modality were chosen, the mean over the videos."""
        for kind, chosen in (("positives", positives), ("negatives", negatives.chosen)):
            self.chosen[f"{kind}_{name}"] = chosen.sum() / len(chosen)
