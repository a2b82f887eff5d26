"""Every benchmark record that is kept follows the layout, and records that do not are refused."""

import json
import re
from pathlib import Path

import pytest

from benchmarks.metric import make_problem, to_rows
from benchmarks.record import RESULTS, RecordError, check_record, measure, ratio, write_record

FILES = sorted(RESULTS.rglob("*.json"))


@pytest.mark.parametrize("path", FILES, ids=[path.name for path in FILES])
def test_record(path):
    check_record(json.loads(path.read_text()), path)


def test_every_record_is_of_a_script_and_every_script_is_explained():
    folder = RESULTS.parent
    scripts = {path.stem for path in folder.glob("*.py") if "def main(" in path.read_text()}
    recorded = {json.loads(path.read_text())["suite"] for path in FILES}
    assert {suite.partition("_")[0] for suite in recorded} <= scripts
    explained = re.findall(r"^\| `(\w+)\.py` \|", (folder / "README.md").read_text(), re.MULTILINE)
    assert sorted(explained) == sorted(scripts)


@pytest.fixture
def path(tmp_path):
    calls = []
    functions = {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}
    times = measure(functions, "nothing", repeats=3, warm_up=2, synchronize=lambda: None)
    assert calls == ["a", "b"] * 5
    ratios = [ratio("a over b", times, "a", "b")]
    return write_record("test", times, ratios, seed=0, threads=1, folder=tmp_path)


def test_written_record(path):
    record = json.loads(path.read_text())
    check_record(record, path)
    assert path.parent.name == record["version"]
    assert path.name == f"test--{record['machine']['name']}--cpu.json"


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record.pop("seed"),
        lambda record: record.update(more=1),
        lambda record: record.update(threads="1"),
        lambda record: record.update(threads=0),
        lambda record: record.update(schema=2),
        lambda record: record["machine"].pop("load"),
        lambda record: record["measurements"].clear(),
        lambda record: record["measurements"].append(record["measurements"][0]),
        lambda record: record["measurements"][0].pop("median"),
        lambda record: record["measurements"][0].update(quartiles=[2.0, 1.0]),
        lambda record: record["measurements"][0].update(warm_up=0),
        lambda record: record["ratios"][0].update(numerator="of another run"),
        lambda record: record["ratios"][0].update(value=1e9),
        lambda record: record.update(suite="renamed"),
    ],
)
def test_damaged_record(path, change):
    record = json.loads(path.read_text())
    change(record)
    with pytest.raises(RecordError):
        check_record(record, path)


def test_problem_of_the_metric_suite():
    events, detections = make_problem(5, 20, 10, 3, seed=0)
    again = make_problem(5, 20, 10, 3, seed=0)
    assert to_rows(detections) == to_rows(again[1])
    assert set(events.videos.tolist()) == set(range(5))
    assert (len(events), len(detections)) == (20, 50)
    assert (detections.segments[:, 0] <= detections.segments[:, 1]).all()


def test_readme_names_every_suite():
    scripts = {path.stem for path in Path(RESULTS.parent).glob("*.py")} - {"record", "__init__"}
    suites = {json.loads(path.read_text())["suite"] for path in FILES}
    assert {suite.partition("_")[0] for suite in suites} <= scripts  # behind it the variant
