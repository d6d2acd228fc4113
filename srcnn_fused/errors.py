"""Errors that the command line shows to its user."""


class UserError(Exception):
    """Something the user can put right; shown as `srcnn-fused: error: ...`, exit status 1.

    For the command line and what only it uses. The library proper raises ValueError, TypeError,
    FileNotFoundError or RuntimeError, whose messages are the same kind of line.
    """
