"""Files of any kind: atomic writing, downloads, archives, and pickles that cannot run code.

Nothing here knows of pictures or models.
"""

from levit_ref.files.archive import read_files
from levit_ref.files.atomic import replace_text, replacing
from levit_ref.files.download import DownloadError, cache_dir, fetch
from levit_ref.files.errors import FileError
from levit_ref.files.pickles import as_text, load_pickled_dict

__all__ = [
    "DownloadError",
    "FileError",
    "as_text",
    "cache_dir",
    "fetch",
    "load_pickled_dict",
    "read_files",
    "replace_text",
    "replacing",
]
