"""Commands of somebody else: started within limits, in a sandbox of bubblewrap, and ended with all that they started.

A sandbox has a read-only system, one folder to write to, a private /tmp, processes and a network of its own, and a way
to the internet only through a filter.
"""

from agents_app.engine.sandbox import availability, starting
from agents_app.engine.sandbox.process import CommandProcess
from agents_app.engine.sandbox.starting import CannotStart, Command

__all__ = ["CannotStart", "Command", "CommandProcess", "start"]


async def start(command: Command) -> CommandProcess:
    """Start the command in its folder. Without sandboxes, a command that needs one is not started.

    Raises:
        CannotStart: the system does not run it, or has no sandboxes.
    """
    if command.sandbox is not None and (problem := await availability.problem()):
        raise CannotStart(f"it needs a sandbox, and there is none here: {problem}")
    return await starting.start(command)
