"""Prices of models, set by administrators."""

from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any, ClassVar

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q

from agents_app.database.prepared import Parameter, Prepared
from agents_app.models.providers import Provider


def _dollars(help_text: str, **options: Any) -> models.DecimalField:
    return models.DecimalField(
        max_digits=14,
        decimal_places=6,
        validators=[MinValueValidator(Decimal(0))],
        help_text=f"US dollars per million tokens {help_text}",
        **options,
    )


_OF_PROVIDER = Prepared(lambda: Price.objects.filter(Q(provider=Parameter("provider")) | Q(provider=None)))


class Price(models.Model):
    """The price of a model that the built-in table lacks or has wrong."""

    provider = models.ForeignKey(
        Provider,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="prices",
        help_text="Leave empty for any provider.",
    )
    model = models.CharField(max_length=200, help_text="Name of the model, or a pattern such as gpt-5* or *.")
    input = _dollars("of input.")
    cached_input = _dollars(
        "of input from the provider's cache. Leave empty to use the price of other input.", null=True, blank=True
    )
    output = _dollars("of output, thinking included.")
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering: ClassVar = ["model", "provider"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["provider", "model"], name="price_once_per_provider_and_model"),
            models.UniqueConstraint(
                fields=["model"],
                condition=Q(provider=None),
                name="price_once_per_model",
                violation_error_message="A price for this model at any provider already exists.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model}: {self.input:f} / {self.output:f}"

    @staticmethod
    def of(provider: Provider, model: str) -> "Price | None":
        """Return the best match: this provider before any provider, this model before a pattern."""
        ranked = sorted(_OF_PROVIDER.all(provider=provider.pk), key=lambda price: price.rank(model))
        return next((price for price in ranked if fnmatchcase(model, price.model)), None)

    def rank(self, model: str) -> tuple[bool, bool, int]:
        """Return the sort key of the match: smaller is better."""
        return self.provider_id is None, self.model != model, -len(self.model)
