"""The error that all readers of files share."""


class FileError(ValueError):
    """A file is damaged, or is not what it should be; the message starts with the path of the file."""
