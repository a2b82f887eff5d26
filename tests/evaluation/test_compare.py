import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from davezoo.annotations import read_annotations
from davezoo.cli import main
from davezoo.evaluation.bootstrap import BootstrapError
from davezoo.evaluation.compare import ComparisonError, compare, compare_predictions
from davezoo.evaluation.predictions import read_predictions, write_predictions
from davezoo.evaluation.protocols import ProtocolError
from davezoo.evaluation.scoring import score
from tests.evaluation.tables import make_annotations, make_predictions

PAGE = Path(__file__).parents[2] / "docs" / "statistics.md"
VIDEOS = [f"video {index}" for index in range(12)]


def detections(seed, videos=VIDEOS):
    """Noisy copies of the events and as many false ones; a lower seed has less noise."""
    generator = np.random.default_rng(seed)
    rows = []
    for index, video in enumerate(videos):
        start, end = np.sort(10 * index % 37 + generator.normal([0, 8], 0.5 + seed))
        rows.append((video, index % 3, (start, end), generator.random()))
        rows.append((video, (index + seed) % 3, (start + 5, end + 5), generator.random()))
    return rows


EVENTS = [(video, i % 3, (10 * i % 37, 10 * i % 37 + 8)) for i, video in enumerate(VIDEOS)]


@pytest.fixture
def files(tmp_path):
    """Annotations and two files of detections; returns the options of the command."""
    database = {
        video: {
            "duration": 60,
            "subset": "test",
            "annotations": [{"segment": segment, "label": "abc"[label]}],
        }
        for video, label, segment in EVENTS
    }
    database["elsewhere"] = {"duration": 60, "subset": "train", "annotations": []}
    (tmp_path / "annotations.json").write_text(json.dumps({"database": database}))
    for name, seed in (("first", 0), ("second", 2)):
        write_predictions(tmp_path / f"{name}.json", make_predictions(detections(seed)))
    paths = {name: tmp_path / f"{name}.json" for name in ("first", "second", "annotations")}
    return {**paths, "resamples": 200, "output": tmp_path / "results" / "c.json"}


def compare_tables(first, second, num_resamples=100, annotations=None, **options):
    tables = make_predictions(first), make_predictions(second)
    annotations = make_annotations(EVENTS) if annotations is None else annotations
    return compare_predictions(annotations, tables, num_resamples=num_resamples, **options)


def test_scores_are_those_of_evaluate_to_the_last_bit(files):
    compare(**files)
    written = json.loads(files["output"].read_text())
    split = read_annotations(files["annotations"]).split("test")
    for name in ("first", "second"):
        result = score(split, read_predictions(files[name]))
        assert written["avg_map"][name] == result.avg_map
        assert [d[name] for d in written["map"]] == result.map
    first, second = written["avg_map"]["first"], written["avg_map"]["second"]
    assert first > second
    assert written["avg_map"]["value"] == first - second


def test_prints_and_writes(files, capsys):
    compare(**files, seed=5, confidence=0.9)
    printed = capsys.readouterr().out
    written = json.loads(files["output"].read_text())
    assert written["names"] == [str(files["first"]), str(files["second"])]
    assert [written[key] for key in ("num_resamples", "seed", "confidence", "interval_method")] == [
        200,
        5,
        0.9,
        "percentile",
    ]
    assert "90% interval" in printed
    assert "paired bootstrap over 12 videos: 200 resamples, seed 5, percentile intervals" in printed
    average = written["avg_map"]
    row = next(line for line in printed.splitlines() if line.startswith("Avg"))
    scores = [average["first"], average["second"], average["value"]]
    ends = [average["interval"]["low"], average["interval"]["high"]]
    numbers = [float(word.rstrip("%")) for word in row.replace(" to ", " ").split()[1:]]
    np.testing.assert_allclose(numbers[:5], 100 * np.array(scores + ends), rtol=0, atol=0.0051)
    assert numbers[5] == pytest.approx(100 * average["interval"]["other_sign"], abs=0.051)
    assert numbers[6] == pytest.approx(average["interval"]["p_value"], rel=0.051)
    assert len([line for line in printed.splitlines() if line.startswith("mAP@")]) == 9


