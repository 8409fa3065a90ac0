class MigrationError(Exception):
    """The schema cannot be brought up to date. The text names the file and the remedy."""
