"""DEL's losses on tokens in plain loops, one token, class and video after the other."""

import math

import torch
from torch.nn.functional import cosine_similarity


def _logsumexp(values):
    top = max(values)
    return top + math.log(sum(math.exp(x - top) for x in values))


def _similar(x, y):
    return cosine_similarity(x.double(), y.double(), dim=0).item()


def _sigmoid(x):
    return 1 / (1 + math.exp(-x))


def _focal(logit, target):
    p = _sigmoid(logit)
    p_t, alpha = (p, 0.25) if target else (1 - p, 0.75)
    return -alpha * (1 - p_t) ** 2 * math.log(p_t)


def _steps(features, name, i):
    """Return the steps of a video where a stream has content."""
    return features["stream_masks"][name][i].nonzero().flatten().tolist()


def _complete(features, i):
    return set.intersection(*({*_steps(features, n, i)} for n in features["stream_masks"]))


def _inter(features, scale):
    """Return the sum over the videos that have both modalities; both directions averaged."""
    present = [i for i in range(len(features["mask"])) if _complete(features, i)]
    visual, audio = (features["summary"][name][present] for name in ("visual", "audio"))
    total = 0.0
    for i in range(len(visual)):
        for x, others in ((visual[i], audio), (audio[i], visual)):
            logits = [scale * _similar(x, other) for other in others]
            total += (_logsumexp(logits) - logits[i]) / 2
    return total


def _present(segments, labels):
    for (start, end), label in zip(segments.tolist(), labels.tolist(), strict=True):
        if label >= 0:
            yield start, end, label


def _by_score(scores, steps):
    return sorted(steps, key=lambda step: -scores[step].item())


def _far(step, others, margin=4):
    return all(abs(step - other) > margin for other in others)


def _published_negatives(scores, predicted, key, label, steps):
    chosen = []
    for step in _by_score(scores, [step for step in steps if step + 1 in steps]):
        if len(chosen) >= max(1, (len(steps) - 1) / 8):
            break
        if _far(step, key) and predicted[step] == label:
            chosen.append(step)
    return chosen


def _mean(rows, steps):
    return torch.stack([rows[step] for step in steps]).double().mean(0)


def _contrast(to_positive, to_negatives):
    return _logsumexp([to_positive, *to_negatives]) - to_positive


def published(features, segments, labels, scales):
    """Return the losses of the published code on the true grid."""
    names = list(features["tokens"])
    totals = {"score": 0.0, "category": 0.0, "intra": 0.0}
    num_classes = features["categories"][names[0]].shape[-1]
    for i, length in enumerate(features["mask"].sum(1).tolist()):
        category, key = {}, set()
        for start, end, label in _present(segments[i], labels[i]):
            a, b = math.trunc(max(start, 0)), math.trunc(max(end, 0))
            category.update(dict.fromkeys(range(a, min(max(b, a + 1), length)), label))
            key.update(range(a, min(b + 1, length)))
        for name in names:
            scores = features["scores"][name][i, :length]
            logits = features["categories"][name][i, :length]
            steps = _steps(features, name, i)
            for step in steps:
                totals["score"] += _focal(scores[step].item(), step in category)
                for label in range(num_classes):
                    is_it = category.get(step) == label
                    totals["category"] += _focal(logits[step, label].item(), is_it)
            both = key & _complete(features, i)
            if both and len(names) == 2:
                anchors, others = (
                    features["tokens"][n][i] for n in (name, names[1 - names.index(name)])
                )
                z, positive = _mean(anchors, both), _mean(others, both)
                label = category.get(min(key), 0)
                predicted = logits.argmax(-1).tolist()
                negatives = _published_negatives(scores, predicted, key, label, steps)
                k = scales[name]
                loss = _contrast(
                    k * _similar(z, positive), [k * _similar(z, anchors[n]) for n in negatives]
                )
                totals["intra"] += loss / 2 / len(labels)
    if len(names) == 1:
        totals.pop("intra")
        return totals
    return {**totals, "inter": _inter(features, math.exp(scales["inter"]))}


def _paper_sets(members, scores, predicted, label, steps):
    """Return positives and hard negatives of one class in one modality."""
    there = [t for t in members if t in steps]
    positives = [t for t in there if scores[t] > 0 and predicted[t] == label] or there
    wrong = [t for t in steps if _far(t, members) and predicted[t] == label]
    high = [t for t in wrong if scores[t] > 0]
    return positives, _by_score(scores, high or wrong)[: max(1, len(steps) // 8)]


def _paper_intra(features, i, length, members, names, scale):
    """Yield the loss of each class that has all three sets, anchors from the first modality."""
    anchors, others = (features["tokens"][name][i] for name in names)
    for label, steps in members.items():
        (z, _), (positives, negatives) = (
            _paper_sets(
                steps,
                features["scores"][name][i, :length],
                features["categories"][name][i, :length].argmax(-1).tolist(),
                label,
                _steps(features, name, i),
            )
            for name in names
        )
        pairs = [
            _contrast(
                scale * _similar(anchors[t], others[p]),
                [scale * _similar(anchors[t], others[n]) for n in negatives],
            )
            for t in z
            for p in positives
        ]
        if pairs and negatives:
            yield sum(pairs) / len(pairs)


def paper(features, segments, labels, scales):
    """Return the losses of the paper."""
    names = list(features["tokens"])
    masks = features["stream_masks"]
    num_valid = {name: max(1, int(mask.sum())) for name, mask in masks.items()}
    num_foreground = dict.fromkeys(names, 0)
    score, category = 0.0, dict.fromkeys(names, 0.0)
    intra = {name: [] for name in names}
    for i, length in enumerate(features["mask"].sum(1).tolist()):
        members = {}
        for start, end, label in _present(segments[i], labels[i]):
            steps = [t for t in range(length) if start <= t <= end]
            members[label] = sorted({*members.get(label, []), *steps})
        for step in range(length):
            own = [label for label, steps in members.items() if step in steps]
            for name in (name for name in names if masks[name][i, step]):
                num_foreground[name] += bool(own)
                p = _sigmoid(features["scores"][name][i, step].item())
                score -= math.log(p if own else 1 - p) / num_valid[name] / len(names)
                logits = features["categories"][name][i, step].tolist()
                for label in own:
                    category[name] += (_logsumexp(logits) - logits[label]) / len(own)
        if len(names) == 2:
            for order in (names, names[::-1]):
                found = _paper_intra(features, i, length, members, order, math.exp(scales["intra"]))
                intra[order[0]].extend(found)
    by_stream = [category[name] / max(1, num_foreground[name]) for name in names]
    losses = {"score": score, "category": sum(by_stream) / len(names)}
    if len(names) == 1:
        return losses
    means = [sum(found) / len(found) if found else 0.0 for found in intra.values()]
    num_videos = sum(bool(_complete(features, i)) for i in range(len(labels)))
    inter = _inter(features, math.exp(scales["inter"])) / max(1, num_videos)
    return {**losses, "inter": inter, "intra": sum(means) / 2}
