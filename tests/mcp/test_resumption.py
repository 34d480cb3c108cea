"""Ids of events: what stands in them, and what is no id of ours."""

import pytest

from agents_app.mcp_server.resumption import ResumePoint

PROGRESS = b'event: message\r\ndata: {"method":"notifications/progress","params":{"progress":12.001}}\r\n\r\n'


def point_of(event: bytes) -> ResumePoint | None:
    line = event.split(b"\r\n")[0]
    assert line.startswith(b"id: ")
    return ResumePoint.parse_id(line.removeprefix(b"id: ").decode())


@pytest.mark.parametrize("request_id", [7, "seven", "~:ü"])
@pytest.mark.parametrize("token", [None, 3, "t"])
def test_an_id_leads_back_to_its_point(request_id, token):
    point = ResumePoint(request_id, token, "session-1")
    assert point_of(point.first_event()) == point


def test_an_event_gets_an_id_with_the_newest_progress():
    point = ResumePoint(7, None, "s")
    numbered = point.number(PROGRESS)
    assert numbered.endswith(PROGRESS)
    assert point_of(numbered) == ResumePoint(7, None, "s", "12.001")
    answer = point.number(b'event: message\r\ndata: {"result":{"progress":99}}\r\n\r\n')
    assert point_of(answer) == ResumePoint(7, None, "s", "12.001"), "only notifications report progress"


def test_bytes_that_begin_no_event_pass_unchanged():
    assert ResumePoint(7, None, "s").number(b": ping\r\n\r\n") == b": ping\r\n\r\n"


@pytest.mark.parametrize(
    "text", ["", "rubbish", "~", "bnVsbA==~1", "WzEsMl0=~1", "WzEsIG51bGwsICJzIl0=~-1", "WzEsIG51bGwsICJzIl0="]
)
def test_what_is_no_id_of_ours_leads_nowhere(text):
    assert ResumePoint.parse_id(text) is None
