"""Store what the tools of a run return beside text: the bytes first, before the step that names them is written."""

import dataclasses
import logging

from agents_app.database.threads import UNAVAILABLE, DatabaseThreads
from agents_app.engine.toolset import Attachment, ToolResult
from agents_app.exceptions import StorageUnavailable
from agents_app.files import media_types, saving
from agents_app.models import File
from agents_app.models.files import make_file_id

logger = logging.getLogger(__name__)

MOST_BYTES = 256 * 1024**2  # of what the tools of one run return, from one claim to the next
_threads = DatabaseThreads("attachments", 2)


class Attachments:
    """Those of one run. `with_ids`: the model learns the files' ids, because it can read them."""

    def __init__(self, owner_id: int | None, *, with_ids: bool = False) -> None:
        self._owner_id = owner_id
        self._with_ids = with_ids
        self._room = MOST_BYTES

    async def keep(self, result: ToolResult) -> ToolResult:
        """Store the attachments. Those that cannot be stored are left out, and the text says so."""
        kept, notes = [], []
        for attachment in result.attachments:
            if len(attachment.data) > self._room:
                notes.append(f"[not kept: the files of this run have more than {MOST_BYTES // 1024**2} MiB]")
                continue
            self._room -= len(attachment.data)
            try:
                stored = await _threads.run(_store, self._owner_id, attachment)
            except (StorageUnavailable, OSError, *UNAVAILABLE) as error:
                logger.error("A file that a tool returned could not be stored: %s", error)
                notes.append("[not kept: the storage of files refused the write]")
                continue
            kept.append(stored)
            if self._with_ids or stored.kind == File.Kind.GIVEN:
                notes.append(_describe(stored))
        content = "\n".join([result.content, *notes])
        return dataclasses.replace(result, content=content, attachments=tuple(kept))


def _store(owner_id: int | None, attachment: Attachment) -> Attachment:
    """Store the bytes. Return the attachment as the file that it becomes, with its type by its content."""
    stored = saving.store(owner_id, [attachment.data])
    head = attachment.data[: media_types.HEAD]
    return dataclasses.replace(
        attachment,
        media_type=media_types.media_type(head, _name_for_type(attachment)),
        name=media_types.clean_name(attachment.name),
        file_id=make_file_id(),
        stored_id=stored.pk,
    )


def _name_for_type(attachment: Attachment) -> str:
    return "x.json" if attachment.kind == File.Kind.STRUCTURED else attachment.name


def _describe(file: Attachment) -> str:
    name = f"{file.name}, " if file.name else ""
    return f"[file_id {file.file_id}: {name}{file.media_type}, {len(file.data):,} bytes]"
