"""What each of two processes does in the tests of the metric; spawned, so importable by name."""

import torch
import torch.distributed as dist

from davezoo.evaluation.metric import TemporalMeanAveragePrecision


def score_share(rank, folder, annotations, shares):
    """Feed the batches of one process, score together and save what this process sees."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=len(shares)
    )
    metric = TemporalMeanAveragePrecision(annotations)
    for video_ids, predictions in shares[rank]:
        metric.update(video_ids, predictions)
    scores = metric.compute()
    result = metric.result()
    # Scoring gathers the states and gives them back: more updates may follow.
    kept = sum(len(part) for part in metric.videos)
    torch.save((scores, result.to_dict(), kept), f"{folder}/{rank}.pt")
    dist.destroy_process_group()
