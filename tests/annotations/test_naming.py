import pytest
from hypothesis import given
from hypothesis import strategies as st

from davezoo.annotations.naming import find_other_id, find_pattern, find_surplus, videos_found

IDS = ["-a1B", "zQ_x", "k_99", "Mmmm"]
texts = st.text("ab-_1v", min_size=1, max_size=4)


def test_pattern_of_most_is_found_and_the_most_similar_wins():
    names = {f"{kind}/v_{video}" for video in IDS[:3] for kind in ("rgb", "flow")}
    assert find_pattern(IDS, "rgb/{video}", names) == "rgb/v_{video}"
    assert videos_found("rgb/v_{video}", IDS, names) == IDS[:3]
    assert find_pattern(IDS, "rgb/{video}", names - {"rgb/v_k_99", "flow/v_k_99"}) == ""


def test_surplus_names_a_video_that_is_there():
    videos = ["v_ab", "v_ac", "v_ad"]
    assert find_surplus(videos, "{video}.npy", {"ac.npy", "ad.npy"}) == ("v_", "v_ac", "ac")
    assert find_surplus(videos, "{video}.npy", {"ad.npy"}) == ("", "", "")


@pytest.mark.parametrize(
    "spell",
    [
        lambda video: f"v_{video}",
        lambda video: f"{video}.mp4",
        str.lower,
        lambda video: f"V_{video.upper()}",
    ],
)
def test_other_ids_are_found_both_ways(spell):
    others = [spell(video) for video in IDS]
    for videos, ids in ((IDS, others), (others, [*IDS, "more"])):
        video, other = find_other_id(videos, ids)
        assert dict(zip(videos, ids, strict=False))[video] == other


@given(videos=st.lists(texts, unique=True, max_size=6), ids=st.lists(texts, max_size=6))
def test_other_id_is_one_of_the_others(videos, ids):
    videos = [video for video in videos if video not in ids]
    video, other = find_other_id(videos, ids)
    assert (video, other) == ("", "") or (video in videos and other in ids)
