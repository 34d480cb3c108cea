// What a tool has given beside its text: files, and the run of another agent.

import { element, linkElsewhere } from "../shared/dom.js";
import { gettext } from "../shared/words.js";

const UNITS = ["B", "KB", "MB", "GB"];

/** The files of a result, and the link to a sub-agent's run; null if it has neither. */
export function resultFiles(item) {
  if (!(item.attachments?.length || item.childSession)) {
    return null;
  }
  const more = element("div", "more", ...item.attachments.map((each) => fileOf(each)));
  if (item.childSession) {
    const address = `?session=${encodeURIComponent(item.childSession)}`;
    more.append(linkElsewhere(gettext("Open the sub-agent's run"), address));
  }
  return more;
}

function fileOf({ file_id: fileId, id, media_type: mediaType, name, size }) {
  // Steps of before results became files have an id whose digits are the file's.
  const address = `/v1/files/${encodeURIComponent(fileId ?? `file-${id.replaceAll("-", "")}`)}/content`;
  const words = `${name || mediaType} · ${sizeOf(size)}`;
  if (!/^image\/(png|jpeg|gif|webp)$/.test(mediaType)) {
    return linkElsewhere(words, address);
  }
  const image = document.createElement("img");
  image.src = address;
  image.alt = words;
  image.loading = "lazy";
  return image;
}

function sizeOf(bytes) {
  const power = bytes > 0 ? Math.min(UNITS.length - 1, Math.floor(Math.log(bytes) / Math.log(1024))) : 0;
  return `${Math.round((bytes / 1024 ** power) * 10) / 10} ${UNITS[power]}`;
}
