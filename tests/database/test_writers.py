"""SQLite has one writer: whoever writes waits for a turn, and nobody for somebody who waits for them."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.harness.product import Product

TURNS = int(os.environ.get("WRITER_TURNS", "2"))  # of eight threads at once, four changes each
TIMEOUT = 3  # seconds that a write waits for the others


def test_changes_and_deletions_at_once_never_find_a_locked_database(tmp_path: Path):
    """A deletion writes the audit first, then takes back its jobs: two steps that once took two locks in turn."""
    with Product(tmp_path / "var", DATABASE_TIMEOUT=str(TIMEOUT)) as product:
        product.add_agent("helper", "http://127.0.0.1:9/v1")

        def change_and_delete(number: int) -> list[int]:
            statuses = []
            for turn in range(TURNS):
                task = {
                    "name": f"task {number} {turn}",
                    "agent_name": "helper",
                    "task_prompt": "Hi.",
                    "schedule_type": "interval",
                    "schedule_value": "3600",
                }
                status, created = product.request("POST", "/v1/tasks", task)
                statuses.append(status)
                if status == 201:
                    path = f"/v1/tasks/{created['id']}"
                    statuses.append(product.request("PATCH", path, {"name": f"changed {number} {turn}"})[0])
                    statuses.append(product.request("POST", f"{path}/disable")[0])
                    statuses.append(product.request("DELETE", path)[0])
            return statuses

        with ThreadPoolExecutor(8) as threads:
            statuses = {status for each in threads.map(change_and_delete, range(8)) for status in each}
        assert statuses <= {200, 201, 204}, statuses
        assert "database is locked" not in product.logged()
