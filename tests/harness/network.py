"""Names and addresses as a test says, in the place of the resolver and of the network."""

from collections.abc import Sequence

import httpcore2


class Names:
    """A resolver: each question takes the next answer, the last one for ever."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.queries: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.queries.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class Network(httpcore2.AsyncNetworkBackend):
    """Every address leads to one port of this machine, but for those that are down."""

    def __init__(self, port: int, down: Sequence[str] = ()) -> None:
        self.port, self.down = port, down
        self.connected: list[tuple[str, int]] = []

    async def connect_tcp(self, host, port, timeout=None, local_address=None, socket_options=None):
        self.connected.append((host, port))
        if host in self.down:
            raise httpcore2.ConnectError("refused")
        return await httpcore2.AnyIOBackend().connect_tcp("127.0.0.1", self.port, timeout)
