"""The command, from files to the page."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from davezoo.annotations import write_annotations
from davezoo.cli import main
from davezoo.diagnosis.diagnose import DiagnosisError, diagnose_detections
from davezoo.evaluation.predictions import write_predictions
from davezoo.evaluation.protocols import ProtocolError, get_protocol
from davezoo.evaluation.scoring import score
from tests.evaluation.tables import as_predictions, make_annotations, make_predictions

if TYPE_CHECKING:
    from pathlib import Path

EVENTS = [("v", 0, (0, 4)), ("v", 1, (2, 30)), ("w", 0, (5, 9)), ("w", 2, (0, 90))]
DETECTIONS = [
    ("v", 0, (0, 4), 0.9),
    ("v", 1, (3, 29), 0.8),
    ("v", 1, (0, 4), 0.7),
    ("w", 0, (7, 9), 0.6),
    ("elsewhere", 0, (0, 4), 0.5),
]


def test_perfect_detections_have_nothing_to_repair() -> None:
    annotations = make_annotations(EVENTS)
    diagnosis = diagnose_detections(annotations, as_predictions(annotations))
    assert diagnosis.errors.avg_map == diagnosis.result.avg_map == 1
    assert set(diagnosis.errors.gains.values()) == {0.0}
    assert diagnosis.errors.counts.sum(axis=0).tolist() == [4, 0, 0, 0, 0, 0]
    assert {e.found_share for e in diagnosis.durations} == {1.0}
    values = [s.avg_map_n for entry in diagnosis.sensitivities for s in entry.scores]
    assert values == pytest.approx([1.0] * len(values))
    assert (diagnosis.confusions, diagnosis.modalities) == ([], [])
    assert {e.mean for e in diagnosis.boundaries.summary} == {0.0}


@pytest.mark.parametrize("protocol", ["unav100", "thumos14-212", "epic100-verb"])
def test_score_is_that_of_the_evaluator(protocol: str) -> None:
    annotations, table = make_annotations(EVENTS), make_predictions(DETECTIONS)
    diagnosis = diagnose_detections(annotations, table, protocol)
    assert diagnosis.result == score(annotations, table, protocol)
    assert diagnosis.errors.avg_map == pytest.approx(diagnosis.result.avg_map, rel=1e-12)
    assert diagnosis.tiou == pytest.approx(0.5)


def test_durations_of_left_out_videos_do_not_shift_the_others() -> None:
    """The first video is blocked: the second one's event fills all of it, not a tenth."""
    annotations = make_annotations([("v", 0, (0, 10)), ("w", 0, (0, 10))])
    annotations = replace(annotations, videos=annotations.videos.assign(duration=[100.0, 10.0]))
    diagnosis = diagnose_detections(
        annotations, as_predictions(annotations), "activitynet13-blocked", ["v"]
    )
    assert [s.group for s in diagnosis.sensitivities[1].scores] == ["over 80"]


def test_missing_modality_is_refused() -> None:
    annotations = make_annotations(EVENTS)
    table = as_predictions(annotations)
    with pytest.raises(DiagnosisError, match=r"Expected `visual_predictions` beside `audio_pred"):
        diagnose_detections(annotations, table, audio=table)
    with pytest.raises(DiagnosisError, match=r"Expected `audio_predictions` beside `visual_pred"):
        diagnose_detections(annotations, table, visual=table)


@pytest.mark.parametrize("tiou", [0.55, 0.0, 2.0, np.nan])
def test_threshold_that_the_protocol_lacks_is_refused(tiou: float) -> None:
    annotations = make_annotations(EVENTS)
    with pytest.raises(DiagnosisError, match=r"Expected `tiou` .* choose one of \[0.1, 0.2, 0.3,"):
        diagnose_detections(annotations, as_predictions(annotations), tiou=tiou)


def test_decimal_means_the_threshold_of_the_protocol() -> None:
    annotations = make_annotations(EVENTS)
    diagnosis = diagnose_detections(annotations, as_predictions(annotations), tiou=0.3)
    assert diagnosis.tiou == get_protocol("unav100").tiou_thresholds[2] != 0.3


def test_unknown_protocol_is_refused() -> None:
    annotations = make_annotations(EVENTS)
    with pytest.raises(ProtocolError, match="unav100"):
        diagnose_detections(annotations, as_predictions(annotations), "unav10")


@pytest.mark.parametrize("other", ["predictions", "audio_predictions", "visual_predictions"])
def test_detections_of_another_split_are_refused(tmp_path: Path, other: str) -> None:
    """They would find nothing, and the joint run would seem to gain all that it finds."""
    annotations = make_annotations(EVENTS)
    write_annotations(annotations, tmp_path / "a.json")
    write_predictions(tmp_path / "p.json", make_predictions(DETECTIONS))
    write_predictions(tmp_path / "other.json", make_predictions([("train", 0, (0, 1), 0.5)]))
    names = ("predictions", "audio_predictions", "visual_predictions")
    words = [f"--{name}={tmp_path}/{'other' if name == other else 'p'}.json" for name in names]
    with pytest.raises(SystemExit, match=r"other\.json to hold detections in split 'test', got 1"):
        main(["diagnose", *words, f"--annotations={tmp_path}/a.json", f"--output={tmp_path}/d"])
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize("modalities", [False, True])
def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], modalities: bool) -> None:
    annotations, table = make_annotations(EVENTS), make_predictions(DETECTIONS)
    write_annotations(annotations, tmp_path / "a.json")
    write_predictions(tmp_path / "p.json", table)
    words = [f"--predictions={tmp_path}/p.json", f"--annotations={tmp_path}/a.json"]
    if modalities:
        words += [f"--audio_predictions={tmp_path}/p.json"]
        words += [f"--visual_predictions={tmp_path}/p.json"]
    main(["diagnose", *words, f"--output={tmp_path}/out/d.html"])
    printed = capsys.readouterr().out
    assert f"average mAP {100 * score(annotations, table).avg_map:.2f}; gained by" in printed
    assert "  (0, 5]       50.0  100.0   of 2 events\n" in printed
    assert ("joining audio and vision gains 0 and loses 0 of 4 events" in printed) == modalities
    assert "1 detections in unknown videos: false positives\n" in printed
    remark = "audio run: 1 detections in unknown videos: false positives"
    assert (f"{remark}\n" in printed) == modalities
    page = (tmp_path / "out" / "d.html").read_text(encoding="utf-8")
    assert ("What each modality brings" in page) == modalities
    assert "1 detections in unknown videos: false positives." in page
    assert (f"{remark}." in page) == modalities
    average = f"{100 * score(annotations, table).avg_map:.2f}"
    assert (f"{average} % with visual alone" in page) == modalities
