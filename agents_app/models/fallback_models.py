"""The models that answer where an agent's own cannot."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.db import models, transaction

from agents_app.models.agent_versions import agent_changed, reference
from agents_app.models.providers import Provider
from agents_app.models.validation import validate_accepts

MOST = 5  # of one agent


class FallbackModel(models.Model):
    """A further model of an agent. They are asked in order, before the first token of a turn only."""

    agent = models.ForeignKey("agents_app.Agent", on_delete=models.CASCADE, related_name="fallback_models")
    position = models.PositiveSmallIntegerField(default=1, help_text="Place in the order: the lowest is asked first.")
    provider = models.ForeignKey(
        Provider,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="Leave empty to use the agent's provider.",
    )
    model = models.CharField(max_length=200, blank=True, help_text="Leave empty to use the provider's default model.")
    accepts = models.JSONField(
        null=True,
        blank=True,
        validators=[validate_accepts],
        help_text='What the model accepts, for example ["text", "image"]. Leave empty if it is known.',
    )

    class Meta:
        ordering: ClassVar = ["agent", "position"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["agent", "position"], name="fallback_model_position"),
        ]

    def __str__(self) -> str:
        return " · ".join(filter(None, [str(self.provider or ""), self.model]))

    def clean(self) -> None:
        if not self.model and self.provider is None:
            raise ValidationError({"model": "Enter a model, a provider, or both."})

    def as_spec(self) -> dict[str, Any]:
        """Return what a version holds of it."""
        return {"provider": reference(self.provider), "model": self.model, "accepts": self.accepts}


def replace(agent: Any, fallbacks: Sequence[FallbackModel]) -> None:
    """Replace the agent's further models by these, in this order, and write its version."""
    with transaction.atomic():
        FallbackModel.objects.filter(agent=agent).delete()
        for position, fallback in enumerate(fallbacks, start=1):
            fallback.position = position
        agent.fallback_models.add(*fallbacks, bulk=False)
        agent_changed(agent)


def of_spec(spec: dict[str, Any], providers: Mapping[int, Provider]) -> list[FallbackModel]:
    """Return the further models of a version's spec as new rows. `providers`: by id, those of the spec."""
    return [
        FallbackModel(
            provider=providers[each["provider"]["id"]] if each["provider"] else None,
            model=each["model"],
            accepts=each["accepts"],
        )
        for each in spec.get("fallback_models", [])
    ]
