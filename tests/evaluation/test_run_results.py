"""The file that a test run leaves."""

import json

import pytest

from davezoo.evaluation.results import ResultError
from davezoo.evaluation.run_results import RunResult
from tests.leaderboards.runs import make_run


def test_round_trip(tmp_path):
    run = make_run(0.25, missing=["v"], changes={"nms": {"sigma": 0.5}})
    run.write(tmp_path / "deep/run.json")
    assert RunResult.read(tmp_path / "deep/run.json") == run
    assert RunResult.from_dict(json.loads(json.dumps(run.to_dict()))) == run


def broken(**changes):
    content = json.loads(json.dumps(make_run().to_dict()))
    for name, value in changes.items():
        place, _, key = name.rpartition("__")
        (content[place] if place else content)[key] = value
    return content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "got another file"),
        ({"map": [1]}, "got another file"),
        (broken(schema=2), "Expected schema 1 .* got 2; test again"),
        (broken(extra=1), r"\[\] missing and \['extra'\] unknown"),
        (broken(seed="0"), "`seed` to be int or NoneType, got str"),
        (broken(simulated=0), "`simulated` to be bool, got int"),
        (broken(parameters=True), "`parameters` to be int, got bool"),
        (broken(result=[]), "`result` to hold the score"),
        (broken(result={}), "an error at 'classes'"),
        (broken(result__avg_map="0.5"), "between 0 and 1, got '0.5'"),
        (broken(result__avg_map=float("nan")), "between 0 and 1, got nan"),
        (broken(result__avg_map=50.0), "between 0 and 1, got 50.0"),
        (broken(result__split=3), "names as text"),
        (broken(settings={"model": {}}), "settings of `model` and `data`"),
        (broken(changed=[{}]), "names as text"),
    ],
)
def test_other_content_is_refused(content, message, tmp_path):
    (tmp_path / "run.json").write_text(json.dumps(content))
    with pytest.raises(ResultError, match=message) as caught:
        RunResult.read(tmp_path / "run.json")
    assert str(tmp_path / "run.json") in str(caught.value)


def test_half_written_file_is_refused(tmp_path):
    path = tmp_path / "run.json"
    path.write_text(json.dumps(make_run().to_dict())[:200])
    with pytest.raises(ResultError, match="to hold JSON"):
        RunResult.read(path)
    with pytest.raises(FileNotFoundError):
        RunResult.read(tmp_path / "nowhere.json")


def test_headline_thresholds_are_checked():
    content = broken()
    del content["result"]["protocol"]["headline_tious"]
    with pytest.raises(ResultError, match="between 0 and 1, got None"):
        RunResult.from_dict(content)
