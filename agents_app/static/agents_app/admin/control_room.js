// Keeps the live numbers of the control room fresh: asks for them every few seconds while somebody looks.

const INTERVAL = 3000;
const PATIENCE = 10000;

const live = document.getElementById("live");
const state = document.getElementById("live-state");
const pause = document.getElementById("live-pause");
let isPaused = false;
let timer;

async function refresh() {
  clearTimeout(timer);
  try {
    const answer = await fetch(live.dataset.url, { signal: AbortSignal.timeout(PATIENCE), redirect: "error" });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const text = await answer.text();
    if (isPaused) return; // meanwhile
    replace(text);
    state.textContent = `Live, as of ${new Date().toLocaleTimeString()}`;
    state.classList.remove("bad");
  } catch {
    if (isPaused) return;
    state.textContent = "The server does not answer; these numbers are old. Trying again.";
    state.classList.add("bad");
  }
  schedule();
}

// Nobody loses the place that they are at with the keyboard.
function replace(text) {
  const places = () => [...live.querySelectorAll("a, [tabindex]")];
  const at = places().indexOf(document.activeElement);
  live.innerHTML = text;
  if (at >= 0) places()[at]?.focus({ preventScroll: true });
}

function schedule() {
  clearTimeout(timer);
  if (!isPaused && !document.hidden) timer = setTimeout(refresh, INTERVAL);
}

pause.addEventListener("click", () => {
  isPaused = !isPaused;
  pause.setAttribute("aria-pressed", String(isPaused));
  if (isPaused) {
    clearTimeout(timer);
    state.textContent = "Paused";
  } else {
    refresh();
  }
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && !isPaused) refresh();
});
refresh();
