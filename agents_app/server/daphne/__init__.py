"""daphne with what it lacks: back-pressure both ways, a cheap send, and an orderly end.

Everything here is a subclass of daphne's own classes; the application runs under stock daphne too. For figures and
reasons see docs/design.md, decision 12.
"""

import daphne.server  # noqa: F401 — first of all: it installs the event loop that everything else finds
