"""The report as a browser leaves it after running its script; skipped where there is no browser."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import wave
from typing import TYPE_CHECKING, Any

import pytest

from davezoo.evaluation.report import write_report
from davezoo.evaluation.scoring import score
from davezoo.evaluation.viewer import ScoredDetections, find_media
from tests.evaluation.report_pages import (
    HOSTILE,
    Page,
    make_annotations,
    make_files,
    make_result,
    make_table,
    write,
    write_table,
)
from tests.evaluation.simulated_tables import simulate_tables

if TYPE_CHECKING:
    from pathlib import Path

    from davezoo.annotations import Annotations
    from davezoo.evaluation.predictions import PredictionTable

CHROMIUM = next(
    filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None
)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="needs chromium on the path (Debian: apt-get install chromium)"
)


def run_in_browser(
    page: str, folder: Path, script: str = "", budget: int | None = 2000, width: int = 1200
) -> str:
    """Return the DOM after loading a page and then running `script` in it.

    Args:
        page: the page.
        folder: where it is written to.
        script: JavaScript; it sees the names of the page's own.
        budget: milliseconds that the page's clock runs on after loading; None for a true clock.
        width: of the window in pixels, 500 or more.
    """
    if script:  # the page's own policy would refuse a script that is not its own
        page = re.sub(r'<meta http-equiv="Content-Security-Policy".*?>', "", page, flags=re.DOTALL)
        page = page.replace("</body>", f"<script>{script}</script></body>")
    path = folder / "browser.html"
    path.write_text(page, encoding="utf-8", errors="replace")
    clock = [] if budget is None else [f"--virtual-time-budget={budget}"]
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
        "--no-first-run", "--disable-background-networking", "--disable-component-update",
        "--disable-sync", f"--window-size={width},900", f"--user-data-dir={folder / 'profile'}",
        *clock, "--dump-dom", path.as_uri(),
    ]  # fmt: skip
    run = subprocess.run(command, capture_output=True, timeout=120, check=True)
    return run.stdout.decode()


def ask_in_browser(page: str, folder: Path, script: str, width: int = 1200) -> Any:
    """Return what `answer` holds after `script` has run in the page, an array to push values to."""
    words = f"""
        const answer = [];
        const press = (node, key, more) => node.dispatchEvent(
            new KeyboardEvent("keydown", {{ key, bubbles: true, cancelable: true, ...more }}));
        const enter = (node, value) => {{
            node.value = value;
            node.dispatchEvent(new Event("input", {{ bubbles: true }}));
            node.dispatchEvent(new Event("change", {{ bubbles: true }}));
        }};
        const find = (words) => document.querySelector(words);
        const findAll = (words) => [...document.querySelectorAll(words)];
        try {{ {script} }} catch (error) {{ answer.push(String(error)); }}
        const written = document.createElement("pre");
        written.id = "answer";
        written.textContent = JSON.stringify(answer);
        document.body.append(written);"""
    dom = run_in_browser(page, folder, words, width=width)
    written = re.search(r'<pre id="answer">(.*?)</pre>', dom, flags=re.DOTALL)
    assert written is not None
    return json.loads(html.unescape(written[1]))


def test_script_draws_lanes_and_hostile_labels_stay_text(tmp_path: Path) -> None:
    page = write(tmp_path / "r.html", HOSTILE, HOSTILE[0])
    parsed = Page(run_in_browser(page, tmp_path))
    assert "img" not in parsed.tags
    assert parsed.tags.count("script") == 2
    assert not [name for name, _ in parsed.attributes if name.startswith("on")]
    assert "hacked" not in parsed.words.replace("document.title='hacked'", "")
    classes = [value for name, value in parsed.attributes if name == "class"]
    assert classes.count("event") == 1 + 1  # that of the chosen video, one in the legend
    assert classes.count("hit") == 1 + 1
    assert "6 of 9 detections shown" in parsed.words  # as many as events, ties included
    script = """videos.forEach((_, video) => {
        choose(video);
        answer.push(findAll("#lanes i, #lanes .label").map((node) =>
            node.getAttribute("aria-label") ?? node.textContent));
    }); answer.push(findAll("img, script").length, document.title)"""
    *drawn, num_tags, title = ask_in_browser(page, tmp_path, script)
    for labels, hostile in zip(drawn, HOSTILE, strict=True):
        assert hostile in labels
        assert any(label.startswith(f"{hostile}\nannotated, 2.00 ") for label in labels)
    assert num_tags == 3  # the page's two scripts and this one
    assert title == HOSTILE[0]


def test_slider_filters_detections(tmp_path: Path) -> None:
    script = """for (const score of ["0", "0.3", "0.6", "0.9"]) {
        enter(find(".min-score"), score);
        answer.push(find(".shown").textContent);
    }"""
    said = ask_in_browser(write(tmp_path / "r.html", ["dog", "cat"]), tmp_path, script)
    assert said == [f"{count} of 9 detections shown" for count in (9, 6, 3, 3)]


def test_arrow_keys_describe_bars(tmp_path: Path) -> None:
    script = """
        press(lanes, "ArrowRight"); press(lanes, "ArrowRight");
        press(lanes, "ArrowRight"); press(lanes, "ArrowLeft");
        answer.push(tooltip.textContent, findAll("i.current").length,
            find("i.current").className, find("#time").textContent);
        press(lanes, "Escape");
        answer.push(tooltip.textContent, findAll("i.current").length);"""
    said = ask_in_browser(write(tmp_path / "r.html", ["dog"]), tmp_path, script)
    text = "dog\ndetected, 2.00 – 6.00 s, score 0.900\ntakes an event"  # noqa: RUF001
    assert said == [text, 1, "hit current", "2.00 of 10.00 s", "", 0]


def test_headings_sort_the_class_table(tmp_path: Path) -> None:
    script = """for (const column of [0, 0, 1, 2, 3]) {
        findAll("#classes thead button")[column].click();
        answer.push(findAll("#classes tbody th").map((node) => node.textContent).join(" "));
    }"""
    said = ask_in_browser(write(tmp_path / "r.html", ["dog", "cat", "bell"]), tmp_path, script)
    by_name, reverse, by_events, by_mean, by_first = said
    assert by_name == "bell cat dog"
    assert reverse == "dog cat bell"
    assert by_events == "bell cat dog"
    assert by_mean == "cat dog bell"
    assert by_first == "cat dog bell"


def count_slowly(
    annotations: Annotations, table: PredictionTable, threshold: float, min_score: float
) -> list[list[int]]:
    """Missed events and false positives of each video, one detection at a time."""
    counts = []
    for index, video in enumerate(annotations.videos.index):
        events = annotations.events[annotations.events["video"] == video]
        free = {row: (event.start, event.end, event.label) for row, event in events.iterrows()}
        rows = (table.videos == index).nonzero()[0]
        shown = sorted(rows[table.scores[rows] >= min_score], key=lambda row: -table.scores[row])
        num_false = 0
        for row in shown:
            start, end = table.segments[row]
            best = None
            for event, (s, e, label) in free.items():
                overlap = max(0.0, min(end, e) - max(start, s))
                tiou = overlap / (end - start + e - s - overlap)
                reaches = label == table.labels[row] and tiou >= threshold
                if reaches and (best is None or tiou > best[0]):
                    best = tiou, event
            if best is None:
                num_false += 1
            else:
                del free[best[1]]
        counts.append([len(free), num_false])
    return counts


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.8])
def test_misses_and_false_positives_are_those_of_a_slow_count(
    tmp_path: Path, threshold: float
) -> None:
    annotations, table = simulate_tables(num_videos=12, detections_per_video=40, num_classes=3)
    files = [ScoredDetections("ours", table, score(annotations, table))]
    write_report(tmp_path / "r.html", files, annotations, "Run")
    place = round(threshold * 10) - 1
    script = f"""
        find("#threshold").selectedIndex = {place};
        enter(find("#threshold"), find("#threshold").value);
        for (const score of [0.6, 0.4, 0]) {{
            enter(find(".min-score"), score);
            answer.push(videos.map((_, v) => [files[0].numMissed[v], files[0].numFalse[v]]));
        }}"""
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    said = ask_in_browser(page, tmp_path, script)
    for min_score, counts in zip([0.6, 0.4, 0.0], said, strict=True):
        assert counts == count_slowly(annotations, table, threshold, min_score)


def write_pair(path: Path) -> str:
    """Write a page of 4 videos: ours finds the first two, base the first and, badly, the last."""
    annotations = make_annotations(["dog", "cat"])
    ours = make_table(
        {
            "video 0": [(2.0, 6.0, "dog", 0.9), (2.0, 5.5, "dog", 0.8)],
            "video 1": [(2.0, 6.0, "cat", 0.9)],
            "video 2": [(7.0, 9.0, "cat", 0.7)],
        }
    )
    base = make_table(
        {"video 0": [(2.0, 6.0, "dog", 0.09)], "video 3": [(2.0, 4.5, "cat", 0.08)]}
        | {"video 1": [(0.0, 1.0, "unheard of", 0.07)], "video 2": [(0.0, 1.0, "dog", 0.0)]}
    )
    write_report(path, make_files(annotations, ours, base), annotations, "Pair")
    return path.read_text(encoding="utf-8")


def test_files_have_lanes_and_sliders_of_their_own(tmp_path: Path) -> None:
    script = """
        answer.push(findAll(".min-score").map((node) => [node.max, node.value]));
        answer.push(findAll(".shown").map((node) => node.textContent));
        for (const video of [0, 1]) {
            choose(video);
            answer.push(findAll("#lanes .row").map((row) => [
                row.querySelector(".label").textContent,
                ...[...row.querySelectorAll("i")].map((node) => node.className),
            ]));
        }
        answer.push(find("#lanes i").getAttribute("aria-label"));"""
    sliders, shown, first, second, text = ask_in_browser(
        write_pair(tmp_path / "r.html"), tmp_path, script
    )
    assert sliders == [["0.9", "0.7"], ["0.09", "0"]]
    assert shown == ["4 of 4 detections shown", "4 of 4 detections shown"]
    assert first == [["dog", "event"], ["ours", "hit", "false"], ["base", "hit"], [""]]
    unheard = [["unheard of"], ["ours"], ["base", "unscored"]]
    assert second == [["cat", "event"], ["ours", "hit"], ["base", "missed"], *unheard, [""]]
    found = "ours: found, score 0.900\nbase: missed"
    assert text == f"cat\nannotated, 2.00 – 6.00 s\n{found}"  # noqa: RUF001


def test_list_sorts_and_finds_and_follows_the_keyboard(tmp_path: Path) -> None:
    script = """
        const names = () => findAll(".option bdi").map((node) => node.textContent.at(-1)).join("");
        const sort = find("#sort");
        for (const option of sort.options) {
            enter(sort, option.value);
            answer.push(`${option.text}: ${names()}`);
        }
        for (const key of ["Home", "ArrowDown", "ArrowDown", "ArrowUp", "End", "ArrowDown"]) {
            press(list, key);
            answer.push(find("#video-id").textContent.at(-1) +
                document.getElementById(list.getAttribute("aria-activedescendant")).ariaSelected);
        }
        enter(find("#find"), "CAT");
        answer.push(names(), find("#listed").textContent, find(".option").ariaLabel,
            find(".option").ariaSetSize);
        enter(find("#find"), "video 2");
        answer.push(names());
        enter(find("#find"), "nothing");
        answer.push(names());
        press(list, "Home"); press(lanes, "m");"""
    said = ask_in_browser(write_pair(tmp_path / "r.html"), tmp_path, script)
    assert said[:11] == [
        "quality of ours, best first: 0123",
        "quality of ours, worst first: 2301",
        "quality of base, best first: 0312",
        "quality of base, worst first: 1230",
        "ours better than base: 1023",
        "base better than ours: 3021",
        "missed events, most first: 2301",
        "false positives, most first: 0213",
        "events, most first: 0123",
        "duration, longest first: 0123",
        "id: 0123",
    ]
    assert said[11:17] == ["0true", "1true", "2true", "1true", "3true", "3true"]
    label = "video 1, quality 1.00, 0.00, 0 missed, 0 false positives"
    assert said[17:] == ["13", "2 of 4 videos listed", label, "2", "2", ""]


def test_jumps_go_from_miss_to_miss_through_the_list(tmp_path: Path) -> None:
    script = """
        const say = () => answer.push([find("#video-id").textContent.at(-1),
            find("i.current")?.className ?? "", find("#jumped").textContent]);
        press(lanes, "m"); say();
        press(lanes, "m"); say();
        press(lanes, "m"); say();
        press(lanes, "M", { shiftKey: true }); say();
        press(lanes, "F", { shiftKey: true }); say();
        findAll(".judged input")[1].click();
        choose(0);
        find("[data-kind=missed][data-step='1']").click(); say();
        find("[data-kind=false][data-step='1']").click(); say();"""
    said = ask_in_browser(write_pair(tmp_path / "r.html"), tmp_path, script)
    assert said == [
        ["2", "missed current", ""],
        ["3", "missed current", ""],
        ["3", "missed current", "No further missed event."],
        ["2", "missed current", ""],
        ["0", "false current", ""],  # the one of video 2 starts later than its miss
        ["1", "missed current", ""],
        ["2", "false current", ""],
    ]


def test_jumps_go_on_from_the_bar_they_reached_or_from_the_cursor(tmp_path: Path) -> None:
    annotations = make_annotations(["dog"], num_videos=1)
    starts = [(-0.2, 0.9), (7.0, 0.8), (7.0, 0.7), (9.0, 0.6)]
    rows = [(start, start + 0.5, "dog", score) for start, score in starts]
    write_table(tmp_path / "r.html", annotations, {"video 0": rows})
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    script = """
        enter(find(".min-score"), 0);
        const point = (node, kind) => {
            const { left, width } = find(".lane").getBoundingClientRect();
            node.dispatchEvent(
                new MouseEvent(kind, { bubbles: true, clientX: left + 0.8 * width }));
        };
        const jumpAndSay = (step) => {
            find(`[data-kind=false][data-step='${step}']`).click();
            answer.push([view.time, findAll("#lanes .false").indexOf(find("i.current"))]);
        };
        jumpAndSay(1); jumpAndSay(1);
        point(find(".event"), "pointerover"); point(lanes, "pointerleave"); lanes.blur();
        jumpAndSay(1);
        enter(find(".min-score"), 0.1);  // draws the lanes anew
        jumpAndSay(1); jumpAndSay(-1);
        point(find(".lane"), "click");
        answer.push([Math.round(view.time), findAll("i.current").length]);
        jumpAndSay(1);
        point(find(".lane"), "click");
        jumpAndSay(-1);"""
    said = ask_in_browser(page, tmp_path, script)
    on = [[0, 0], [7, 1], [7, 2], [9, 3]]
    assert said == [*on, [7, 2], [8, 0], [9, 3], [7, 2]]


def test_zoom_keeps_the_cursor_in_place(tmp_path: Path) -> None:
    script = """
        const cursorAt = () => find(".cursor").getBoundingClientRect().left;
        const width = () => find(".lane").offsetWidth;
        const place = find(".lane").getBoundingClientRect();
        find(".lane").dispatchEvent(new MouseEvent("click",
            { bubbles: true, clientX: place.left + 0.7 * place.width }));
        const [before, whole] = [cursorAt(), width()];
        answer.push(Number(view.time.toFixed(2)));
        press(lanes, "+"); press(lanes, "+"); press(lanes, "+");
        answer.push(Math.round(width() / whole), Math.abs(cursorAt() - before) < 2,
            findAll(".axis span").length);
        find("[data-zoom='0.5']").click();
        answer.push(Math.round(width() / whole), Math.abs(cursorAt() - before) < 2);
        const left = lanes.scrollLeft;
        press(lanes, "ArrowLeft", { shiftKey: true });
        answer.push(lanes.scrollLeft < left);
        press(lanes, "0");
        answer.push(Math.round(width() / whole), lanes.scrollLeft);"""
    time, *said = ask_in_browser(write(tmp_path / "r.html", ["dog"]), tmp_path, script)
    assert time == pytest.approx(7.0, abs=0.03)
    assert said == [8, True, 50, 4, True, True, 1, 0]


def test_everything_is_reached_by_the_keyboard_and_has_a_name(tmp_path: Path) -> None:
    script = """const nodes = findAll("button, input, select, [tabindex]");
        answer.push(nodes.filter((node) => node.tabIndex < 0).length,
            nodes.filter((node) => !(node.ariaLabel || node.labels?.[0]?.textContent.trim() ||
                node.textContent.trim() || node.getAttribute("aria-labelledby"))).length,
            nodes.map((node) => node.id).filter(Boolean).join(" "),
            findAll("output[id], [role=status]").map((node) => node.id).join(" "));  // not the time
        for (const node of nodes) {
            node.focus();
            if (document.activeElement !== node) answer.push(node.outerHTML);
        }"""
    said = ask_in_browser(write_pair(tmp_path / "r.html"), tmp_path, script)
    assert said == [0, 0, "threshold find sort list lanes", "jumped listed tooltip"]


def test_page_of_a_whole_test_split_is_drawn_within_three_seconds(tmp_path: Path) -> None:
    annotations, table = simulate_tables()
    files = [ScoredDetections("ours", table, score(annotations, table))]
    write_report(tmp_path / "r.html", files, annotations, "Run")
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    dom = run_in_browser(page, tmp_path, budget=None)
    drawn = re.search(r'data-drawn="(\d+)"', dom)
    assert drawn is not None
    assert int(drawn[1]) < 3000
    assert "of 216,700 detections shown" in dom
    assert "2,167 of 2,167 videos listed" in dom
    assert 10 < dom.count('role="option"') < 60


def test_a_video_may_have_more_detections_than_a_call_takes_arguments(tmp_path: Path) -> None:
    annotations, table = simulate_tables(num_videos=1, detections_per_video=200_000, num_classes=1)
    files = [ScoredDetections("ours", table, make_result(annotations))]
    write_report(tmp_path / "r.html", files, annotations, "Run")
    dom = run_in_browser((tmp_path / "r.html").read_text(encoding="utf-8"), tmp_path)
    assert "of 200,000 detections" in dom
    assert "data-drawn=" in dom


def test_narrow_screens_leave_room_for_ids_beside_three_files(tmp_path: Path) -> None:
    annotations = make_annotations(["dog"])
    files = make_files(annotations, *[make_table({"video 0": [(2.0, 6.0, "dog", 0.9)]})] * 3)
    write_report(tmp_path / "r.html", files, annotations, "Run")
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    script = """answer.push(find(".option bdi").clientWidth,
        document.documentElement.scrollWidth - document.documentElement.clientWidth);"""
    id_width, overflow = ask_in_browser(page, tmp_path, script, width=500)
    assert id_width >= 150
    assert overflow == 0


def write_tone(path: Path) -> None:
    """Write ten silent seconds of sound."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(8000)
        file.writeframes(bytes([128]) * 80_000)


