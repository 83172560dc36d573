"""What all of `perclip cvat` have in common: the server, the folders, and numbers of tasks."""

import argparse
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plugin.cvat.open_task import Workplace
    from plugin.cvat.server.client import Server


def open_server(arguments: argparse.Namespace) -> "Server":
    """Logs in, as the options say; raises PerclipError."""
    from plugin.cvat.server.client import Server
    from plugin.cvat.server.login import read_login

    login = read_login(
        arguments.url, arguments.access_token, arguments.user, arguments.organization, not arguments.insecure
    )
    return Server(login)


def workplace(arguments: argparse.Namespace, server: "Server", dry: bool) -> "Workplace":
    """The server and the folders, as the options say."""
    from plugin.cvat.journal.journal import journal_folder
    from plugin.cvat.open_task import Workplace
    from plugin.cvat.task.chunk_store import cache_folder

    return Workplace(server, arguments.cache or cache_folder(), arguments.journal or journal_folder(), dry)


def ids(text: str) -> list[int]:
    """Numbers like 7,8; for argparse."""
    if not re.fullmatch(r"\d{1,9}(,\d{1,9})*", text.replace(" ", "")):
        raise argparse.ArgumentTypeError(f"{text!r} are no numbers like 7,8")
    return [int(part) for part in text.split(",")]
