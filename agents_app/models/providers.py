"""Providers: the servers of models."""

import os
from typing import ClassVar

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from agents_app.models.encryption import EncryptedJSONField, EncryptedTextField
from agents_app.models.stored_secrets import SecretsOfAnAddress
from agents_app.models.validation import HEADER_VALUE, slug_validator, validate_base_url, validate_headers


class ProviderQuerySet(models.QuerySet["Provider"]):
    def default(self) -> "Provider | None":
        """Return the provider of agents that name none: the one marked as default, else the oldest."""
        return self.in_order_of_default().first()

    def in_order_of_default(self) -> "ProviderQuerySet":
        return self.order_by("-is_default", "id")


class Provider(SecretsOfAnAddress, models.Model):
    """A server of models: one with OpenAI's or Anthropic's API, or the local model of this process."""

    class Kind(models.TextChoices):
        OPENAI = "openai", "OpenAI-compatible"
        ANTHROPIC = "anthropic", "Anthropic"
        LOCAL = "local", "Local (llama.cpp in this process)"

    address_field = "base_url"
    secret_fields = ("api_key", "headers")
    masked_fields = ("headers",)

    name = models.CharField(
        max_length=64, unique=True, validators=[slug_validator], help_text="Unique name, used by agents."
    )
    kind = models.CharField(max_length=16, choices=Kind, default=Kind.OPENAI, help_text="API of the server.")
    base_url = models.CharField(
        blank=True,
        max_length=500,
        validators=[validate_base_url],
        help_text="For example https://api.openai.com/v1 or http://localhost:11434/v1. Leave empty for 'local'.",
    )
    api_key_env = models.CharField(
        max_length=128,
        blank=True,
        help_text="Name of the environment variable that holds the key. It takes precedence over a stored key.",
    )
    api_key = EncryptedTextField(blank=True, help_text="The key itself. Encrypted at rest, never shown again.")
    headers = EncryptedJSONField(
        default=dict,
        blank=True,
        validators=[validate_headers],
        help_text="HTTP headers to send with every request to the model. Encrypted at rest.",
    )
    default_model = models.CharField(max_length=200, blank=True, help_text="Model of agents that name none.")
    context_tokens = models.PositiveIntegerField(
        default=8192,
        validators=[MinValueValidator(512)],
        help_text="Context window, in tokens, of models that neither the public table nor their server's list knows. "
        "Agents say what becomes of a longer history.",
    )
    first_token_timeout = models.PositiveIntegerField(
        default=30,
        validators=[MinValueValidator(1), MaxValueValidator(3600)],
        help_text="Seconds without a token after which an agent with fallback models asks the next one. "
        "Allow more for models that think in silence.",
    )
    is_default = models.BooleanField(default=False, help_text="Serve the agents that name no provider.")
    open_to_users = models.BooleanField(
        default=False,
        help_text="Let users choose it, with any of its models, for agents of their own. The default model of the "
        "default provider they may always use.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = ProviderQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["is_default"], condition=models.Q(is_default=True), name="provider_one_default"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        if self.kind == self.Kind.LOCAL and self.base_url:
            raise ValidationError({"base_url": "A local provider has no address: leave this empty."})
        if self.kind == self.Kind.OPENAI and not self.base_url:
            raise ValidationError(
                {"base_url": "Enter the address of the server, for example https://api.openai.com/v1."}
            )
        if not HEADER_VALUE.fullmatch(self.api_key):
            raise ValidationError({"api_key": "Enter a key of printable ASCII without line breaks."})

    @property
    def circuit(self) -> str:
        """Return the name under which workers count its failures. After a change of the provider they begin anew."""
        return f"circuit:{self.pk}:{self.updated_at.timestamp():.3f}"

    def secret(self) -> str:
        """Return the key to send: the value of the named environment variable, else the stored key, else nothing."""
        return os.environ.get(self.api_key_env, "") if self.api_key_env else self.api_key
