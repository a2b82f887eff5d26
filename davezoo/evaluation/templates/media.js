// Plays the file of the chosen video in step with the cursor. The page links to the file; where it
// is absent, the page says so and everything else works.
const mediaPlace = document.getElementById("media");
const mediaNote = document.getElementById("media-note");

const player = () => mediaPlace.querySelector("video");

function sayOfMedia(text) {
  mediaNote.textContent = text;
  mediaNote.hidden = !text;
}

// An address as people write it; names of files need not be UTF-8.
function readable(address) {
  try {
    return decodeURIComponent(address);
  } catch {
    return address;
  }
}

function loadMedia() {
  const address = page.media?.[view.video];
  player()?.pause();
  mediaPlace.replaceChildren();
  mediaPlace.hidden = !address;
  sayOfMedia(page.media && !address ? "This video has no media file." : "");
  if (!address) return;
  const node = element("video");
  node.controls = true;
  node.preload = "metadata";
  node.setAttribute("aria-label", `Video ${videos[view.video]}`);
  node.addEventListener("error", () => {
    mediaPlace.hidden = true;
    sayOfMedia(`The browser cannot open ${readable(address)}; it may have been moved, ` +
      "or its format is not one that browsers play.");
  });
  node.addEventListener("loadedmetadata", () => {
    mediaPlace.dataset.loaded = node.duration;
    node.classList.toggle("sound", !node.videoWidth);
  });
  node.addEventListener("timeupdate", () => showTime(node.currentTime));
  node.addEventListener("seeking", () => showTime(node.currentTime));
  node.addEventListener("play", () => {
    markCurrent(null);
    follow(node);
  });
  node.src = address;
  mediaPlace.append(node);
}

// Moves the cursor, and the timeline with it, with every picture while the file plays.
function follow(node) {
  if (node.paused || node !== player()) return;
  showTime(node.currentTime);
  keepCursorInSight();
  requestAnimationFrame(() => follow(node));
}

function seek(time) {
  showTime(time);
  if (player()) player().currentTime = view.time;
}

function togglePlay() {
  const node = player();
  if (node) node.paused ? node.play().catch(() => {}) : node.pause();  // the error event says why
}
