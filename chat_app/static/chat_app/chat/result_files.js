// What a tool has given beside its text: files, and the run of another agent.

import { attachmentList } from "./attachments.js";
import { element, linkElsewhere } from "../shared/dom.js";
import { gettext } from "../shared/words.js";

/** The files of a result, and the link to a sub-agent's run; null if it has neither. */
export function resultFiles(item) {
  if (!(item.attachments?.length || item.childSession)) {
    return null;
  }
  const files = attachmentList((item.attachments ?? []).map(withFileId));
  const more = element("div", "more", ...(files ? [files] : []));
  if (item.childSession) {
    const address = `?session=${encodeURIComponent(item.childSession)}`;
    more.append(linkElsewhere(gettext("Open the sub-agent's run"), address));
  }
  return more;
}

/** Steps of before results became files have an id whose digits are the file's. */
function withFileId(file) {
  return { ...file, file_id: file.file_id ?? `file-${file.id.replaceAll("-", "")}` };
}
