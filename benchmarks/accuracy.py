"""Train the small data set on which the published UnAV was trained, once a seed.

The published code reaches 75.1, 75.2 and 72.2 test average mAP (seeds 1234567891, 11, 22; raw
weights, videos one by one). Finished seeds are kept in the work folder and skipped.

    python -m benchmarks.accuracy --data ../shared/official_tiny/unav/dataset_tiny --work DIR
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks.record import Score, write_record
from davezoo.cli import main as davezoo

SEEDS = [1234567891, 11, 22, 33, 44]
RECIPE = """
model:
  class_path: davezoo.UnAV
  init_args:
    {width: 32, head_width: 32, learning_rate: 1.0e-3, weight_decay: 1.0e-4, warmup_epochs: 3}
data:
  visual_width: 24
  audio_width: 16
  max_length: 128
  batch_size: 4
  eval_batch_size: 1
  num_workers: 0
trainer: {max_epochs: 15, check_val_every_n_epoch: 15, enable_progress_bar: false}
"""


def train(seed: int, data: Path, work: Path) -> float:
    """Return the test average mAP in percent of the last epoch's weights."""
    result = work / f"t{seed}" / "result.json"
    if not result.is_file():
        recipe = work / "recipe.yaml"
        recipe.write_text(RECIPE)
        words = [f"--data.root={data}", f"--seed_everything={seed}", f"--data.seed={seed}"]
        run = work / f"r{seed}"
        davezoo(["fit", f"--config={recipe}", *words, f"--trainer.default_root_dir={run}"])
        last = f"--ckpt_path={run}/checkpoints/last.ckpt"
        davezoo(["test", last, f"--output={result.parent}/detections.json"])
    return 100 * float(json.loads(result.read_text())["avg_map"])


def main() -> None:
    """Train every seed and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    values = [round(train(seed, options.data, options.work), 4) for seed in SEEDS]
    problem = (
        "UnAV D 32, batch 4, 15 epochs on 60 simulated videos, raw weights: test average mAP in "
        "percent over tIoU 0.1:0.1:0.9, videos one by one; published code 75.11, 75.20, 72.22"
    )
    score = Score("tiny UnAV training", problem, SEEDS, values)
    write_record("accuracy", [], [], seed=SEEDS[0], threads=1, scores=[score])


if __name__ == "__main__":
    main()
