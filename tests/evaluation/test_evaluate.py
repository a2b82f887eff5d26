import gzip
import json
import subprocess
import sys

import numpy as np
import pytest
from jsonargparse import auto_cli

from davezoo.annotations import AnnotationError, read_annotations
from davezoo.cli import main
from davezoo.evaluation.evaluate import evaluate
from davezoo.evaluation.predictions import write_predictions
from davezoo.evaluation.protocols import ProtocolError
from davezoo.evaluation.results import EvaluationResult
from tests.evaluation.tables import as_predictions


@pytest.fixture
def files(tmp_path):
    """Annotations and detections as files; keywords set the subsets of the two videos."""

    def write(first="test", second="train"):
        entry = {"duration": 20, "annotations": [{"segment": [0, 10], "label": "bark"}]}
        subsets = {"v": first, "w": second}
        database = {
            video: entry | ({} if subset is None else {"subset": subset})
            for video, subset in subsets.items()
        }
        results = {"v": [{"segment": [0, 8.5], "label": "bark", "score": 0.5}]}
        (tmp_path / "a.json").write_text(json.dumps({"database": database}))
        content = gzip.compress(json.dumps({"results": results}).encode())
        (tmp_path / "p.json.gz").write_bytes(content)
        return {"predictions": tmp_path / "p.json.gz", "annotations": tmp_path / "a.json"}

    return write


def test_prints_and_writes(files, tmp_path, capsys):
    output = tmp_path / "results" / "r.json"
    evaluate(**files(), output=output)
    table = capsys.readouterr().out
    result = EvaluationResult.read(output)
    assert table == result.format_table()
    assert result.avg_map == pytest.approx(8 / 9)
    assert "88.89" in table
    assert "split test: 1 videos expected, 1 scored, 0 missing" in table


def test_table_of_classes(files, capsys):
    evaluate(**files(), per_class=True)
    assert "bark" in capsys.readouterr().out


@pytest.mark.parametrize("spell", ["v_{}", "{}.mp4"])
def test_ids_that_differ_by_a_prefix_or_an_ending_are_told(tmp_path, capsys, spell):
    """Without it the score is 0 and nothing says why."""
    ids = ["-a1B", "zQ_x", "k_99", "Mmmm"]
    events = [{"segment": [0, 10], "label": "bark"}]
    database = {v: {"subset": "test", "duration": 20, "annotations": events} for v in ids}
    results = {spell.format(v): [event | {"score": 0.5} for event in events] for v in ids}
    paths = tmp_path / "p.json", tmp_path / "a.json"
    paths[0].write_text(json.dumps({"results": results}))
    paths[1].write_text(json.dumps({"database": database}))
    evaluate(*paths, output=tmp_path / "r.json")
    told = f"call most missing videos otherwise, such as {spell.format('-a1B')!r} for '-a1B'"
    assert told in capsys.readouterr().out
    assert EvaluationResult.read(tmp_path / "r.json").other_id == ["-a1B", spell.format("-a1B")]


@pytest.mark.parametrize(
    ("subsets", "split", "protocol", "expected"),
    [
        (("test", "train"), None, "unav100", 1),
        (("Test", "train"), None, "unav100", 1),
        (("validation", "test"), "Validation", "unav100", 1),
        (("anything", "anything"), None, "unav100", 2),
        ((None, None), None, "activitynet13-full", 2),
        (("validation", "training"), None, "activitynet13-full", 1),
    ],
)
def test_split(files, capsys, subsets, split, protocol, expected):
    evaluate(**files(*subsets), split=split, protocol=protocol)
    assert f": {expected} videos expected, 1 scored" in capsys.readouterr().out


@pytest.mark.parametrize("split", [None, "nowhere"])
def test_unknown_split_lists_those_there_are(files, split):
    with pytest.raises(AnnotationError, match=r"\['train', 'validation'\]"):
        evaluate(**files("train", "validation"), split=split)


