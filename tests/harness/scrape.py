"""What a server tells Prometheus, read by Prometheus' own parser."""

import urllib.request
from collections.abc import Callable

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.harness.wait import until


def families(url: str, **headers: str) -> dict[str, Metric]:
    """The metrics at `url`, by name."""
    with urllib.request.urlopen(urllib.request.Request(f"{url}/metrics", headers=headers), timeout=30) as answer:
        return {family.name: family for family in text_string_to_metric_families(answer.read().decode())}


class Scrape:
    """All samples of one moment."""

    def __init__(self, url: str, **headers: str) -> None:
        self._samples = [s for family in families(url, **headers).values() for s in family.samples]

    def __call__(self, name: str, **labels: str) -> float:
        """The sum of the samples of that name, `aintandem_` left out, with at least these labels."""
        expected = labels.items()
        return sum(s.value for s in self._samples if s.name == f"aintandem_{name}" and expected <= s.labels.items())


def grown(url: str, before: Scrape, name: str, by: float = 1, **labels: str) -> Scrape:
    """Wait until a sample has grown by that much; what was scraped then."""
    return until_scraped(url, lambda now: now(name, **labels) >= before(name, **labels) + by)


def until_scraped(url: str, true: Callable[[Scrape], bool]) -> Scrape:
    """Wait until that is true of what the server tells; what was scraped then."""

    def look() -> Scrape | None:
        now = Scrape(url)
        return now if true(now) else None

    return until(look)
