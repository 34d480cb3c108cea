// Files in the conversation: pictures as thumbnails, others as cards to download.

import { element } from "../shared/dom.js";
import { fileSize } from "../shared/sizes.js";
import { gettext } from "../shared/words.js";
import { openPicture } from "./picture_dialog.js";

const PICTURES = /^image\/(png|jpeg|gif|webp)$/; // the server sends others, SVG above all, only as downloads
const LONGEST_BADGE = 4;

export function isPicture(mediaType) {
  return PICTURES.test(mediaType);
}

export function contentAddress({ file_id: fileId }) {
  return `/v1/files/${encodeURIComponent(fileId)}/content`;
}

function thumbnailAddress({ file_id: fileId }) {
  return `/v1/files/${encodeURIComponent(fileId)}/thumbnail`;
}

/** The files of a message or a step; null if there are none. */
export function attachmentList(files) {
  return files.length ? element("ul", "attachments", ...files.map((file) => element("li", "", attachment(file)))) : null;
}

/** `file` is a part of a message or an attachment of a step: `file_id`, `media_type`, `name`, `size`. */
export function attachment(file) {
  return isPicture(file.media_type) ? thumbnail(file) : fileCard(file);
}

function nameOf({ name, media_type: mediaType }) {
  return name || mediaType;
}

function thumbnail(file) {
  const image = element("img", "");
  image.alt = nameOf(file);
  image.loading = "lazy";
  image.decoding = "async";
  image.src = thumbnailAddress(file);
  const opener = element("button", "picture", image);
  opener.type = "button";
  opener.title = gettext("Open {name} large", { name: nameOf(file) });
  opener.addEventListener("click", () =>
    openPicture({ name: nameOf(file), address: contentAddress(file), facts: factsOf(file) }),
  );
  image.addEventListener("error", () => opener.replaceWith(fileCard(file)), { once: true });
  return opener;
}

function fileCard(file) {
  const name = element("span", "name", nameOf(file));
  name.dir = "auto";
  const card = element("a", "file", fileBadge(nameOf(file)), element("span", "words", name, element("span", "state", factsOf(file))));
  card.href = contentAddress(file);
  card.download = nameOf(file);
  card.title = gettext("Download {name}", { name: nameOf(file) });
  whenSeen(card, async () => {
    if (await isGone(file)) {
      card.replaceWith(unavailable(file));
    }
  });
  return card;
}

function unavailable(file) {
  const name = element("span", "name", nameOf(file));
  name.dir = "auto";
  const words = element("span", "words", name, element("span", "state", gettext("No longer available")));
  return element("span", "file gone", fileBadge(nameOf(file)), words);
}

/** The type as people know it, and the size: `PDF · 1.2 MB`. */
function factsOf({ media_type: mediaType, name, size }) {
  return [badgeOf(name) || mediaType, fileSize(size)].join(" · ");
}

function badgeOf(name) {
  return (/\.([a-z0-9]{1,8})$/i.exec(name ?? "")?.[1] ?? "").toUpperCase();
}

/** A sign that stands where a picture would. */
export function fileBadge(name) {
  const badge = element("span", "badge", badgeOf(name).slice(0, LONGEST_BADGE) || "•••");
  badge.setAttribute("aria-hidden", "true");
  return badge;
}

async function isGone(file) {
  const request = fetch(contentAddress(file), { method: "HEAD", cache: "no-store" });
  const response = await request.catch(() => null); // offline nothing is known
  return response?.status === 404;
}

const acts = new WeakMap();
const seen = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (isIntersecting) {
      seen.unobserve(target);
      acts.get(target)();
    }
  }
});

function whenSeen(node, act) {
  acts.set(node, act);
  seen.observe(node);
}
