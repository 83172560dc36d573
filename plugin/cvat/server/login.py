"""Who logs in to which server. Secrets come from the environment, a file or a prompt, and are never shown."""

import getpass
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from model.errors import InputError

TOKEN_VARIABLE = "CVAT_ACCESS_TOKEN"
PASSWORD_VARIABLE = "CVAT_PASSWORD"


@dataclass(frozen=True)
class Login:
    """How to log in; its text never shows a secret.

    Attributes:
        url: of the server.
        token: an access token; None: user and password.
        user: name; None with a token.
        password: of the user; None with a token.
        organization: its slug; None: as the server decides, "": the personal workspace.
        check_certificate: False accepts any certificate.
    """

    url: str
    token: str | None = field(default=None, repr=False)
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    organization: str | None = None
    check_certificate: bool = True


def read_login(
    url: str,
    token: str | None,
    user: str | None,
    organization: str | None,
    check_certificate: bool = True,
    environment: Mapping[str, str] = os.environ,
) -> Login:
    """The login that command line and environment ask for.

    Args:
        url: of the server; without a scheme it is https.
        token: `@FILE` (its first line), a token, or None: from CVAT_ACCESS_TOKEN, unless a user is named.
        user: name; the password comes from CVAT_PASSWORD, else it is asked for without echo.
        organization: slug or None.
        check_certificate: False accepts any certificate.
        environment: where the secrets are.

    Raises:
        InputError: nothing says who logs in, or the file cannot be read.
    """
    if user and token:
        raise InputError("give either --user or --access-token, not both")
    if user:
        password = environment.get(PASSWORD_VARIABLE)
        if password is None:
            if not sys.stdin.isatty():
                raise InputError(f"no password for {user}: set {PASSWORD_VARIABLE}, or run where it can be asked for")
            try:
                password = getpass.getpass(f"password of {user} at {url}: ", stream=sys.stderr)
            except EOFError:
                raise InputError(f"no password for {user} was given") from None
        return Login(url, None, user, password, organization, check_certificate)
    if token and token.startswith("@"):
        try:
            token = (Path(token[1:]).read_text(encoding="utf-8").splitlines() or [""])[0].strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"the access token in {token[1:]} cannot be read: {error}") from None
    elif token:
        print(
            f"a token on the command line is seen in the list of processes: better {TOKEN_VARIABLE} or @FILE",
            file=sys.stderr,
        )
    token = token or environment.get(TOKEN_VARIABLE)
    if not token:
        raise InputError(f"who logs in? Set {TOKEN_VARIABLE}, or give --access-token @FILE or --user NAME")
    if not token.isascii() or not token.isprintable():
        raise InputError("the access token has characters that no token has: copy it again")
    return Login(url, token, None, None, organization, check_certificate)
