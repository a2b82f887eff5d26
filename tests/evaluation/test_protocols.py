import json
from dataclasses import replace

import pytest

from davezoo.evaluation.protocols import PROTOCOLS, ProtocolError, digest_of_ids, get_protocol

# Doubles of the official code where they differ from the decimal literal.
OFFICIAL = {
    "unav100": (0.1, 0.2, 0.30000000000000004, 0.4, 0.5, 0.6, 0.7000000000000001, 0.8, 0.9),
    "thumos14": (0.3, 0.39999999999999997, 0.5, 0.6, 0.7),
    "activitynet13": (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.8999999999999999, 0.95),
    "epic100": (0.1, 0.2, 0.30000000000000004, 0.4, 0.5),
}
VARIANTS = {
    "unav100": ["unav100"],
    "thumos14": ["thumos14-211", "thumos14-212", "thumos14-213"],
    "activitynet13": ["activitynet13-full", "activitynet13-blocked"],
    "epic100": ["epic100-verb", "epic100-noun", "epic100-action"],
}


@pytest.mark.parametrize("data_set", OFFICIAL)
def test_thresholds_are_the_doubles_of_the_official_code(data_set):
    for name in VARIANTS[data_set]:
        assert PROTOCOLS[name].tiou_thresholds == OFFICIAL[data_set]


def test_every_protocol_is_covered():
    assert set(PROTOCOLS) == {name for names in VARIANTS.values() for name in names}
    assert all(name == protocol.name for name, protocol in PROTOCOLS.items())


def test_variants_of_thumos14_count_the_videos_in_their_names():
    for name in VARIANTS["thumos14"]:
        protocol = PROTOCOLS[name]
        num_videos = int(name.rpartition("-")[2])
        assert protocol.num_videos == num_videos == 213 - len(protocol.excluded_videos)
        assert len({*protocol.excluded_videos, *protocol.expected_videos}) == 2


def test_variants_of_epic_score_their_labels():
    assert [PROTOCOLS[name].labels for name in VARIANTS["epic100"]] == ["verb", "noun", "action"]


def test_blocked_list_is_demanded_or_refused():
    for name, protocol in PROTOCOLS.items():
        given, other = (["v"], []) if name == "activitynet13-blocked" else ([], ["v"])
        protocol.check_blocked(given)
        with pytest.raises(ProtocolError, match=name):
            protocol.check_blocked(other)


def test_digest_tells_lists_apart():
    assert digest_of_ids(["v", "w"]) == digest_of_ids(("w", "v", "v"))
    assert len({digest_of_ids(ids) for ids in ([], ["v"], ["w"], ["v", "w"], ["vw"])}) == 5


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


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("unav", r"choose one of \['unav100'\]"),
        ("thumos14", "choose one of .*thumos14-212"),
        ("activitynet13", "choose one of .*'activitynet13-full'"),
        ("epic100", "choose one of .*'epic100-verb'"),
        ("xyz", r"unav100.*'xyz'; choose one of them"),
    ],
)
def test_unknown_name_suggests_near_ones(name, near):
    with pytest.raises(ProtocolError, match=near):
        get_protocol(name)


@pytest.mark.parametrize("tious", [(), (0.5, 0.5), (0.5, 0.1), (0.0, 0.5), (0.5, 1.1)])
def test_thresholds_are_checked(tious):
    with pytest.raises(ProtocolError, match="tiou_thresholds"):
        replace(PROTOCOLS["unav100"], tiou_thresholds=tious)


@pytest.mark.parametrize("rule", ["near_duplicate_tolerance", "min_event_duration"])
@pytest.mark.parametrize("value", [-1.0, float("nan")])
def test_limits_are_checked(rule, value):
    with pytest.raises(ProtocolError, match=rule):
        replace(PROTOCOLS["unav100"], **{rule: value})
