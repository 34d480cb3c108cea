"""Keep secrets out of log lines and errors about a server."""

from urllib.parse import parse_qsl, unquote, urlsplit

from agents_app.engine.spec import ServerSpec

_SHORTEST = 6  # below, it is a setting such as "true" or "8080", and may be a word of the message


def public_url(url: str) -> str:
    """Return the URL without user name, password and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def redact(text: str, spec: ServerSpec) -> str:
    """Replace the secret values of the server's settings in a text that somebody else wrote."""
    parts = urlsplit(spec.url)
    words = [parts.query, *(value for _, value in parse_qsl(parts.query)), *parts.netloc.rpartition("@")[0].split(":")]
    for _, value in spec.headers:
        words += [value, *value.split()]  # of "Bearer TOKEN" the second word too
    words += [value for _, value in spec.env]
    for word in sorted({*words, *map(unquote, words)}, key=len, reverse=True):
        if len(word) >= _SHORTEST:
            text = text.replace(word, "***")
    return text
