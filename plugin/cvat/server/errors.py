"""What can go wrong with a CVAT server."""

from model.errors import InputError, PerclipError, UndecodableFrameError


class CvatError(PerclipError):
    """The server refused something, or answered what it should not.

    Attributes:
        status: of HTTP; 0 where there was no answer.
    """

    PASSING = (429, 502, 503, 504)
    """Statuses of a server that is busy, or of a gateway before it: these are waited for before they are an error."""

    def __init__(self, message: str, status: int = 0):
        super().__init__(message)
        self.status = status

    @property
    def is_about_server(self) -> bool:
        """Whether it is no refusal of this one request: the server is gone or busy, or the login no longer valid."""
        return self.status in (0, 401, *self.PASSING)


class ConnectionLostError(CvatError):
    """No answer came: what was asked for may have been done or not."""


class DamagedFrameError(CvatError, UndecodableFrameError):
    """The server's image of a frame is damaged."""


class FunctionError(PerclipError):
    """A deployed function refused a call, or cannot be reached."""


class NothingDrawnError(InputError):
    """A task has no keyframe."""