def test_a_clear_difference_is_sure_and_none_is_not():
    clear = compare_tables(detections(0), detections(3), num_resamples=999).avg_map
    assert clear.interval.low > 0
    assert clear.interval.p_value < 0.05
    assert clear.interval.low < clear.value < clear.interval.high
    same = compare_tables(detections(1), detections(1))
    for difference in [same.avg_map, *same.map]:
        assert (difference.value, difference.interval.low, difference.interval.high) == (0, 0, 0)
        assert (difference.interval.other_sign, difference.interval.p_value) == (1, 1)


def test_swapping_the_files_changes_the_sign():
    there = compare_tables(detections(0), detections(1))
    back = compare_tables(detections(1), detections(0))
    for a, b in zip([there.avg_map, *there.map], [back.avg_map, *back.map], strict=True):
        assert a.value == -b.value
        assert (a.interval.low, a.interval.high) == pytest.approx(
            (-b.interval.high, -b.interval.low), abs=1e-12
        )
        assert a.interval.p_value == b.interval.p_value
        assert a.interval.other_sign == b.interval.other_sign


def test_files_have_no_names_on_the_command_line(files, capsys):
    words = [str(files["first"]), str(files["second"])]
    main(["compare", *words, f"--annotations={files['annotations']}", "--resamples", "100"])
    assert "100 resamples, seed 0" in capsys.readouterr().out


def test_missing_second_file_is_said(files, capsys):
    with pytest.raises(SystemExit):
        main(["compare", str(files["first"]), f"--annotations={files['annotations']}"])
    assert "second" in capsys.readouterr().err


def test_detections_of_another_split_are_refused(files):
    write_predictions(files["second"], make_predictions([("elsewhere", 0, (0, 5), 0.5)]))
    message = r"second\.json to hold detections for split 'test', got none for its 12 videos and 1"
    with pytest.raises(ComparisonError, match=message):
        compare(**files)


def test_different_videos_are_named_and_counted():
    comparison = compare_tables(detections(0, VIDEOS[2:]), detections(0, VIDEOS[:11]))
    assert "2 videos are in B alone: video 0, video 1" in comparison.remarks
    assert "1 videos are in A alone: video 11" in comparison.remarks
    assert "A: 2 videos without detections count as missed: video 0, video 1" in comparison.remarks
    many = compare_tables(detections(0), detections(0, VIDEOS[:2])).remarks
    assert any(remark.startswith("10 videos are in A alone: video 2,") for remark in many)
    assert any(remark.endswith("video 6, ...") for remark in many)


def test_remarks_on_both_files_are_made_once():
    comparison = compare_tables(detections(0), detections(1))
    assert comparison.remarks == [
        "A and B: the annotations have 12 videos where published results are about 2167"
    ]


def test_detections_outside_the_split_count_and_are_said():
    stray = [*detections(1), ("elsewhere", 0, (0, 5), 2.0)]
    comparison = compare_tables(stray, detections(1))
    assert comparison.avg_map.value < 0
    assert "A: 1 detections in unknown videos: false positives" in comparison.remarks
    assert "A: detections in unknown videos count once in every resample" in comparison.remarks


def test_resamples_without_events_are_left_out_and_counted():
    annotations = make_annotations([("v", 0, (0, 10))], ["v", "w"])
    first = [("v", 0, (0, 10), 0.5)]
    second = [("v", 0, (0, 8), 0.5), ("w", 0, (0, 8), 0.6)]
    comparison = compare_tables(first, second, annotations=annotations)
    num_empty = comparison.num_empty_resamples  # one in four draws takes the empty video twice
    assert 15 < num_empty < 35
    assert comparison.num_resamples == 100
    assert f"{num_empty} resamples without any event are left out" in comparison.remarks
    assert np.isfinite([comparison.avg_map.interval.low, comparison.avg_map.interval.high]).all()
    with pytest.raises(BootstrapError, match="at least 39 resamples with events"):
        compare_tables(first, second, 39, annotations)


