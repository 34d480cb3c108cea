"""What it costs to give a job its turn among those that wait."""

import json
import re

from agents_app.queue.postgres import _TURN, QUEUE
from tests.harness.watchers import FaultyCluster

WAITING = """
INSERT INTO procrastinate_jobs (queue_name, task_name, priority, lock, args, status)
SELECT %s, 'agents_app.execute_run', 8 - 16 * n, gen_random_uuid()::text, jsonb_build_object('owner', owner), 'todo'
FROM generate_series(1, 10) AS owner, generate_series(1, 1000) AS n
"""


def test_a_new_owners_job_costs_the_same_however_many_wait(cluster: FaultyCluster):
    with cluster.postgres.connect() as connection:
        connection.execute("BEGIN")
        connection.execute(WAITING, [QUEUE])
        connection.execute("ANALYZE procrastinate_jobs")
        explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {_TURN}"
        [[plan]] = connection.execute(explain, {"queue": QUEUE, "owner": 1_000_000}).fetchall()
        [[turn]] = connection.execute(_TURN, {"queue": QUEUE, "owner": 3}).fetchall()
        connection.execute("ROLLBACK")
    print(f"\n{plan[0]['Execution Time']:.2f} ms with 10,000 waiting jobs")
    assert set(re.findall(r'"Rows Removed by Filter": (\d+)', json.dumps(plan))) <= {"0"}, plan
    assert turn == -1001
