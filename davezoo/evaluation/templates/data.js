"use strict";
// Reads the packed videos, events and detections, and decides which detections take which events.
// Text from files goes through textContent and setAttribute only, so that a label is never read as
// HTML. All scripts of the page run as one, in the order of report.py.
const page = JSON.parse(document.getElementById("data").textContent);
const { labels, videos, durations } = page;
const numVideos = videos.length;
const events = readRows(page.events);
const files = page.files.map((file) => ({ ...file, ...readRows(file), minScore: file.slider.start }));
const scoredLabels = new Set(page.scored);
const HIT = 0, FALSE = 1, DUPLICATE = 2, UNSCORED = 3;

function readColumn(text, Column) {
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let index = 0; index < bytes.length; index++) bytes[index] = letters.charCodeAt(index);
  return new Column(bytes.buffer);
}

// The columns, and `first`: the rows of video V are those from first[V] to first[V + 1].
function readRows({ counts, starts, ends, labels: classes, scores }) {
  const numRows = readColumn(counts, Int32Array);
  const first = new Int32Array(numRows.length + 1);
  numRows.forEach((count, video) => { first[video + 1] = first[video] + count; });
  return {
    first,
    starts: readColumn(starts, Float32Array),
    ends: readColumn(ends, Float32Array),
    labels: readColumn(classes, Int32Array),
    ...(scores === undefined ? {} : { scores: readColumn(scores, Float32Array) }),
  };
}

function rowsOf(table, video) {
  const from = table.first[video];
  return Array.from({ length: table.first[video + 1] - from }, (_, index) => from + index);
}

function tiou(start, end, otherStart, otherEnd) {
  const overlap = Math.max(0, Math.min(end, otherEnd) - Math.max(start, otherStart));
  const union = end - start + otherEnd - otherStart - overlap;
  return union > 0 ? overlap / union : Number(start === otherStart && end === otherEnd);
}

// Fills `verdicts` of the detections and, of each event, `foundScores`: the score of the detection
// that takes it, or -Infinity. Detections come best score first, so the choice does not depend on
// the slider. Times are rounded to 32 bits: a tIoU right at the threshold counts.
function matchDetections(file, threshold) {
  file.verdicts = new Uint8Array(file.scores.length);
  file.foundScores = new Float32Array(events.labels.length).fill(-Infinity);
  for (let video = 0; video < numVideos; video++) {
    for (let row = file.first[video]; row < file.first[video + 1]; row++)
      file.verdicts[row] = takeEvent(file, video, row, threshold - 1e-6);
  }
}

function takeEvent(file, video, row, threshold) {
  const label = file.labels[row], start = file.starts[row], end = file.ends[row];
  let taken = -1, highest = threshold, isNear = false;
  for (let event = events.first[video]; event < events.first[video + 1]; event++) {
    if (events.labels[event] !== label) continue;
    const value = tiou(events.starts[event], events.ends[event], start, end);
    if (value < threshold) continue;
    isNear = true;
    if (file.foundScores[event] === -Infinity && value >= highest) {
      highest = value;
      taken = event;
    }
  }
  if (taken >= 0) {
    file.foundScores[taken] = file.scores[row];
    return HIT;
  }
  if (isNear) return DUPLICATE;
  return scoredLabels.has(label) ? FALSE : UNSCORED;
}

const isShown = (file, row) => file.scores[row] >= Math.fround(file.minScore);
const isMissed = (file, event) => !(file.foundScores[event] >= Math.fround(file.minScore));
const isFalse = (file, row) => file.verdicts[row] === FALSE || file.verdicts[row] === DUPLICATE;

// Fills how many detections of each video are shown, how many of them are false positives, and how
// many events are missed, at the lowest score that the slider of the file says.
function countOutcomes(file) {
  file.numShown = new Int32Array(numVideos);
  file.numFalse = new Int32Array(numVideos);
  file.numMissed = new Int32Array(numVideos);
  for (let video = 0; video < numVideos; video++) {
    for (let row = file.first[video]; row < file.first[video + 1] && isShown(file, row); row++) {
      file.numShown[video] += 1;
      file.numFalse[video] += isFalse(file, row);
    }
    for (let event = events.first[video]; event < events.first[video + 1]; event++)
      file.numMissed[video] += isMissed(file, event);
  }
}

function element(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function plural(count, noun) {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}