def test_media_file_is_played_in_step_with_the_cursor(tmp_path: Path) -> None:
    (tmp_path / "my media").mkdir()
    write_tone(tmp_path / "my media" / "video 0.wav")
    (tmp_path / "my media" / "video 1.mp4").write_text("not a video")
    media = find_media(tmp_path / "my media")
    page = write(tmp_path / "r.html", ["dog"], media=media)
    assert 'data-loaded="10"' in run_in_browser(page, tmp_path)  # the page's policy lets it in
    script = """
        const wait = setInterval(() => {
            if (player().readyState < 1) return;
            clearInterval(wait);
            lanes.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
            const asked = player().currentTime;
            player().addEventListener("seeking", () => {
                document.body.dataset.cursor = `${asked} ${view.time}`;
            });
            player().currentTime = 7.5;
        }, 20);"""
    assert 'data-cursor="2 7.5"' in run_in_browser(page, tmp_path, script)
    playing = """
        const wait = setInterval(() => {
            if (player().readyState < 1) return;
            clearInterval(wait);
            zoomBy(8);
            player().addEventListener("seeking", ({ target }) => {
                Object.defineProperty(target, "paused", { value: false, configurable: true });
                follow(target);
                delete target.paused;
                const cursor = document.querySelector(".cursor").getBoundingClientRect();
                document.body.dataset.inSight =
                    cursor.left < lanes.getBoundingClientRect().right;
            });
            player().currentTime = 7.5;
        }, 20);"""
    assert 'data-in-sight="true"' in run_in_browser(page, tmp_path, playing)
    broken = Page(run_in_browser(page, tmp_path, "choose(1);"))
    assert "The browser cannot open my media/video 1.mp4; it may have been moved" in broken.words
    odd = "page.media[3] = 'not%20utf-8%FF.mp4'; choose(3);"
    odd_words = Page(run_in_browser(page, tmp_path, odd)).words
    assert "The browser cannot open not%20utf-8%FF.mp4; it may" in odd_words
    absent = Page(run_in_browser(page, tmp_path, "choose(2);"))
    assert "This video has no media file." in absent.words
    assert "2 of 4 videos have no media file in" in absent.words
