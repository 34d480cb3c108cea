"""A while of deaths at random; `python -m benchmarks.chaos` does it for ten minutes."""

import os
import random

import pytest

from tests.harness import chaos
from tests.harness.fakes.fake_model_process import FakeModel
from tests.harness.watchers import FaultyCluster

pytestmark = pytest.mark.slow
SECONDS = int(os.environ.get("CHAOS_SECONDS", "15"))


def test_whatever_dies_nothing_is_lost_or_doubled(whole: FaultyCluster, model: FakeModel):
    seed = int(os.environ.get("CHAOS_SEED") or random.randrange(10**6))
    chaos.play(whole, model, seed=seed, seconds=SECONDS, sessions=6, postgres_restarts=1)
