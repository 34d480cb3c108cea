"""Sessions as a file: written line by line, and read again here or in another deployment. See docs/data-care.md."""

from agents_app.maintenance.transfer.exporting import Busy, export
from agents_app.maintenance.transfer.importing import Imported, import_sessions
from agents_app.maintenance.transfer.parsing import Broken

__all__ = ["Broken", "Busy", "Imported", "export", "import_sessions"]
