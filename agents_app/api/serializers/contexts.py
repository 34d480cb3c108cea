"""What the model would be told next in a session, as JSON."""

from rest_framework import serializers

from agents_app.models import Agent


class ContextCallSerializer(serializers.Serializer):
    """A call of a tool."""

    id = serializers.CharField()
    name = serializers.CharField()
    arguments = serializers.CharField(help_text="The beginning of its JSON.")


class ContextMessageSerializer(serializers.Serializer):
    """A message for the model."""

    role = serializers.ChoiceField(["system", "user", "assistant", "tool"])
    kind = serializers.ChoiceField(
        ["message", "summary", "replaced_result"],
        help_text="`summary` stands for all messages before it, `replaced_result` for a long result of a tool.",
    )
    content = serializers.CharField(
        allow_null=True, help_text="Its text, or the beginning of it. Administrators alone see that of `system`."
    )
    characters = serializers.IntegerField(help_text="Length of the whole text.")
    tokens = serializers.IntegerField(help_text="Estimated.")
    files = serializers.ListField(child=serializers.CharField(), help_text="Ids of its files.")
    tool_call_id = serializers.CharField()
    tool_calls = ContextCallSerializer(many=True)


class LeftOutSerializer(serializers.Serializer):
    """What the model is not told."""

    runs = serializers.IntegerField(help_text="Earlier runs that are summarized, or too old.")
    results = serializers.IntegerField(help_text="Results of tools with a line in their place.")
    messages = serializers.IntegerField(help_text="Messages that do not fit, as long as nobody summarizes them.")


class ContextSerializer(serializers.Serializer):
    """What the model would be told next, before the message and without the tools of MCP servers."""

    agent_name = serializers.CharField(allow_null=True, help_text="The agent of messages that name none.")
    agent_version = serializers.IntegerField(allow_null=True)
    model = serializers.CharField()
    compaction = serializers.ChoiceField(Agent.Compaction.choices)
    context_window = serializers.IntegerField(help_text="Of the model, in tokens.")
    answer_tokens = serializers.IntegerField(help_text="Tokens that are kept free for the answer.")
    compact_at_tokens = serializers.IntegerField(help_text="Size from which on the conversation is summarized.")
    tokens = serializers.IntegerField(help_text="Of all messages, estimated.")
    messages = ContextMessageSerializer(many=True)
    left_out = LeftOutSerializer()
