"""What is wrong with a call, in words and as a status."""


class CallError(Exception):
    """A call that cannot be answered.

    Attributes:
        status: of HTTP, 400..499, for those who call directly.
        code: one word for programs, e.g. "bad_continue".
        message: one line for people that says what to do.
    """

    def __init__(self, message: str, code: str = "bad_request", status: int = 400):
        super().__init__(message)
        self.message, self.code, self.status = message, code, status

    def to_json(self) -> dict[str, str]:
        """The object `error` of an answer."""
        return {"code": self.code, "message": self.message}
