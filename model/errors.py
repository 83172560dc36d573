"""The errors a caller can act on. Their text is one line that says what is wrong and what to do."""


class PerclipError(Exception):
    """Base of all errors that Perclip raises on purpose; `str(error)` is fit to be shown to a person."""


class InputError(PerclipError):
    """What the caller handed in cannot be used: frames, keyframes, options, files."""


class UndecodableFrameError(InputError):
    """One frame of a source cannot be decoded, now or later; others may be."""


class DeviceMemoryError(PerclipError, MemoryError):
    """A GPU's memory does not suffice, although batches were made smaller where that helps."""


class CheckpointError(PerclipError):
    """A weights file is missing, broken, or belongs to another network."""
