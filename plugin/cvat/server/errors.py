"""What can go wrong with a CVAT server."""

from model.errors import InputError, PerclipError, UndecodableFrameError


class CvatError(PerclipError):
    """The server refused something, or answered what it should not.

    Attributes:
        status: of HTTP; 0 where there was no answer.
    """

    def __init__(self, message: str, status: int = 0):
        super().__init__(message)
        self.status = status


class ConnectionLostError(CvatError):
    """No answer came: what was asked for may have been done or not."""


class DamagedFrameError(CvatError, UndecodableFrameError):
    """The server's image of a frame is damaged."""


class FunctionError(PerclipError):
    """A deployed function refused a call, or cannot be reached."""


class NothingDrawnError(InputError):
    """A task has no keyframe."""
