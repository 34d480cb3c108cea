"""The cast of a server where one has to sign in: an administrator, Ann, Bob, and strangers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.harness import zygote
from tests.harness.chat import Chat
from tests.harness.product import Product

PASSWORD = "correct horse battery"
_MAKE = """
import json
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from agents_app.models import ApiToken
tokens = {}
for name in names:
    User = get_user_model().objects
    user = User.filter(username=name).first()
    user = user or User.create_user(name, "", PASSWORD, is_superuser=name == "boss", is_staff=name == "boss")
    if group:
        user.groups.add(Group.objects.get_or_create(name=group)[0])
    tokens[name] = ApiToken.objects.create(user, name="test")[1]
print(json.dumps(tokens))
"""


@dataclass(frozen=True)
class Person:
    """Somebody with a token; a stranger's is empty."""

    product: Product
    name: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        return self.product.request(method, path, body, **{**self.headers, **headers})

    add_agent = Product.add_agent

    def chat(self, session: str, **query: object) -> Chat:
        return Chat(self.product.socket_url(session, **query), additional_headers=self.headers)

    def close_code(self, session: str, **query: object) -> int | None:
        """With what the server closes a socket of this person at once; None where it lets them in."""
        return close_code(self.product.socket_url(session, **query), self.headers)


def close_code(
    url: str, headers: Mapping[str, str], protocols: list[str] | None = None, sent: Sequence[str] = ()
) -> int | None:
    """With what the server closes such a socket at once; None where it lets it in. `sent`: frames that do not wait."""
    with connect(url, additional_headers=headers, subprotocols=protocols, open_timeout=60) as socket:  # type: ignore[arg-type]
        try:
            for frame in sent:
                socket.send(frame)
            assert json.loads(socket.recv(60))["type"] == "connected"
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006
    return None


def invite(product: Product, *names: str, group: str = "") -> dict[str, Person]:
    """Users with a token each, in a group; 'boss' is an administrator, and nobody, '', has no token."""
    tokens = json.loads(shell(product, f"names, group, PASSWORD = {names!r}, {group!r}, {PASSWORD!r}\n{_MAKE}"))
    return {name: Person(product, name, token) for name, token in tokens.items()} | {"": Person(product, "", "")}


def add_crowd(product: Product, prefix: str, count: int, **fields: str) -> None:
    """Make agents named PREFIX-0 and so on, whose descriptions and the like are `fields`."""
    shell(
        product,
        "from agents_app.models import Agent\n"
        f"Agent.objects.bulk_create([Agent(name=f'{prefix}-{{n}}', **{fields!r}) for n in range({count})])",
    )


def shell(product: Product, script: str) -> str:
    """What a script prints that runs on the server's data."""
    command = product.command("shell", "--verbosity", "0", "-c", script)
    return zygote.run(command, env=product.environment, check=True).stdout.strip()
