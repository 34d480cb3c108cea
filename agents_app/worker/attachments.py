"""Write the rows of files that tools returned, whose bytes are stored already, with the steps that name them."""

from agents_app.engine.events import StepDone
from agents_app.event_log import vocabulary
from agents_app.models import File, Run, StoredBytes


def describe(step: StepDone) -> list[vocabulary.Attachment]:
    """Return the attachments of a step as its row and its frame describe them."""
    return [
        vocabulary.Attachment(
            file_id=each.file_id,
            kind=each.kind,
            media_type=each.media_type,
            name=each.name,
            size=len(each.data),
        )
        for each in step.attachments
        if each.file_id
    ]


def rows(run: Run, step: StepDone) -> list[File]:
    """Return the rows of a step's attachments."""
    return [
        File(
            id=each.file_id,
            owner_id=run.session.owner_id,
            stored_id=each.stored_id,
            run=run,
            kind=each.kind,
            media_type=each.media_type,
            name=each.name,
            size=len(each.data),
        )
        for each in step.attachments
        if each.file_id and each.stored_id is not None
    ]


def save(files: list[File]) -> None:
    """Write the rows in the caller's transaction. A file whose bytes were deleted at this moment counts as deleted."""
    locked = StoredBytes.objects.lock_complete({file.stored_id for file in files})
    File.objects.bulk_create([file for file in files if file.stored_id in locked], ignore_conflicts=True)
