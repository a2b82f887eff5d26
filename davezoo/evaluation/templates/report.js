
"use strict";
// Draws the videos and sorts the class table. Text from files goes through textContent and
// setAttribute only, so that a label is never read as HTML.
const { labels, videos } = JSON.parse(document.getElementById("data").textContent);
const tooltip = document.getElementById("tooltip");
const slider = document.getElementById("min-score");
const EVENT_HEIGHT = 12, DETECTION_HEIGHT = 6, GAP = 3;  // pixels

function element(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function tiou([start, end], [otherStart, otherEnd]) {
  const overlap = Math.max(0, Math.min(end, otherEnd) - Math.max(start, otherStart));
  const union = end - start + otherEnd - otherStart - overlap;
  return union > 0 ? overlap / union : 0;
}

// The distance of the ticks: 1, 2 or 5 times a power of ten, at most eight of them.
function tickStep(span) {
  const power = 10 ** Math.floor(Math.log10(span / 8));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => span / step <= 8);
}

// The first row, from the top, in which a detection overlaps none placed before it.
function freeRow(rows, [start, end]) {
  const free = rows.findIndex((row) => row.every(([s, e]) => end <= s || start >= e));
  if (free >= 0) {
    rows[free].push([start, end]);
    return free;
  }
  return rows.push([[start, end]]) - 1;
}

function bar(segment, kind, top, span, description) {
  const node = element("i", kind);
  const [start, end] = segment;
  node.style.left = `${(100 * start) / span}%`;
  node.style.width = `${(100 * (end - start)) / span}%`;
  node.style.top = `${top}px`;
  node.setAttribute("role", "img");
  node.setAttribute("aria-label", description);
  return node;
}

function times([start, end]) {
  return `${start.toFixed(2)} – ${end.toFixed(2)} s`;
}

function classRow(label, video, detections, span) {
  const row = element("div", "row");
  const name = element("div", "label", labels[label]);
  name.title = labels[label];
  const lane = element("div", "lane");
  const events = video.events.filter((event) => event[2] === label);
  const occupied = [];
  for (const event of events) {
    const top = GAP + freeRow(occupied, event) * (EVENT_HEIGHT + GAP);
    lane.append(bar(event, "event", top, span, `${labels[label]}\nannotated, ${times(event)}`));
  }
  const below = events.length ? GAP + occupied.length * (EVENT_HEIGHT + GAP) : 2 * GAP;
  const rows = [];
  for (const detection of detections) {
    const hit = events.some((event) => tiou(event, detection) >= 0.5);
    const top = below + freeRow(rows, detection) * (DETECTION_HEIGHT + GAP);
    const text = `${labels[label]}\ndetected, ${times(detection)}, score ${detection[3].toFixed(3)}`;
    const node = bar(detection, hit ? "hit" : "other", top, span, text);
    node.style.opacity = 0.25 + 0.75 * Math.min(Math.max(detection[3], 0), 1);
    lane.append(node);
  }
  lane.style.minHeight = `${below + rows.length * (DETECTION_HEIGHT + GAP)}px`;
  row.append(name, lane);
  return row;
}

function axisRow(span, step) {
  const row = element("div", "row");
  const axis = element("div", "axis");
  for (let tick = 0; tick <= span * 0.99; tick += step) {
    const unit = tick + step > span * 0.99 ? " s" : "";  // on the last tick only
    const label = element("span", "", Number(tick.toFixed(6)) + unit);
    label.style.left = `${(100 * tick) / span}%`;
    axis.append(label);
  }
  row.append(element("div"), axis);
  return row;
}

// Rows: classes of annotated events by first start, then classes of detections by best score.
function fillLanes(lanes, video, minScore) {
  const shown = video.detections.filter((detection) => detection[3] >= minScore);
  const ends = [...video.events, ...video.detections].map(([, end]) => end);
  const span = Math.max(video.duration ?? 0, ...ends, 0.001);
  const step = tickStep(span);
  const events = [...video.events].sort((a, b) => a[0] - b[0]);
  const classes = new Set([...events, ...shown].map((entry) => entry[2]));
  const rows = [...classes].map((label) =>
    classRow(label, video, shown.filter((detection) => detection[2] === label), span));
  lanes.style.setProperty("--step", `${(100 * step) / span}%`);
  lanes.replaceChildren(...rows, axisRow(span, step));
  return shown.length;
}

