"""Sessions and the events of their logs as JSON."""

from typing import Any

from rest_framework import serializers

from agents_app.api.serializers.fields import Metadata, Strict, StrictModel, Text
from agents_app.models import Session


class SessionSerializer(StrictModel):
    """A conversation. Only its title and its metadata can be changed."""

    session_id = serializers.SerializerMethodField(
        help_text="How you address the session: by its name if it is yours, else by its id."
    )
    agent_name = serializers.SerializerMethodField(help_text="The agent of messages that name none.")
    parent = serializers.SerializerMethodField(  # type: ignore[assignment]
        help_text="The id of the session that it was forked from; null if none."
    )
    metadata = Metadata(help_text="Up to 16 strings, which prompts of agents name as {{metadata.KEY}}.")

    class Meta:
        model = Session
        fields = (
            "id",
            "session_id",
            "title",
            "metadata",
            "agent_name",
            "last_seq",
            "run_count",
            "parent",
            "parent_run",
            "created_at",
            "updated_at",
        )
        read_only_fields = ("id", "last_seq", "run_count", "parent_run")

    def update(self, session: Session, validated_data: dict[str, Any]) -> Session:
        """Save what the client sent alone: a message that starts meanwhile changes the rest."""
        for name, value in validated_data.items():
            setattr(session, name, value)
        is_renamed = set(validated_data) == {"title"}  # which is no news: the session keeps its place in lists
        session.save(update_fields=[*validated_data, *([] if is_renamed else ["updated_at"])])
        return session

    def get_session_id(self, session: Session) -> str:
        return session.address_for(self.context["request"].user)

    def get_parent(self, session: Session) -> str | None:
        return session.parent_id

    def get_agent_name(self, session: Session) -> str | None:
        return session.agent.name if session.agent else None


class ForkSerializer(Strict):
    """The request to fork a session."""

    run_id = serializers.UUIDField(
        required=False, help_text="The last run that the fork shares. Leave out for the newest that has ended."
    )
    title = Text(max_length=200, required=False, help_text="Title of the fork. Leave out for that of the session.")


class FrameSerializer(serializers.Serializer):
    """An event of the log, as the socket sends it."""

    type = serializers.CharField()
    seq = serializers.IntegerField()
    first = serializers.IntegerField(required=False, help_text="Set if it covers more than one number.")
    run_id = serializers.UUIDField(allow_null=True)
    timestamp = serializers.FloatField(help_text="Seconds since the epoch.")
    data = serializers.DictField()  # type: ignore[assignment]


class EventsSerializer(serializers.Serializer):
    """A page of the log."""

    object = serializers.ChoiceField(["list"])
    data = FrameSerializer(many=True)  # type: ignore[assignment]
    has_more = serializers.BooleanField()
    next = serializers.URLField(allow_null=True, help_text="The URL of the next page.")
    pruned_seq = serializers.IntegerField(help_text="Events up to this number were pruned.")
