// Connects the controls; draws the page for the first time.
const form = document.getElementById("controls");
const sliders = [...form.querySelectorAll(".min-score")];

// After a slider or the file that is judged changed.
function redraw() {
  files.forEach((file, index) => {
    file.minScore = Number(sliders[index].value);
    countOutcomes(file);
    const row = sliders[index].closest(".file");
    const numShown = file.numShown.reduce((sum, count) => sum + count, 0);
    row.querySelector(".min-score-value").textContent = file.minScore.toFixed(file.slider.digits);
    row.querySelector(".shown").textContent =
      `${numShown.toLocaleString("en")} of ${plural(file.scores.length, "detection")} shown`;
  });
  state.judged = Number(form.elements.judged?.value ?? 0);
  orderList();
  sayFacts();
  drawLanes();
  scrollToChosen();
  drawList();
}

function rematch() {
  const threshold = Number(document.getElementById("threshold").value);
  for (const file of files) matchDetections(file, threshold);
  redraw();
}

function relist() {
  orderList();
  list.scrollTop = 0;
  drawList();
}

function onTimelineKey(event) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  const zoom = { "+": 2, "=": 2, "-": 0.5, "0": 0 }[event.key];
  const kind = { m: "missed", f: "false" }[event.key.toLowerCase()];
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") {
    hideTooltip();
    markCurrent(null);
  }
  else if (step && event.shiftKey) lanes.scrollLeft += step * 0.2 * sightWidth();
  else if (step) walk(step);
  else if (zoom !== undefined) zoomBy(zoom);
  else if (kind) jump(kind, event.shiftKey ? -1 : 1);
  else if (event.key === " ") togglePlay();
  else return;
  event.preventDefault();
}

function onTimelineClick({ target, clientX }) {
  const place = target.closest(".lane, .axis")?.getBoundingClientRect();
  if (!place) return;
  markCurrent(null);
  seek(((clientX - place.left) / place.width) * view.span);
}

function connect() {
  const columns = document.querySelector(".columns");
  const qualities = files.map(({ name }) => (files.length > 1 ? name : "quality"));
  columns.append(...["video", ...qualities, "missed", "false pos."].map((text, index) => {
    const node = element("span", "", text);
    node.title = index > 0 && index <= files.length ? `quality of ${files[index - 1].name}` : text;
    return node;
  }));
  document.querySelector(".viewer").style.setProperty("--num-files", files.length);
  const sort = document.getElementById("sort");
  sort.append(...SORTS.map(([words], index) => new Option(words, index)));
  sort.addEventListener("change", relist);
  document.getElementById("find").addEventListener("input", relist);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", ({ target }) =>
    (target.id === "threshold" ? rematch : redraw)());
  form.querySelector(".jumps").addEventListener("click", ({ target }) => {
    const { kind, step } = target.dataset;
    if (kind) jump(kind, Number(step));
  });
  document.querySelector(".zooms").addEventListener("click", ({ target }) => {
    if (target.dataset.zoom) zoomBy(Number(target.dataset.zoom));
  });
  list.addEventListener("scroll", drawList);
  list.addEventListener("keydown", chooseBy);
  list.addEventListener("click", ({ target }) => {
    const row = target.closest(".option");
    if (row) choose(state.order[row.dataset.place]);
  });
  lanes.addEventListener("keydown", onTimelineKey);
  lanes.addEventListener("click", onTimelineClick);
  lanes.addEventListener("pointerover", ({ target }) =>
    target.matches(".lane i") ? showTooltip(target) : hideTooltip());
  lanes.addEventListener("pointerleave", hideTooltip);
  lanes.addEventListener("blur", hideTooltip);
  lanes.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    zoomBy(event.deltaY < 0 ? 1.25 : 0.8);
  }, { passive: false });
}

if (numVideos) {
  connect();
  rematch();
  choose(state.order[0]);
  document.body.dataset.drawn = Math.round(performance.now());  // milliseconds since the request
}
