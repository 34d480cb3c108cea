"""Signing in where there are many instances: tokens, tickets and limits are the same on all of them."""

import time
from collections.abc import Iterator

import pytest

from tests.harness.cluster import Cluster
from tests.harness.people import close_code

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    limits = {"REQUESTS_PER_MINUTE": "60"}
    with Cluster(web=2, workers=1, AUTH_REQUIRED="true", **limits) as running:
        yield running


def test_the_clusters_token_is_an_administrators(cluster):
    token, cluster.token = cluster.token, ""
    assert cluster.request("GET", "/v1/providers")[0] == 401
    cluster.token = token
    for door in (cluster, *cluster.webs):
        assert door.request("GET", "/v1/providers")[0] == 200
    assert cluster.variables()["CLUSTER_TOKEN"] == token


def test_a_ticket_of_one_instance_opens_one_socket_of_any(cluster, name):
    _, answer = cluster.webs[0].request("POST", "/v1/ws-tickets")
    protocols = ["agent.v1", f"ticket.{answer['ticket']}"]
    assert close_code(cluster.webs[1].socket_url(name), {}, protocols) is None
    assert close_code(cluster.webs[0].socket_url(name), {}, protocols) == 4401


def test_requests_are_counted_together_and_nobody_is_refused_while_redis_is_away(cluster):
    codes: list[int] = []
    minute = 0.0
    while 429 not in codes and len(codes) < 130:
        if minute != (minute := time.time() // 60):
            codes.clear()  # it is counted by the minute
        codes += [web.request("GET", "/v1/sessions")[0] for web in cluster.webs]
    assert len(codes) < 100, "each instance counted for itself"
    cluster.kill("redis")
    try:
        assert cluster.webs[0].request("GET", "/v1/sessions")[0] == 200
    finally:
        cluster.start("redis")
