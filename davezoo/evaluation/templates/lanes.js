// Draws the chosen video: a group of lanes a class, annotated events above, then a lane a file.
const tooltip = document.getElementById("tooltip");
const lanes = document.getElementById("lanes");
const EVENT_HEIGHT = 12, DETECTION_HEIGHT = 6, GAP = 4;  // pixels
const LARGEST_ZOOM = 256;
const KINDS = ["hit", "false", "false", "unscored"];  // by verdict
const WORDS = ["takes an event", "false positive", "false positive: its event is taken",
  "its class has no events and is not scored"];
const view = { video: 0, span: 1, zoom: 1, time: 0, current: null };  // current: key of a bar

// The distance of the ticks: 1, 2 or 5 times a power of ten, at most `most` of them.
function tickStep(span, most) {
  const power = 10 ** Math.floor(Math.log10(span / most));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => span / step <= most);
}

// The first row, from the top, in which a bar overlaps none placed before it.
function freeRow(rows, start, end) {
  const free = rows.findIndex((row) => row.every(([s, e]) => end <= s || start >= e));
  if (free >= 0) {
    rows[free].push([start, end]);
    return free;
  }
  return rows.push([[start, end]]) - 1;
}

// A lane of bars of one height; each bar has start, end, kind, text, key and perhaps a score.
function lane(bars, height) {
  const node = element("div", "lane");
  const rows = [];
  for (const { start, end, kind, text, key, score } of bars) {
    const mark = element("i", kind);
    mark.style.left = `${(100 * start) / view.span}%`;
    mark.style.width = `${(100 * (end - start)) / view.span}%`;
    mark.style.top = `${GAP + freeRow(rows, start, end) * (height + GAP)}px`;
    if (score !== undefined) mark.style.opacity = 0.3 + 0.7 * Math.min(Math.max(score, 0), 1);
    mark.dataset.key = key;
    mark.dataset.start = start;
    mark.setAttribute("role", "img");
    mark.setAttribute("aria-label", text);
    node.append(mark);
  }
  node.style.height = `${GAP + Math.max(rows.length, 1) * (height + GAP)}px`;
  return node;
}

function labelled(name, className, content) {
  const row = element("div", "row");
  const label = element("div", `label ${className}`, name);
  label.title = name;
  row.append(label, content);
  return row;
}

const times = (start, end) => `${start.toFixed(2)} – ${end.toFixed(2)} s`;

function describeEvent(event) {
  const found = files.map((file) => {
    const name = files.length > 1 ? `${file.name}: ` : "";
    const score = file.foundScores[event];
    return isMissed(file, event) ? `\n${name}missed` : `\n${name}found, score ${score.toFixed(3)}`;
  });
  const period = times(events.starts[event], events.ends[event]);
  return `${labels[events.labels[event]]}\nannotated, ${period}${found.join("")}`;
}

function describeDetection(file, row) {
  const name = files.length > 1 ? `\n${file.name}` : "";
  const period = times(file.starts[row], file.ends[row]);
  const score = file.scores[row].toFixed(3);
  return `${labels[file.labels[row]]}${name}\ndetected, ${period}, score ${score}\n` +
    WORDS[file.verdicts[row]];
}

function bar(table, row, kind, key, text, score) {
  return { start: table.starts[row], end: table.ends[row], kind, key, text, score };
}

// The lane of one file: an empty box where an event is missed, then the detections.
function fileLane(file, index, own, detections) {
  const missed = own.filter((event) => isMissed(file, event)).map((event) =>
    bar(events, event, "missed", `missed ${index} ${event}`, describeEvent(event)));
  const { low, high } = file.slider;
  const bars = detections.map((row) => bar(file, row, KINDS[file.verdicts[row]],
    `detection ${index} ${row}`, describeDetection(file, row),
    (file.scores[row] - low) / (high - low)));
  return lane([...missed, ...bars], DETECTION_HEIGHT);
}

function classGroup(label, own, shown) {
  const group = element("div", "group");
  const annotated = own.map((event) =>
    bar(events, event, "event", `event ${event}`, describeEvent(event)));
  group.append(labelled(labels[label], "class", lane(annotated, EVENT_HEIGHT)));
  files.forEach((file, index) => {
    const detections = shown[index].filter((row) => file.labels[row] === label);
    const name = files.length > 1 ? file.name : "";
    group.append(labelled(name, "name", fileLane(file, index, own, detections)));
  });
  return group;
}

function axisRow() {
  const axis = element("div", "axis");
  const step = tickStep(view.span, 8 * view.zoom);
  for (let tick = 0; tick <= view.span * 0.99; tick += step) {
    const unit = tick + step > view.span * 0.99 ? " s" : "";  // on the last tick only
    const text = element("span", "", Number(tick.toFixed(6)) + unit);
    text.style.left = `${(100 * tick) / view.span}%`;
    axis.append(text);
  }
  lanes.style.setProperty("--step", `${(100 * step) / view.span}%`);
  return labelled("", "", axis);
}