def test_unknown_protocol(files):
    with pytest.raises(ProtocolError, match="unav100"):
        evaluate(**files(), protocol="unav")


def test_blocked_list(files, tmp_path, capsys):
    blocked = tmp_path / "blocked.json"
    blocked.write_text('["w", "elsewhere"]')
    evaluate(**files("test", "test"), protocol="activitynet13-blocked", blocked=blocked)
    table = capsys.readouterr().out
    assert "1 videos expected, 1 scored" in table
    assert "1 videos blocked" in table


@pytest.mark.parametrize("content", ['{"v": 1}', "[1]", "no"])
def test_damaged_blocked_list(files, tmp_path, content):
    blocked = tmp_path / "blocked.json"
    blocked.write_text(content)
    with pytest.raises(AnnotationError, match=r"blocked\.json"):
        evaluate(**files("validation"), protocol="activitynet13-blocked", blocked=blocked)


def test_is_a_command(files, capsys):
    paths = files()
    arguments = ["--predictions", str(paths["predictions"])]
    arguments += ["--annotations", str(paths["annotations"]), "--per_class", "true"]
    auto_cli(evaluate, args=arguments, as_positional=False)
    assert "88.89" in capsys.readouterr().out


def test_own_csv(tmp_path, capsys):
    (tmp_path / "a.csv").write_text("video,start,end,label\nv,0,10,bark\nw,2,4,rain\n")
    results = {"v": [{"segment": [0, 8.5], "label": "bark", "score": 0.5}]}
    (tmp_path / "p.json").write_text(json.dumps({"results": results}))
    evaluate(tmp_path / "p.json", tmp_path / "a.csv")
    printed = capsys.readouterr().out
    assert "44.44" in printed  # 8 of 9 thresholds for one of two classes
    assert ": 2 videos expected, 1 scored, 1 missing" in printed


EPIC_CSV = """\
video_id,start_timestamp,stop_timestamp,verb,verb_class,noun,noun_class
P01_11,00:00:00.00,00:00:10.00,take,0,plate,2
P01_11,00:01:00.00,00:01:10.00,put-down,1,plate,2
"""


@pytest.fixture
def epic(tmp_path):
    """The first action is found; of the second, the noun alone."""
    (tmp_path / "EPIC_100_validation.csv").write_text(EPIC_CSV)
    found = [((0, 10), 0, 2, 0.9), ((60, 70), 3, 2, 0.8)]
    results = {
        "P01_11": [
            {"segment": segment, "verb": verb, "noun": noun, "score": confidence}
            for segment, verb, noun, confidence in found
        ]
    }
    (tmp_path / "p.json").write_text(json.dumps({"results": results}))
    return {
        "predictions": tmp_path / "p.json",
        "annotations": tmp_path / "EPIC_100_validation.csv",
        "output": tmp_path / "r.json",
    }


@pytest.mark.parametrize(("task", "expected"), [("verb", 0.5), ("noun", 1.0), ("action", 0.5)])
def test_protocol_says_which_label_of_epic_counts(epic, capsys, task, expected):
    words = [f"--{name}={path}" for name, path in epic.items()]
    main(["evaluate", *words, f"--protocol=epic100-{task}"])
    printed = capsys.readouterr().out
    assert f"protocol epic100-{task} v1, split (all videos): 1 videos expected" in printed
    assert "the annotations have 1 videos where published results are about 138" in printed
    assert EvaluationResult.read(epic["output"]).avg_map == expected


def test_actions_by_name(epic, tmp_path):
    (tmp_path / "v.csv").write_text("id,key\n0,take\n1,put\n")
    nouns = "".join(f"{index},noun {index}\n" for index in range(300)).replace(
        "noun 2\n", "plate\n"
    )
    (tmp_path / "n.csv").write_text("id,key\n" + nouns)
    entry = {"segment": [0, 10], "verb": "take", "noun": "plate", "score": 0.9}
    epic["predictions"].write_text(json.dumps({"results": {"P01_11": [entry]}}))
    evaluate(**epic, protocol="epic100-action", classes=[tmp_path / "v.csv", tmp_path / "n.csv"])
    result = EvaluationResult.read(epic["output"])
    assert result.avg_map == 0.5
    assert [c.label for c in result.classes] == ["take plate", "put plate"]


