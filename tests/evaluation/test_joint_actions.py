import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davezoo.cli import main
from davezoo.evaluation.average_precision import temporal_iou
from davezoo.evaluation.joint_actions import Detected, join_epic, pair_detections
from davezoo.evaluation.predictions import PredictionError, read_predictions
from davezoo.evaluation.scoring import score
from tests.evaluation.tables import make_annotations


def detected(rows):
    """Rows are (start, length, score)."""
    return Detected(
        np.array([(start, start + length) for start, length, _ in rows], float).reshape(-1, 2),
        np.array([score for *_, score in rows], float),
        np.arange(len(rows)).astype(object),
    )


def slow_pairs(verbs, nouns, min_tiou):
    """Every verb with every noun, one by one; (verb, noun) -> start, end, score."""
    pairs = {}
    for v, (verb, verb_score) in enumerate(zip(verbs.segments, verbs.scores, strict=True)):
        for n, (noun, noun_score) in enumerate(zip(nouns.segments, nouns.scores, strict=True)):
            if temporal_iou(verb, noun) >= min_tiou:
                total = verb_score + noun_score
                share = verb_score / total if total else 0.5
                ends = [share * a + (1 - share) * b for a, b in zip(verb, noun, strict=True)]
                pairs[v, n] = (*ends, math.sqrt(verb_score * noun_score))
    return pairs


# Fifths, so that tIoUs lie on the thresholds and scores tie.
fifths = st.integers(0, 5).map(lambda number: number / 5)
rows = st.lists(st.tuples(st.integers(0, 30).map(lambda n: n / 5), fifths, fifths), max_size=8)


@settings(max_examples=150, deadline=None)
@given(rows, rows, st.sampled_from([0.2, 0.5, 1.0]))
def test_pairs_equal_the_slow_rule(verb_rows, noun_rows, min_tiou):
    verbs, nouns = detected(verb_rows), detected(noun_rows)
    pairs = pair_detections(verbs, nouns, min_tiou)
    found = {
        (v, n): (*segment, score)
        for v, n, segment, score in zip(
            pairs.verbs.tolist(),
            pairs.nouns.tolist(),
            pairs.segments.tolist(),
            pairs.scores.tolist(),
            strict=True,
        )
    }
    expected = slow_pairs(verbs, nouns, min_tiou)
    assert found.keys() == expected.keys()
    assert len(found) == len(pairs.scores)
    for pair, values in expected.items():
        assert found[pair] == pytest.approx(values, abs=1e-12)
    assert (np.diff(pairs.scores) <= 0).all()


def write(path, results):
    path.write_text(json.dumps({"results": results}))
    return path


def entry(start, end, label, confidence):
    return {"segment": [start, end], "label": label, "score": confidence}


@pytest.fixture
def files(tmp_path):
    verbs = {
        "P01_01": [entry(0, 10, "take", 0.9), entry(20, 30, "wash", 0.4)],
        "P01_02": [entry(0, 10, "take", 0.5)],
        "P01_03": [],
    }
    nouns = {
        "P01_01": [entry(0, 8, "cup", 0.1), entry(20, 30, "plate", 0.9), entry(1, 9, "tap", 0.9)],
        "P01_03": [entry(0, 1, "cup", 0.5)],
        "P01_04": [entry(0, 1, "cup", 0.5)],
    }
    return {
        "verbs": write(tmp_path / "verbs.json", verbs),
        "nouns": write(tmp_path / "nouns.json", nouns),
        "output": tmp_path / "actions.json",
    }


