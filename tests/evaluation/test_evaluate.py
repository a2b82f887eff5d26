import gzip
import json
import subprocess
import sys

import numpy as np
import pytest
from jsonargparse import auto_cli

from davezoo.annotations import AnnotationError
from davezoo.evaluation.evaluate import evaluate
from davezoo.evaluation.protocols import ProtocolError
from davezoo.evaluation.results import EvaluationResult


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
