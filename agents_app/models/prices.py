"""What models cost: the prices that an administrator gave."""

from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any, ClassVar

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q

from agents_app.models.agents import Provider

CURRENCY = "USD"


def _dollars(help_text: str, **options: Any) -> models.DecimalField:
    return models.DecimalField(
        max_digits=14,
        decimal_places=6,
        validators=[MinValueValidator(Decimal(0))],
        help_text=f"US dollars for a million tokens {help_text}",
        **options,
    )


class PriceQuerySet(models.QuerySet["Price"]):
    def of(self, provider: Provider, model: str) -> "Price | None":
        """The price that fits best: of that very provider before of all, of that very model before a pattern."""
        of_provider = self.filter(Q(provider=provider) | Q(provider=None))
        ranked = sorted(of_provider, key=lambda price: price.rank(model))  # type: ignore[misc]
        return next((price for price in ranked if fnmatchcase(model, price.model)), None)


class Price(models.Model):
    """What a model costs, where the table that is built in does not know it or is wrong."""

    provider = models.ForeignKey(
        Provider, null=True, blank=True, on_delete=models.CASCADE, related_name="prices", help_text="Empty: any."
    )
    model = models.CharField(
        max_length=200, help_text="The model's name, or a pattern such as gpt-5* or * for all of a provider's."
    )
    input = _dollars("that the model reads.")
    cached_input = _dollars(
        "that it reads and the provider had in its cache; empty: as all others.", null=True, blank=True
    )
    output = _dollars("that it writes, thinking included.")
    updated_at = models.DateTimeField(auto_now=True)

    objects = PriceQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["model", "provider"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["provider", "model"], name="price_once_per_provider_and_model"),
            models.UniqueConstraint(
                fields=["model"],
                condition=Q(provider=None),
                name="price_once_per_model",
                violation_error_message="There is a price for this model of any provider already.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model}: {self.input:f} / {self.output:f}"

    def rank(self, model: str) -> tuple[bool, bool, int]:
        """Smaller fits better."""
        return self.provider_id is None, self.model != model, -len(self.model)
