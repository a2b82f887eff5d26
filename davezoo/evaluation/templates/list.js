// The list of videos: sorting, finding, choosing, and jumps from one miss to the next. Only the
// rows in sight are in the page.
const list = document.getElementById("list");
const ROW_HEIGHT = 28;  // pixels, as in viewer.css
const state = { order: [], judged: 0 };
const annotatedNames = videos.map((_, video) =>
  [...new Set(rowsOf(events, video).map((event) => labels[events.labels[event]]))].join("\n"));

// What the list is sorted by: words and, for each video, a number (or null, last) or a text.
const SORTS = [
  ...files.flatMap(({ name, quality }) => {
    const of = files.length > 1 ? ` of ${name}` : "";
    return [
      [`quality${of}, best first`, (video) => negative(quality[video])],
      [`quality${of}, worst first`, (video) => quality[video]],
    ];
  }),
  ...files.slice(1).flatMap((other) => [
    [`${files[0].name} better than ${other.name}`, (video) =>
      negative(difference(files[0].quality[video], other.quality[video]))],
    [`${other.name} better than ${files[0].name}`, (video) =>
      negative(difference(other.quality[video], files[0].quality[video]))],
  ]),
  ["missed events, most first", (video) => -files[state.judged].numMissed[video]],
  ["false positives, most first", (video) => -files[state.judged].numFalse[video]],
  ["events, most first", (video) => events.first[video] - events.first[video + 1]],
  ["duration, longest first", (video) => negative(durations[video])],
  ["id", (video) => videos[video]],
];

const negative = (value) => (value === null ? null : -value);
const difference = (a, b) => (a === null || b === null ? null : a - b);

function compare(a, b) {
  if (a === b) return 0;
  if (a === null || b === null) return a === null ? 1 : -1;
  return a < b ? -1 : 1;
}

function orderList() {
  const words = document.getElementById("find").value.trim().toLowerCase();
  const key = SORTS[document.getElementById("sort").value][1];
  const keys = videos.map((_, video) => key(video));
  state.order = videos.map((_, video) => video)
    .filter((video) => `${videos[video]}\n${annotatedNames[video]}`.toLowerCase().includes(words))
    .sort((a, b) => compare(keys[a], keys[b]) || compare(videos[a], videos[b]));
  document.getElementById("listed").textContent =
    `${state.order.length.toLocaleString("en")} of ${plural(numVideos, "video")} listed`;
  list.firstElementChild.style.height = `${state.order.length * ROW_HEIGHT}px`;
}

const qualityText = (value) => (value === null ? "–" : value.toFixed(2));

function listRow(place) {
  const video = state.order[place];
  const file = files[state.judged];
  const row = element("div", "option");
  row.id = `option-${place}`;
  row.style.top = `${place * ROW_HEIGHT}px`;
  row.dataset.place = place;
  row.setAttribute("role", "option");
  row.setAttribute("aria-selected", video === view.video);
  row.setAttribute("aria-posinset", place + 1);
  row.setAttribute("aria-setsize", state.order.length);
  const qualities = files.map(({ quality }) => qualityText(quality[video]));
  const counts = [file.numMissed[video], file.numFalse[video]];
  row.setAttribute("aria-label", `${videos[video]}, quality ${qualities.join(", ")}, ` +
    `${counts[0]} missed, ${plural(counts[1], "false positive")}`);
  const name = element("bdi", "", videos[video]);
  name.title = videos[video];
  row.append(name, ...[...qualities, ...counts].map((text) => element("span", "", text)));
  return row;
}

function drawList() {
  const first = Math.max(Math.floor(list.scrollTop / ROW_HEIGHT) - 4, 0);
  const last = Math.min(first + Math.ceil(list.clientHeight / ROW_HEIGHT) + 8, state.order.length);
  const places = Array.from({ length: Math.max(last - first, 0) }, (_, index) => first + index);
  list.firstElementChild.replaceChildren(...places.map(listRow));
  const chosen = state.order.indexOf(view.video);
  if (chosen >= first && chosen < last) list.setAttribute("aria-activedescendant", `option-${chosen}`);
  else list.removeAttribute("aria-activedescendant");
}

function scrollToChosen() {
  const top = state.order.indexOf(view.video) * ROW_HEIGHT;
  if (top < 0) return;
  const lowest = top + ROW_HEIGHT - list.clientHeight;
  list.scrollTop = Math.min(Math.max(list.scrollTop, lowest), top);
}

function sayFacts() {
  const { video } = view;
  const of = (name) => (files.length > 1 ? `${name}: ` : "");
  const parts = files.map((file) => `${of(file.name)}quality ${qualityText(file.quality[video])}, ` +
    `${file.numShown[video]} of ${plural(file.first[video + 1] - file.first[video], "detection")}`);
  const duration = durations[video] === null ? [] : [`${durations[video].toFixed(1)} s`];
  const numEvents = events.first[video + 1] - events.first[video];
  document.getElementById("video-id").textContent = videos[video];
  document.getElementById("video-facts").textContent =
    [...duration, plural(numEvents, "event"), ...parts].join(" · ");
}

function choose(video) {
  Object.assign(view, { video, zoom: 1, time: 0, current: null });
  sayFacts();
  drawLanes();
  lanes.scrollLeft = 0;
  loadMedia();
  scrollToChosen();
  drawList();
}

function chooseBy(event) {
  const last = state.order.length - 1;
  const now = state.order.indexOf(view.video);
  const page_ = Math.max(Math.floor(list.clientHeight / ROW_HEIGHT) - 1, 1);
  const place = { ArrowDown: now + 1, ArrowUp: now - 1, PageDown: now + page_, PageUp: now - page_,
    Home: 0, End: last }[event.key];
  if (place === undefined || last < 0) return;
  event.preventDefault();
  choose(state.order[Math.min(Math.max(place, 0), last)]);
}

// What one can jump to in a video, by start: keys of bars and where they start in sight.
function targets(kind, video) {
  const file = files[state.judged];
  const missed = kind === "missed";
  const table = missed ? events : file;
  const rows = rowsOf(table, video).filter((row) =>
    missed ? isMissed(file, row) : isShown(file, row) && isFalse(file, row));
  return rows.map((row) => ({
    key: `${missed ? "missed" : "detection"} ${state.judged} ${row}`,
    start: Math.max(table.starts[row], 0),
  })).sort((a, b) => a.start - b.start);
}

// The place of the target after (or before) the current bar, where that is none the cursor.
function nextPlace(here, step) {
  const current = here.findIndex(({ key }) => key === view.current);
  if (current >= 0) return current + step;
  return step > 0 ? here.findIndex(({ start }) => start >= view.time)
    : here.findLastIndex(({ start }) => start <= view.time);
}

// Goes to the next (or previous) miss or false positive: in this video, else down (or up) the list.
function jump(kind, step) {
  const here = targets(kind, view.video);
  let target = here[nextPlace(here, step)];
  let place = state.order.indexOf(view.video);
  while (target === undefined && state.order[place + step] !== undefined) {
    place += step;
    target = targets(kind, state.order[place]).at(step > 0 ? 0 : -1);
  }
  const words = kind === "missed" ? "missed event" : "false positive";
  const way = step > 0 ? "further" : "earlier";
  document.getElementById("jumped").textContent = target === undefined ? `No ${way} ${words}.` : "";
  if (target === undefined) return;
  if (state.order[place] !== view.video && place >= 0) choose(state.order[place]);
  goTo(lanes.querySelector(`[data-key="${target.key}"]`));
}
