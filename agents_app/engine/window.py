"""How full the model's window is in one run, and the messages that fit into it."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from agents_app.engine import context_window
from agents_app.engine.spec import AgentSpec, Conversation, FilePart, Message, ModelSpec
from agents_app.engine.toolset import Tool, Toolset

_LEAST_OF_RESULT = 200  # characters of a result, however little room there is
_TOOLS_AT = 0.75  # of where the summary is made: here old results of tools are replaced
_CUT = '\n[{:,} more characters: call read_result with tool_call_id "{}" and offset {} to read on]'


@dataclass(frozen=True, slots=True)
class Fitted:
    """The messages of a request. `left_out`: how many there are more. `has_cut_result`: a result lacks its end."""

    messages: list[Message]
    left_out: int = 0
    has_cut_result: bool = False


class Window:
    """The window of the model that a run asks now. Sizes are in characters, as tokens are estimated from them.

    `shrink`: the share of it to use, after the model's server rejected a request as too long. `file_weights`: what the
    files that were rendered take: see `context_window.file_characters`.
    """

    def __init__(self, spec: AgentSpec, model: ModelSpec, conversation: Conversation, tools: Toolset) -> None:
        self.spec = spec
        self.model = model
        self.conversation = conversation
        self.shrink = 1.0
        self.file_weights: dict[str, int] = {}
        self._tools = tools
        self._tool_sizes: dict[int, tuple[Tool, int]] = {}

    def use(self, model: ModelSpec) -> None:
        """Use another model's window, and forget what was true of the one before only."""
        self.model = model
        self.shrink = 1.0
        self.file_weights = {}

    @property
    def ratio(self) -> float:
        return context_window.characters_per_token(self.model)

    @property
    def answer_tokens(self) -> int:
        """Return the tokens that are kept free for the answer."""
        window, most = self.model.context_tokens, self.spec.parameters.max_tokens
        return min(most, window // 2) if most else min(2048, window // 4)

    @property
    def room(self) -> float:
        """Return the room for a request."""
        return (self.model.context_tokens - self.answer_tokens) * self.ratio * self.shrink

    @property
    def summary_at(self) -> float:
        """Return the size from which on the conversation is summarized."""
        tokens = self.model.context_tokens * self.spec.compact_at / 100
        if self.spec.compact_threshold is not None:
            tokens = min(tokens, self.spec.compact_threshold)
        return min(tokens * self.ratio * self.shrink, self.room)

    @property
    def tools_at(self) -> float:
        """Return the size from which on old results of tools are replaced."""
        return self.summary_at * _TOOLS_AT

    def tokens(self, size: float) -> int:
        return round(size / self.ratio)

    def system_prompt(self) -> str:
        # Without the reasons, which have commands and addresses: a user can ask the model for its prompt.
        missing = [f"Some tools of {source!r} are not available now." for source in self._tools.problems]
        return "\n\n".join([self.spec.system_prompt, *missing]).strip()

    def size(self) -> int:
        """Return the size of a request with the whole conversation."""
        conversation = self.conversation
        return self.fixed() + self.of(conversation.history) + self.of(self.prompt()) + self.of(conversation.turns)

    def of(self, messages: Sequence[Message]) -> int:
        return context_window.characters(messages, self.file_weights)

    def fixed(self) -> int:
        """Return the size of what is in each request: the system prompt, the tools and the format of the answer."""
        form = self.spec.parameters.response_format
        form_size = len(orjson.dumps(form)) if form else 0
        return len(self.system_prompt()) + form_size + sum(map(self._size_of_tool, self._tools.tools))

    def _size_of_tool(self, tool: Tool) -> int:
        if (kept := self._tool_sizes.get(id(tool))) is None:
            parameters = orjson.dumps(tool.parameters, default=str, option=orjson.OPT_NON_STR_KEYS)
            kept = self._tool_sizes[id(tool)] = tool, len(tool.name) + len(tool.description) + len(parameters)
        return kept[1]

    def prompt(self) -> list[Message]:
        """Return the run's prompt; none if the conversation ends with results of tools."""
        prompt = Message("user", self.conversation.prompt, parts=self.conversation.prompt_parts)
        return [prompt] if prompt.content or prompt.parts else []

    def fit(self) -> Fitted:
        """Return the newest messages that fit, at least the prompt and the newest turn.

        If older ones of the history are left out, the rest begins with a user's message, because many models' templates
        require it. A client's own history begins as the client wrote it. A summary stays.
        """
        conversation, prompt = self.conversation, self.prompt()
        whole = [*conversation.history, *prompt, *conversation.turns]
        room = self.room - self.fixed()
        if self.of(whole) <= room:
            return Fitted(whole)
        summary = conversation.history[:2] if conversation.history and conversation.history[0].is_note else []
        room -= self.of([*summary, *prompt])
        turns, has_cut_result = self._newest_turns(room)
        room -= self.of(turns)
        recent: list[Message] = []
        if len(turns) == len(conversation.turns):
            recent = self._newest(conversation.history[len(summary) :], room)
        messages = [*summary, *recent, *prompt, *turns]
        return Fitted(messages, len(whole) - len(messages), has_cut_result)

    def _newest_turns(self, room: float) -> tuple[list[Message], bool]:
        """Return the newest turns of this run that fit, and whether results of the newest one had to be cut."""
        groups = turn_groups(self.conversation.turns)
        if self.spec.compaction == "off" or not groups:
            return list(self.conversation.turns), False
        newest = groups[-1]
        if is_cut := self.of(newest) > room:
            newest = self._with_cut_results(newest, room)
        turns = newest
        for group in reversed(groups[:-1]):
            if self.of(group) + self.of(turns) > room:
                break
            turns = [*group, *turns]
        return turns, is_cut

    def _with_cut_results(self, group: list[Message], room: float) -> list[Message]:
        """Return a turn with the beginnings of its results, of equal length as far as they are longer."""
        results = sorted(len(message.content) for message in group if message.role == "tool")
        left = room - self.of(group) + sum(results) - len(results) * len(_CUT)
        for place, length in enumerate(results):
            if length * (len(results) - place) > left:
                share = max(int(left / (len(results) - place)), _LEAST_OF_RESULT)
                return [_beginning(message, share) if message.role == "tool" else message for message in group]
            left -= length
        return group

    def _newest(self, history: Sequence[Message], room: float) -> list[Message]:
        recent: list[Message] = []
        for message in reversed(history):
            room -= self.of([message])
            if room < 0:
                break
            recent.append(message)
        is_cut = len(recent) < len(history)
        while is_cut and recent and recent[-1].role != "user":
            recent.pop()
        return recent[::-1]


def turn_groups(turns: Sequence[Message]) -> list[list[Message]]:
    """Divide the turns of a run where a call and its results stay together."""
    groups: list[list[Message]] = []
    for message in turns:
        if message.role == "assistant" or not groups:
            groups.append([])
        groups[-1].append(message)
    return groups


def _beginning(message: Message, length: int) -> Message:
    if len(message.content) <= length:
        return message
    more = len(message.content) - length
    content = message.content[:length] + _CUT.format(more, message.tool_call_id, length)
    files = tuple(part for part in message.parts if isinstance(part, FilePart))
    return dataclasses.replace(message, content=content, parts=(content, *files) if files else (), encoded={})
