"""Sessions as a file: written line by line, and imported here or in another deployment. See docs/data-care.md."""

from agents_app.maintenance.transfer.exporting import export
from agents_app.maintenance.transfer.importing import ImportResult, import_sessions
from agents_app.maintenance.transfer.parsing import InvalidFile

__all__ = ["ImportResult", "InvalidFile", "export", "import_sessions"]
