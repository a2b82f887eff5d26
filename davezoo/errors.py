"""The one ancestor of errors that a user's input causes."""

from __future__ import annotations


class InputError(ValueError):
    """Files, settings or arguments cannot be used; the message says where and what to do.

    The command line prints the message alone; a traceback would hide it.
    """
