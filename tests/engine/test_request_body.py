"""Messages are encoded once, and kept at the size that they have."""

import subprocess
import sys

from tests.harness.paths import ROOT

_KEEP = """
from pathlib import Path
from agents_app.engine.providers import openai
from agents_app.engine.spec import Message, ModelSpec

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

spec = ModelSpec("openai", "http://127.0.0.1:9/v1", "", (), "m", 8192)
messages = [Message("user", f"{number} " + "word " * 120) for number in range(5000)]
before = resident()
openai.encode_messages(spec, messages)
print((resident() - before) // len(messages))
"""


def test_an_encoded_message_takes_no_more_memory_than_its_bytes():
    """A worker keeps thousands; orjson alone returns bytes in a buffer of 4 KiB or more."""
    ended = subprocess.run([sys.executable, "-c", _KEEP], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(ended.stdout) < 2000  # bytes each, of some 640
