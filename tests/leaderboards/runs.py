"""Results of test runs as the leaderboard finds them, without running anything."""

from pathlib import Path

from davezoo.evaluation.protocols import get_protocol
from davezoo.evaluation.results import EvaluationResult
from davezoo.evaluation.run_results import RunResult
from davezoo.recipes import read_data_settings

# As configs/loco.yaml sets them, with defaults of LoCo that its tables change.
LOCO = {
    "learning_rate": 1e-4,
    "weight_decay": 1e-4,
    "warmup_epochs": 5.0,
    "pyramid": True,
    "attention": "adaptive",
    "window_size": 8,
    "correspondence": "adjustable_gaussian",
    "modalities": "both",
    "nms": {"sigma": 0.4},
}


def make_run(
    avg_map=0.5,
    *,
    method="LoCo",
    seed=0,
    changes=None,
    data="unav100_onepeace",
    protocol="unav100",
    simulated=False,
    epochs=45,
    num_videos=None,
    missing=(),
    sha="a" * 64,
    written="2026-01-01T00:00:00Z",
):
    """A result with one value at all thresholds; `changes` are settings beside LoCo's defaults."""
    rules = get_protocol(protocol)
    num_videos = rules.num_videos if num_videos is None else num_videos
    result = EvaluationResult(
        protocol=rules.to_dict(),
        split=rules.default_split,
        avg_map=avg_map,
        map=[avg_map] * len(rules.tiou_thresholds),
        classes=[],
        num_events=10,
        num_expected_videos=num_videos,
        num_scored_videos=num_videos - len(missing),
        missing_videos=list(missing),
        num_blocked_videos=0,
        num_near_duplicate_events=0,
        num_short_events=0,
        num_predictions=100,
        num_blocked_predictions=0,
        unknown_labels={},
        num_unknown_video_predictions=0,
        num_protocol_videos=rules.num_videos,
    )
    settings = read_data_settings(data) | {"root": f"/data/{seed}", "seed": seed}
    trainer = {"max_epochs": epochs, "default_root_dir": f"/runs/{seed}"}
    return RunResult(
        result=result,
        method=method,
        settings={"model": LOCO | (changes or {}), "data": settings},
        changed=sorted(changes or {}),
        training={"seed_everything": seed, "trainer": trainer, "data": settings},
        seed=seed,
        data_seed=seed,
        best_epoch=3,
        annotations_sha256=sha,
        simulated=simulated,
        notes=[],
        layer_parameters=1_000_000,
        parameters=1_100_000,
        layer_macs=2_000_000_000,
        attention_macs=0,
        device="cpu",
        versions={"davezoo": "0"},
        commit=None,
        written=written,
    )


def write_run(folder: Path, run: RunResult) -> Path:
    run.write(folder / "run.json")
    return folder / "run.json"