function plural(count, noun) {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

const panels = videos.map((video) => {
  const section = element("section", "video");
  const head = element("div", "video-head");
  const facts = element("p");
  const lanes = element("div", "lanes");
  lanes.tabIndex = 0;
  lanes.setAttribute("role", "group");
  lanes.setAttribute("aria-label", `Timeline of video ${video.video}`);
  head.append(element("h3", "", video.video), facts);
  section.append(head, lanes);
  document.getElementById("videos").append(section);
  return { video, facts, lanes };
});

function draw() {
  const minScore = Number(slider.value);
  hideTooltip();
  let total = 0, shown = 0;
  for (const { video, facts, lanes } of panels) {
    const count = fillLanes(lanes, video, minScore);
    facts.textContent = `quality ${video.quality.toFixed(2)} · ` +
      (video.duration === null ? "" : `${video.duration.toFixed(1)} s · `) +
      `${plural(video.events.length, "event")} · ` +
      `${count} of ${plural(video.detections.length, "detection")} shown`;
    shown += count;
    total += video.detections.length;
  }
  document.getElementById("min-score-value").textContent = minScore.toFixed(2);
  document.getElementById("shown").textContent =
    `${shown.toLocaleString("en")} of ${plural(total, "detection")} shown`;
}

function hideTooltip() {
  tooltip.hidden = true;
  document.querySelector(".lane i.current")?.classList.remove("current");
}

function showTooltip(node) {
  hideTooltip();
  node.classList.add("current");
  tooltip.textContent = node.getAttribute("aria-label");
  tooltip.hidden = false;
  const box = node.getBoundingClientRect();
  const left = Math.max(8, Math.min(box.left, window.innerWidth - tooltip.offsetWidth - 8));
  const above = box.top - tooltip.offsetHeight - 6;
  const top = above > 0 ? above : box.bottom + 6;
  tooltip.style.left = `${left + window.scrollX}px`;  // scrolls with its bar
  tooltip.style.top = `${top + window.scrollY}px`;
}

// Arrow keys walk through the bars of the focused video.
function walk(event) {
  const lanes = event.target.closest(".lanes");
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (event.key === "Escape") hideTooltip();
  if (!lanes || !step) return;
  event.preventDefault();
  const bars = [...lanes.querySelectorAll(".lane i")];
  const current = bars.findIndex((node) => node.classList.contains("current"));
  const next = current < 0 ? (step > 0 ? 0 : bars.length - 1) : current + step;
  const node = bars[Math.min(Math.max(next, 0), bars.length - 1)];
  if (!node) return;
  node.scrollIntoView({ block: "nearest" });
  showTooltip(node);
}

function sortTable(header) {
  const body = document.querySelector("#classes tbody");
  const column = header.cellIndex;
  const descending = header.getAttribute("aria-sort") !== "descending" && column > 0 ||
    header.getAttribute("aria-sort") === "ascending";
  const compare = (a, b) => column === 0
    ? a.cells[0].textContent.localeCompare(b.cells[0].textContent, "en")
    : Number(a.cells[column].dataset.value) - Number(b.cells[column].dataset.value);
  const rows = [...body.rows].sort((a, b) => (descending ? compare(b, a) : compare(a, b)));
  for (const other of header.parentNode.cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", descending ? "descending" : "ascending");
  body.replaceChildren(...rows);
}

const area = document.getElementById("videos");
area.addEventListener("pointerover", ({ target }) =>
  target.matches(".lane i") ? showTooltip(target) : hideTooltip());
area.addEventListener("pointerleave", hideTooltip);
area.addEventListener("focusout", hideTooltip);
area.addEventListener("keydown", walk);
slider.addEventListener("input", draw);
slider.form.addEventListener("submit", (event) => event.preventDefault());
for (const button of document.querySelectorAll("#classes thead button"))
  button.addEventListener("click", () => sortTable(button.closest("th")));
draw();
