"""Files of any kind: atomic writing, downloads, archives and pickles that cannot run code.

Nothing here knows of pictures or models.
"""

from levit_ref.files.atomic import replace_text, replacing
from levit_ref.files.errors import FileError

__all__ = ["FileError", "replace_text", "replacing"]
