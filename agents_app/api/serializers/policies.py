"""Security policies, as JSON."""

from rest_framework import serializers


class RuleSerializer(serializers.Serializer):
    """One line of a policy."""

    topic = serializers.CharField()
    text = serializers.CharField(help_text="A sentence.")
    server = serializers.CharField(help_text="The MCP server that it is about; empty if it is about the agent.")


class PolicySerializer(serializers.Serializer):
    """What an agent or an MCP server may do and reach."""

    name = serializers.CharField()
    rules = RuleSerializer(many=True)
