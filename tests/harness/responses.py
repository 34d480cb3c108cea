"""What the API answers."""

from typing import Any


def error_of(response: Any, status: int) -> dict[str, Any]:
    """Hold that the answer has this status, and return its error."""
    assert response.status_code == status, response.content
    return response.json()["error"]