def test_is_a_command(files, capsys):
    main(["join-epic", *(f"--{name}={path}" for name, path in files.items())])
    printed = capsys.readouterr().out
    assert "3 verbs and 5 nouns make 3 pairs with tIoU 0.5 or more; 3 are kept" in printed
    assert f"1 videos are not in {files['verbs']} and get none: P01_04" in printed
    assert f"1 videos are not in {files['nouns']} and get none: P01_02" in printed
    results = json.loads(files["output"].read_text())["results"]
    assert {video: len(entries) for video, entries in results.items()} == {
        "P01_01": 3,
        "P01_02": 0,
        "P01_03": 0,
        "P01_04": 0,
    }
    first = results["P01_01"][0]
    assert first["segment"] == pytest.approx([0.5, 9.5])
    assert first["score"] == pytest.approx(0.9)
    assert (first["verb"], first["noun"], first["action"]) == ("take", "tap", "take,tap")
    assert [e["action"] for e in results["P01_01"][1:]] == ["wash,plate", "take,cup"]


def test_at_most_so_many_a_video(files):
    join_epic(**files, max_events=1)
    results = json.loads(files["output"].read_text())["results"]
    assert [e["action"] for e in results["P01_01"]] == ["take,tap"]


def test_is_scored_by_all_three_tasks(files):
    """Of two events the first is found with a wrong noun, the second with both."""
    join_epic(**files, max_events=2)
    expected = {"verb": ["take", "wash"], "noun": ["cup", "plate"]}
    expected["action"] = ["take cup", "wash plate"]
    found = {}
    for task, names in expected.items():
        annotations = make_annotations(
            [("P01_01", 0, (0, 10)), ("P01_01", 1, (20, 30))], class_names=names
        )
        table = read_predictions(files["output"], task)
        found[task] = score(annotations, table, f"epic100-{task}").avg_map
    assert found == {"verb": 1.0, "noun": 0.5, "action": 0.5}


def test_class_indices_make_action_indices(files, tmp_path):
    files["verbs"] = write(tmp_path / "v.json", {"v": [entry(0, 1, 3, 0.5) | {"label": 3}]})
    files["nouns"] = write(tmp_path / "n.json", {"v": [entry(0, 1, 7, 0.5)]})
    join_epic(**files)
    assert read_predictions(files["output"], "action").class_names == [907]


def test_class_tables_turn_names_into_indices(files, tmp_path):
    (tmp_path / "v.txt").write_text("take\nput\nwash\n")
    (tmp_path / "n.txt").write_text("tap\nspoon\nplate\ncup\n")
    lists = f'["{tmp_path}/v.txt","{tmp_path}/n.txt"]'
    main(["join-epic", f"--classes={lists}", *(f"--{k}={path}" for k, path in files.items())])
    results = json.loads(files["output"].read_text())["results"]
    assert [e["action"] for e in results["P01_01"]] == ["0,0", "2,2", "0,3"]
    (tmp_path / "n.txt").write_text("tap\nspoon\n")
    with pytest.raises(PredictionError, match=r"nouns\.json.*n\.txt, got \['cup', 'plate'\]"):
        join_epic(**files, classes=[tmp_path / "v.txt", tmp_path / "n.txt"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"min_tiou": 0.0}, "`min_tiou`"),
        ({"min_tiou": 1.5}, "`min_tiou`"),
        ({"max_events": 0}, "`max_events`"),
        ({"classes": ["verbs.csv"]}, "`classes`.*two files.*got 1"),
    ],
)
def test_limits_are_checked(files, change, message):
    with pytest.raises(PredictionError, match=message):
        join_epic(**files, **change)


@pytest.mark.parametrize(
    ("noun", "message"),
    [
        (entry(0, 1, 3, 0.5), r"verbs\.json and .*n\.json.*names or all with class indices"),
        (entry(0, 1, "cup", 1.5), r"n\.json.*from 0 to 1, got 1\.5 in video 'v'"),
        (entry(0, 1, "cup", -0.5), r"n\.json.*from 0 to 1"),
        (entry(1, 0, "cup", 0.5), r"n\.json.*not before the start"),
    ],
)
def test_bad_input(files, tmp_path, noun, message):
    files["nouns"] = write(tmp_path / "n.json", {"v": [noun]})
    with pytest.raises(PredictionError, match=message):
        join_epic(**files)
    assert not files["output"].exists()
