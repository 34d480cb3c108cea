"""`ask_user`: a call that a person answers. The run waits for it as for an approval, and no worker meanwhile."""

from typing import Any

from agents_app.engine.spec import Decision
from agents_app.engine.toolset import QUESTION, Call, Tool, ToolError, ToolResult

LONGEST_QUESTION = 4000  # characters
MOST_OPTIONS = 20
_LONGEST_OPTION = 200  # characters
LONGEST_RESPONSE = 10_000  # characters


def response_schema(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema of the answer to a call of `ask_user`: one of its options, else any text."""
    options = arguments.get("options")
    if options and not arguments.get("other"):
        return {"type": "string", "enum": options}
    return {"type": "string", "minLength": 1, "maxLength": LONGEST_RESPONSE}


def outcome(decision: Decision) -> ToolResult:
    """Return what the model is told of the answer."""
    if decision.approved:
        return ToolResult(decision.response)
    if not decision.by:
        return ToolResult("Nobody answered in time.", is_error=True)
    reason = f" Reason: {decision.reason}" if decision.reason else ""
    return ToolResult(f"{decision.by} declined to answer.{reason}", is_error=True)


async def _not_called(_arguments: dict[str, Any], _call: Call) -> str:
    raise ToolError("Only a person answers this.")


ASK_USER = Tool(
    name="ask_user",
    description=(
        "Ask the user a question and wait for the answer, which may take long. Ask only what you cannot find out "
        "yourself, one question at a time. With options the user chooses one of them."
    ),
    parameters={
        "type": "object",
        "properties": {
            "question": {"type": "string", "minLength": 1, "maxLength": LONGEST_QUESTION},
            "options": {
                "type": "array",
                "maxItems": MOST_OPTIONS,
                "items": {"type": "string", "minLength": 1, "maxLength": _LONGEST_OPTION},
                "description": "Answers to choose from.",
            },
            "other": {"type": "boolean", "description": "Whether the user may write another answer than the options."},
        },
        "required": ["question"],
        "additionalProperties": False,
    },
    call=_not_called,
    action=QUESTION,
)
