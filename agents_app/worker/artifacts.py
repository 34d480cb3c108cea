"""Save what tools return beside text: once, as artifacts that steps and frames refer to."""

import uuid

from agents_app.engine.events import StepDone
from agents_app.engine.toolset import Attachment
from agents_app.event_log import vocabulary
from agents_app.models import Artifact, Run

_NAMESPACE = uuid.UUID("5f0d8d7e-6a3c-4a57-9d0e-3f8f5a2f9f11")


def _id(step: StepDone, position: int) -> uuid.UUID:
    """Return an id that depends on the step alone: its row, its frame and the artifact derive it independently."""
    return uuid.uuid5(_NAMESPACE, f"{step.tool_call_id} {step.index} {step.started!r} {position}")


def describe(step: StepDone) -> list[vocabulary.Attachment]:
    """Return the attachments of a step as its row and its frame describe them."""
    return [
        vocabulary.Attachment(
            id=str(_id(step, position)),
            kind=each.kind,
            media_type=each.media_type,
            name=each.name,
            size=len(each.data),
        )
        for position, each in enumerate(step.attachments)
    ]


def rows(run: Run, step: StepDone) -> list[Artifact]:
    """Return the rows of a step's attachments."""
    return [_row(run, _id(step, position), each) for position, each in enumerate(step.attachments)]


def _row(run: Run, pk: uuid.UUID, attachment: Attachment) -> Artifact:
    return Artifact(
        id=pk,
        run=run,
        kind=attachment.kind,
        media_type=attachment.media_type[:100],
        name=attachment.name[:200],
        size=len(attachment.data),
        data=attachment.data,
    )


def save(artifacts: list[Artifact]) -> None:
    """Write the rows in the caller's transaction."""
    Artifact.objects.bulk_create(artifacts, ignore_conflicts=True)