def test_one_video_says_nothing():
    """Every resample is the same: the interval would have no width, p the least that it can be."""
    annotations = make_annotations([("v", 0, (0, 10))])
    with pytest.raises(ComparisonError, match=r"at least 2 videos to draw from, got 1; .*evaluate"):
        compare_tables([("v", 0, (0, 10), 0.5)], [("v", 0, (0, 2), 0.5)], annotations=annotations)


def test_blocked_videos_are_not_drawn():
    comparison = compare_tables(
        detections(0), detections(1), protocol="activitynet13-blocked", blocked=VIDEOS[:5]
    )
    assert (comparison.num_videos, comparison.num_events) == (7, 7)
    kept = make_annotations(EVENTS[5:])
    rest = [detections(seed)[10:] for seed in (0, 1)]
    fewer = compare_tables(*rest, annotations=kept, protocol="activitynet13-full")
    assert fewer.map == comparison.map


def test_verbs_of_epic(tmp_path, capsys):
    (tmp_path / "EPIC_100_validation.csv").write_text(
        "video_id,start_timestamp,stop_timestamp,verb,verb_class,noun,noun_class\n"
        "P01_11,00:00:00.00,00:00:10.00,take,0,plate,2\n"
        "P01_12,00:00:00.00,00:00:10.00,take,0,plate,2\n"
    )
    entry = {"segment": [0, 10], "verb": 0, "noun": 3, "score": 0.9}
    for name, verb in (("a", 0), ("b", 1)):
        content = {"results": {video: [entry | {"verb": verb}] for video in ("P01_11", "P01_12")}}
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    paths = tmp_path / "a.json", tmp_path / "b.json", tmp_path / "EPIC_100_validation.csv"
    compare(*paths, protocol="epic100-verb", resamples=50)
    printed = capsys.readouterr().out
    assert "Avg       100.00   0.00 +100.00" in printed
    assert "B: 2 detections of unknown classes dropped" in printed


def test_file_names_cannot_steer_a_terminal():
    table = compare_tables(detections(0), detections(1), names=("\x1b[31mred", "b")).format_table()
    assert "\x1b" not in table
    assert "A  ?[31mred\nB  b\n" in table


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"seed": -1}, ComparisonError, "`seed` to be 0 or more, got -1"),
        ({"resamples": 10}, BootstrapError, "at least 39 resamples .* got 10"),
        ({"confidence": 95}, BootstrapError, "between 0 and 1, got 95"),
        ({"protocol": "unav"}, ProtocolError, "unav100"),
    ],
)
def test_refused_settings(files, options, error, message):
    with pytest.raises(error, match=message):
        compare(**{**files, **options})
    assert not files["output"].exists()


def test_starts_without_torch():
    code = "import sys, davezoo.evaluation.compare; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_documented_commands_print_what_the_page_shows(files, capsys):
    page = PAGE.read_text(encoding="utf-8")
    commands = re.findall(r"^```bash\n(davezoo compare .*?)^```", page, re.DOTALL | re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        words = shlex.split(command.replace("\\\n", ""))
        renamed = dict.fromkeys(words[2:4], "first") | {words[3]: "second"}
        renamed |= {words[words.index("--annotations") + 1]: "annotations"}
        if "--output" in words:
            renamed[words[words.index("--output") + 1]] = "output"
        main([str(files[renamed[word]]) if word in renamed else word for word in words[1:]])
        printed = capsys.readouterr().out.splitlines()
        assert printed[3] in page
        assert printed[-3].replace("12 videos", "96 videos") in page
