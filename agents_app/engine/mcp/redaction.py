"""What may not be said of a server, in a log line or in an error."""

from urllib.parse import parse_qsl, unquote, urlsplit

from agents_app.engine.spec import ServerSpec

_SHORTEST = 6  # below, it is a setting such as "true" or "8080", and may be a word of the message


def place(url: str) -> str:
    """An address as it may be shown: without a user's name, a password or a query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def redacted(text: str, spec: ServerSpec) -> str:
    """What somebody else said, without the values that were given to the server in confidence."""
    parts = urlsplit(spec.url)
    words = [parts.query, *(value for _, value in parse_qsl(parts.query)), *parts.netloc.rpartition("@")[0].split(":")]
    for _, value in spec.headers:
        words += [value, *value.split()]  # of "Bearer TOKEN" the second word too
    words += [value for _, value in spec.env]
    for word in sorted({*words, *map(unquote, words)}, key=len, reverse=True):
        if len(word) >= _SHORTEST:
            text = text.replace(word, "***")
    return text
