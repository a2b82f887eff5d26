import json
from dataclasses import replace

import pytest

from davezoo.evaluation.protocols import PROTOCOLS, ProtocolError, get_protocol

# Doubles of the official code where they differ from the decimal literal.
OFFICIAL = {
    "unav100": (0.1, 0.2, 0.30000000000000004, 0.4, 0.5, 0.6, 0.7000000000000001, 0.8, 0.9),
    "thumos14": (0.3, 0.39999999999999997, 0.5, 0.6, 0.7),
    "activitynet13": (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.8999999999999999, 0.95),
    "epic100": (0.1, 0.2, 0.30000000000000004, 0.4, 0.5),
}


@pytest.mark.parametrize("name", OFFICIAL)
def test_thresholds_are_the_doubles_of_the_official_code(name):
    assert PROTOCOLS[name].tiou_thresholds == OFFICIAL[name]


def test_every_protocol_is_covered():
    assert set(PROTOCOLS) == set(OFFICIAL)
    assert all(name == protocol.name for name, protocol in PROTOCOLS.items())


@pytest.mark.parametrize("name", PROTOCOLS)
def test_headline_thresholds_are_thresholds(name):
    protocol = get_protocol(name)
    rounded = {round(threshold, 6) for threshold in protocol.tiou_thresholds}
    assert set(protocol.headline_tious) <= rounded


@pytest.mark.parametrize("name", PROTOCOLS)
def test_dict_is_json(name):
    content = get_protocol(name).to_dict()
    assert json.loads(json.dumps(content)) == content
    assert content["version"]


def test_own_protocol_is_handed_through():
    own = replace(PROTOCOLS["unav100"], name="own")
    assert get_protocol(own) is own


def test_unknown_name_lists_the_choices():
    with pytest.raises(ProtocolError, match=r"unav100.*'unav'"):
        get_protocol("unav")


@pytest.mark.parametrize("tious", [(), (0.5, 0.5), (0.5, 0.1), (0.0, 0.5), (0.5, 1.1)])
def test_thresholds_are_checked(tious):
    with pytest.raises(ProtocolError, match="tiou_thresholds"):
        replace(PROTOCOLS["unav100"], tiou_thresholds=tious)


@pytest.mark.parametrize("rule", ["near_duplicate_tolerance", "min_event_duration"])
@pytest.mark.parametrize("value", [-1.0, float("nan")])
def test_limits_are_checked(rule, value):
    with pytest.raises(ProtocolError, match=rule):
        replace(PROTOCOLS["unav100"], **{rule: value})