const lastEnd = (table, video) =>
  table.ends.subarray(table.first[video], table.first[video + 1])
    .reduce((last, end) => Math.max(last, end), 0);

// Classes of annotated events by first start, then classes of detections by best score.
function drawLanes() {
  hideTooltip();
  const own = rowsOf(events, view.video).sort((a, b) => events.starts[a] - events.starts[b]);
  const shown = files.map((file) =>
    rowsOf(file, view.video).filter((row) => isShown(file, row)));
  const detected = files.flatMap((file, index) => shown[index].map((row) => file.labels[row]));
  const lastEnds = [events, ...files].map((table) => lastEnd(table, view.video));
  view.span = Math.max(durations[view.video] ?? 0, ...lastEnds, 0.001);
  const classes = new Set([...own.map((event) => events.labels[event]), ...detected]);
  const groups = [...classes].map((label) =>
    classGroup(label, own.filter((event) => events.labels[event] === label), shown));
  const track = element("div", "track");
  track.append(...groups, axisRow(), element("div", "cursor"));
  lanes.replaceChildren(track);
  lanes.style.setProperty("--zoom", view.zoom);
  lanes.setAttribute("aria-label", `Timeline of video ${videos[view.video]}`);
  markCurrent(view.current);
  showTime(view.time);
}

// The width of the part of the timeline that is in sight, in pixels, not rounded.
const sightWidth = () => lanes.querySelector(".axis").getBoundingClientRect().width / view.zoom;

// Zoom by a factor around the cursor, or, where it is out of sight, around the middle; 0: whole.
function zoomBy(factor) {
  const width = sightWidth();
  const old = { zoom: view.zoom, left: lanes.scrollLeft };
  view.zoom = factor ? Math.min(Math.max(view.zoom * factor, 1), LARGEST_ZOOM) : 1;
  const cursor = (view.time / view.span) * old.zoom * width - old.left;
  const fixed = cursor >= 0 && cursor <= width ? cursor : width / 2;
  const fraction = (old.left + fixed) / (old.zoom * width);
  lanes.style.setProperty("--zoom", view.zoom);
  lanes.querySelector(".axis").closest(".row").replaceWith(axisRow());
  lanes.scrollLeft = fraction * view.zoom * width - fixed;
  hideTooltip();
}

// Puts the cursor at a time in seconds and says the time.
function showTime(time) {
  view.time = Math.min(Math.max(time, 0), view.span);
  lanes.style.setProperty("--time", view.time / view.span);
  document.getElementById("time").textContent =
    `${view.time.toFixed(2)} of ${view.span.toFixed(2)} s`;
}

// Scrolls a zoomed timeline on where the cursor has left the part in sight.
function keepCursorInSight() {
  const width = sightWidth();
  const cursor = (view.time / view.span) * view.zoom * width;
  if (cursor < lanes.scrollLeft || cursor > lanes.scrollLeft + width) lanes.scrollLeft = cursor;
}

// Marks the bar that walks and jumps go on from; null: none. Pointing at others does not change it.
function markCurrent(key) {
  view.current = key;
  lanes.querySelector("i.current")?.classList.remove("current");
  lanes.querySelector(`[data-key="${key}"]`)?.classList.add("current");
}

// Screen readers say what appears in a place that was there before: an empty tooltip stays.
function hideTooltip() {
  tooltip.textContent = "";
}

function showTooltip(node) {
  tooltip.textContent = node.getAttribute("aria-label");
  const box = node.getBoundingClientRect();
  const left = Math.max(8, Math.min(box.left, window.innerWidth - tooltip.offsetWidth - 8));
  const above = box.top - tooltip.offsetHeight - 6;
  const top = above > 0 ? above : box.bottom + 6;
  tooltip.style.left = `${left + window.scrollX}px`;  // scrolls with its bar
  tooltip.style.top = `${top + window.scrollY}px`;
}

// Makes a bar the current one and brings it into sight, with the cursor at its start.
function goTo(node) {
  node.scrollIntoView({ block: "nearest", inline: "nearest" });
  seek(Number(node.dataset.start));
  markCurrent(node.dataset.key);
  showTooltip(node);
}

function walk(step) {
  const bars = [...lanes.querySelectorAll("i")];
  const current = bars.findIndex((node) => node.classList.contains("current"));
  const next = current < 0 ? (step > 0 ? 0 : bars.length - 1) : current + step;
  const node = bars[Math.min(Math.max(next, 0), bars.length - 1)];
  if (node) goTo(node);
}
