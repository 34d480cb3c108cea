"""What a model sees of a tool's files is the same in the run itself, after a restart and in later runs."""

from agents_app.engine.events import TOOL_RESULT, StepDone
from agents_app.engine.spec import AgentSpec, Conversation, FilePart, ModelSpec
from agents_app.engine.tool_calls import ToolCalls
from agents_app.engine.toolset import Attachment, ToolResult, Toolset
from agents_app.models import Step
from agents_app.worker.replay import replay


def test_a_tools_picture_is_the_same_after_a_restart():
    spec = AgentSpec("a", "", ModelSpec("openai", "", "", (), "m", 8192))
    live, rebuilt = Conversation([], ""), Conversation([], "")
    result = ToolResult(
        "click",
        attachments=(
            Attachment("image", "image/png", b"data", "a.png", file_id="file-1"),
            Attachment("structured", "application/json", b"{}", file_id="file-2"),  # the model has its text
            Attachment("audio", "audio/wav", b"data"),  # not stored
        ),
    )
    row = StepDone(1, TOOL_RESULT, 1, "", 0, 0, "call", "camera")
    ToolCalls(spec, live, Toolset([]))._result(row, result)

    stored = [
        {"file_id": "file-1", "kind": "image", "media_type": "image/png", "name": "a.png", "size": 4},
        {"file_id": "file-2", "kind": "structured", "media_type": "application/json", "name": "", "size": 2},
        {"id": "an artifact of before", "kind": "image", "media_type": "image/png", "name": "", "size": 4},
    ]
    step = Step(kind=TOOL_RESULT, status="finished", content="click", tool_call_id="call", attachments=stored)
    replay(rebuilt, [step])

    assert rebuilt.turns == live.turns
    assert live.turns[0].parts == ("click", FilePart("file-1", "image/png", "a.png", 4))
