// Sizes of files, as people read them.

import { number } from "./words.js";

const UNITS = ["B", "KB", "MB", "GB"];

export function fileSize(bytes) {
  const power = bytes > 0 ? Math.min(UNITS.length - 1, Math.floor(Math.log2(bytes) / 10)) : 0;
  return `${number(Math.round((bytes / 1024 ** power) * 10) / 10)} ${UNITS[power]}`;
}
