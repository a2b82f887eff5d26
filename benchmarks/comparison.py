"""Do the ideas of the papers help? Every method and ablation, one data set, one training recipe.

Videos of 20 to 70 s are simulated, with overlapping events of 1 to 60 s and with distractors that
are only heard or only seen. Each row is trained once a seed from the same narrow settings, by the
command line, and its averaged weights after the last epoch are tested: no epoch is selected.
Finished runs are kept in the work folder and skipped.

    python -m benchmarks.comparison --work DIR                            # all rows, three seeds
    python -m benchmarks.comparison --work DIR --rows UnAV LoCo --seeds 0
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import re
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import torch

from benchmarks.record import RESULTS, Score, write_record
from davezoo.cli import main as davezoo
from davezoo.data.simulation import Simulation
from davezoo.data.synthetic import write_simulation

SEEDS = [0, 1, 2]
DATA = Simulation(
    num_train=96,
    num_validation=8,
    num_test=96,
    min_duration=20.0,
    max_duration=70.0,
    max_events=6,
    shortest_event=1.0,
    longest_event=60.0,
    distractors=10.0,
    signal_to_noise=4.0,
    rgb_width=32,
    flow_width=32,
    vggish_width=32,
)
# One validation, at the end: the checkpoint that is tested is the last one.
RECIPE = """
model:
  class_path: davezoo.{method}
  init_args:
    width: 64
    head_width: 64
    drop_path: 0.0
    learning_rate: 1.0e-3
    warmup_epochs: 2
data:
  visual_width: 64
  audio_width: 32
  max_length: 224
  batch_size: 4
  num_workers: 0
trainer:
  max_epochs: {epochs}
  check_val_every_n_epoch: {epochs}
  accelerator: cpu
  enable_progress_bar: false
  enable_model_summary: false
  callbacks+:
    - class_path: davezoo.callbacks.EMA
      init_args: {{decay: 0.999, ramp_up: true}}
test_after_fit: true
"""
EPOCHS = 12
_NARROW = ("dependency_width=32",)  # of UnAV and CCNet, as in quickstart.yaml
_WITHOUT_SCL = ("inter_weight=0", "intra_weight=0", "score_weight=0", "category_weight=0")

# Method and settings that differ from its defaults, by the name of the row.
ROWS: dict[str, tuple[str, ...]] = {
    "UnAV": ("UnAV", *_NARROW),
    "UnAV, audio only": ("UnAV", *_NARROW, "modalities=audio"),
    "UnAV, visual only": ("UnAV", *_NARROW, "modalities=visual"),
    "CCNet": ("CCNet", *_NARROW),
    "CCNet, audio only": ("CCNet", *_NARROW, "modalities=audio"),
    "CCNet, visual only": ("CCNet", *_NARROW, "modalities=visual"),
    "LoCo": ("LoCo",),
    "LoCo base": ("LoCo", "pyramid=false", "correspondence=none"),
    "LoCo without LCC": ("LoCo", "correspondence=none"),
    "LoCo, fixed window": ("LoCo", "attention=fixed"),
    "LoCo, global window": ("LoCo", "attention=global"),
    "LoCo, audio only": ("LoCo", "modalities=audio"),
    "LoCo, visual only": ("LoCo", "modalities=visual"),
    "DEL": ("DEL",),
    "DEL without AAC": ("DEL", "alignment=false"),
    "DEL without SCL": ("DEL", *_WITHOUT_SCL),
    "DEL without PAN": ("DEL", "path_aggregation=false"),
    "DEL, audio only": ("DEL", "modalities=audio"),
    "DEL, visual only": ("DEL", "modalities=visual"),
    "DEL without PAN, audio only": ("DEL", "path_aggregation=false", "modalities=audio"),
    "DEL without PAN, visual only": ("DEL", "path_aggregation=false", "modalities=visual"),
}


def setting_words(settings: Sequence[str]) -> list[str]:
    """Return the settings of a row as words of the command line: the modalities are the data's."""
    places = ("data" if s.startswith("modalities=") else "model.init_args" for s in settings)
    return [f"--{place}.{setting}" for place, setting in zip(places, settings, strict=True)]


