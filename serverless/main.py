"""The entry points that Nuclio calls."""

from typing import Any

from model.program.command_line import calm_threads

calm_threads()  # before torch is loaded

from model.errors import PerclipError  # noqa: E402
from serverless.perclip_function import PerclipFunction, Settings  # noqa: E402


def init_context(context: Any) -> None:
    """Starts a worker; what it raises keeps the worker from becoming ready, and the log says why in one line."""
    try:
        start(context)
    except PerclipError as error:
        context.logger.error_with("Perclip cannot start", reason=str(error))
        raise


def start(context: Any) -> None:
    """Loads the network and warms it up, once per worker; raises PerclipError for settings that cannot be used."""
    function = PerclipFunction(Settings.of())
    seconds = function.warm_up()
    context.user_data.perclip = function
    context.logger.info_with("Perclip is ready", warm_up_seconds=round(seconds, 2), **function.status())


def handler(context: Any, event: Any) -> Any:
    """Answers one call; `event.body` is parsed JSON or bytes."""
    answer = context.user_data.perclip.answer(event.method or "POST", event.body)
    logger = context.logger
    log = {"answered": logger.info_with, "refused": logger.warn_with, "failed": logger.error_with}
    log[answer.outcome](answer.outcome, **answer.log)
    return context.Response(body=answer.body, headers={}, content_type="application/json", status_code=answer.status)
