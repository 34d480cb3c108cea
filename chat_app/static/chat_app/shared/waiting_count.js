// How many decisions wait for this person, in the navigation of every page.

import { get } from "./api.js";
import { number } from "./words.js";

const INTERVAL = 30_000;
const MOST = 100;

const place = document.getElementById("waiting-count");

export async function countWaiting() {
  try {
    const { data, has_more: hasMore } = await get(`/v1/actions?status=open&limit=${MOST}`);
    place.textContent = data.length ? `${number(data.length)}${hasMore ? "+" : ""}` : "";
    place.parentElement.hidden = !data.length && !place.parentElement.hasAttribute("aria-current");
  } catch (error) {
    console.warn("What is waiting could not be counted:", error);
  }
}

if (place) {
  countWaiting();
  setInterval(() => !document.hidden && countWaiting(), INTERVAL);
  document.addEventListener("visibilitychange", () => !document.hidden && countWaiting());
}