def folder_of(work: Path, row: str, seed: int, epochs: int) -> Path:
    """Return the folder of a run."""
    return work / re.sub(r"[^a-z]+", "_", row.lower()) / f"epochs_{epochs}" / f"seed_{seed}"


def train(row: str, seed: int, epochs: int, work: Path) -> float:
    """Train and test a row with one thread and return the seconds it took."""
    torch.set_num_threads(1)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    method, *settings = ROWS[row]
    run = folder_of(work, row, seed, epochs)
    run.mkdir(parents=True, exist_ok=True)
    recipe = run / "recipe.yaml"
    recipe.write_text(RECIPE.format(method=method, epochs=epochs))
    words = setting_words(settings)
    words += [f"--data.root={work / 'data'}", f"--trainer.default_root_dir={run}"]
    words += [f"--seed_everything={seed}", f"--data.seed={seed}"]
    start = time.perf_counter()
    with (run / "log.txt").open("w") as log, redirect_stdout(log), redirect_stderr(log):
        davezoo(["fit", f"--config={recipe}", *words])
    return time.perf_counter() - start


def score_of(run: Path) -> float | None:
    """Return the test average mAP of a finished run in percent."""
    result = run / "result.json"
    if not result.is_file():
        return None
    return round(100 * float(json.loads(result.read_text())["avg_map"]), 4)


def train_missing(
    rows: list[str], seeds: list[int], epochs: int, simulation: Simulation, work: Path
) -> None:
    """Train what is not finished, two runs at a time."""
    write_simulation(work / "data", simulation)
    wanted = [(row, seed) for seed in seeds for row in rows]
    missing = [pair for pair in wanted if score_of(folder_of(work, *pair, epochs)) is None]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as processes:
        runs = {processes.submit(train, *pair, epochs, work): pair for pair in missing}
        for done in as_completed(runs):
            row, seed = runs[done]
            score = score_of(folder_of(work, row, seed, epochs))
            print(f"{row}, seed {seed}: {score} in {done.result():.0f} s", flush=True)


def finished_scores(
    seeds: list[int], epochs: int, simulation: Simulation, work: Path
) -> list[Score]:
    """Return every row of which all seeds are finished."""
    problem = (
        f"test average mAP in percent over tIoU 0.1:0.1:0.9, {simulation.num_train} simulated "
        f"training videos of {simulation.min_duration:.0f}-{simulation.max_duration:.0f} s, "
        f"{simulation.num_test} test videos, width 64, {epochs} epochs of AdamW at learning rate "
        "0.001, batch 4, gradients clipped at norm 1.0 (DEL's own recipe: 6.0), averaged weights"
    )
    scores = []
    for row in ROWS:
        values = [score_of(folder_of(work, row, seed, epochs)) for seed in seeds]
        known = [value for value in values if value is not None]
        if len(known) == len(seeds):
            scores.append(Score(row, problem, seeds, known))
    return scores


def format_table(scores: list[Score]) -> str:
    """Return mean and sample standard deviation of every row as a Markdown table."""
    lines = ["| row | average mAP | by seed |", "|---|---|---|"]
    for score in scores:
        values = ", ".join(f"{value:.1f}" for value in score.values)
        lines.append(f"| {score.name} | {score.mean:.1f} ± {score.spread:.1f} | {values} |")
    return "\n".join(lines)


def main() -> None:
    """Train what is asked for and write the record of all that is finished."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="where data and runs are kept")
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--folder", type=Path, default=RESULTS, help="where records are kept")
    options = parser.parse_args()
    work = options.work.resolve()
    train_missing(options.rows, options.seeds, options.epochs, DATA, work)
    scores = finished_scores(options.seeds, options.epochs, DATA, work)
    print(format_table(scores))
    write_record("comparison", [], [], SEEDS[0], threads=1, folder=options.folder, scores=scores)


if __name__ == "__main__":
    main()