def test_labels_must_be_those_of_the_protocol(epic):
    with pytest.raises(ProtocolError, match=r"'noun' with protocol 'epic100-noun', got 'verb'"):
        evaluate(**epic, protocol="epic100-noun", labels="verb")


@pytest.mark.parametrize("task", ["verb", "noun", "action"])
def test_epic_annotations_as_detections_score_1(shared, tmp_path, capsys, task):
    folder = shared / "data/epic100"
    path = folder / "EPIC_100_validation.csv.gz"
    verbs, nouns = (read_annotations(path, labels=kind).events for kind in ("verb", "noun"))
    results = {}
    for video, start, end, verb, noun in zip(
        *(verbs[column].tolist() for column in ("video", "start", "end", "label")),
        nouns["label"].tolist(),
        strict=True,
    ):
        entry = {"segment": [start, end], "score": 1.0, "verb": verb, "noun": noun}
        results.setdefault(video, []).append(entry)
    (tmp_path / "p.json").write_text(json.dumps({"results": results}))
    classes = [folder / f"EPIC_100_{kind}_classes.csv.gz" for kind in ("verb", "noun")]
    chosen = {"verb": classes[0], "noun": classes[1], "action": classes}[task]
    output = tmp_path / "r.json"
    evaluate(tmp_path / "p.json", path, f"epic100-{task}", classes=chosen, output=output)
    result = EvaluationResult.read(output)
    assert result.map == [1.0] * 5
    assert (result.num_events, result.num_expected_videos, result.differences) == (9668, 138, [])
    assert (
        len(result.classes)
        == {
            "verb": 78,
            "noun": 211,
            "action": len(set(zip(verbs["label"], nouns["label"], strict=True))),
        }[task]
    )


@pytest.mark.parametrize(
    ("folder", "table", "protocol", "num_events"),
    [
        ("thumos14", "thumos14_test_tsp_groundtruth", "thumos14-212", 3358),
        ("activitynet13", "activitynet_v1-3_valid_tsp_groundtruth", "activitynet13-full", 7654),
    ],
)
def test_tsp_annotations_as_detections_score_1(
    shared, tmp_path, folder, table, protocol, num_events
):
    path = shared / "data" / folder / f"{table}.csv.gz"
    write_predictions(tmp_path / "p.json", as_predictions(read_annotations(path)))
    evaluate(tmp_path / "p.json", path, protocol, output=tmp_path / "r.json")
    result = EvaluationResult.read(tmp_path / "r.json")
    assert result.map == [1.0] * len(result.map)
    assert result.num_events == num_events


def test_official_run_on_simulated_data(shared, tmp_path):
    """The table that the UnAV code printed for its own detections."""
    folder = shared / "official_tiny/unav"
    evaluate(
        predictions=folder / "official_detections.json",
        annotations=folder / "dataset_tiny/annotations/unav100_annotations.json",
        output=tmp_path / "r.json",
    )
    facts = json.loads((folder / "official_results.json").read_text())
    facts = facts["checkpoint_run"]["test_ema_batch1_exact"]
    result = EvaluationResult.read(tmp_path / "r.json")
    assert result.avg_map == pytest.approx(facts["average"], abs=1e-9)
    np.testing.assert_allclose(result.map, facts["map"], rtol=0, atol=1e-9)
    values = np.transpose([c.average_precision for c in result.classes])
    np.testing.assert_allclose(values, facts["ap_per_tiou_and_class"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("module", ["evaluate", "scoring", "predictions", "results", "protocols"])
def test_starts_without_torch(module):
    code = f"import sys, davezoo.evaluation.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
