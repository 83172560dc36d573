"""A CVAT server: JSON in, JSON out, patient with a weak connection, errors in one line.

The SDK's client does the talking; its typed models are left out, as they check every number of every mask one by one.
"""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import urllib3
from cvat_sdk.api_client import exceptions
from cvat_sdk.api_client.rest import RESTClientObject
from cvat_sdk.core.client import Client, Config
from cvat_sdk.core.exceptions import CvatSdkException

from model.errors import InputError
from plugin.cvat.server.errors import ConnectionLostError, CvatError
from plugin.cvat.server.login import Login
from plugin.cvat.server.notices import tell
from plugin.cvat.server.patience import AskedWaits, Patience

_TIMEOUT = (10.0, 120.0)  # seconds to connect, and between two bytes
_WAIT_OF_429 = 10.0  # seconds, where the server does not say how long
_TOLD_AGAIN = 60.0  # seconds of waiting after which a person is told again
_FIRST_PATIENCE = 5.0  # seconds
_FIRST_WAIT = 0.5  # seconds
_SCORES_SINCE = (2, 56)
_PAGE = 100


class Server:
    """One login to one server; may be used by several threads.

    Args:
        login: who logs in, and where.
        patience: seconds without a sign of life for which a lost connection or a failing server is tried again. A
            server that asks to be waited for is waited for, up to half an hour without an answer.
        pause: what waits, `time.sleep`.
        tell: shows a person a line.

    Attributes:
        patience: as given.
        pause: as given.
        tell: as given.
        url: of the server, without a slash at its end.
        version: of the server, as (2, 42); (0,) where it does not say.

    Raises:
        InputError: the URL is none.
        CvatError: the login was refused, or the server cannot be reached.
    """

    def __init__(
        self,
        login: Login,
        patience: float = 60.0,
        pause: Callable[[float], None] = time.sleep,
        tell: Callable[[str], None] = tell,
    ):
        self.patience, self.pause, self.tell = patience, pause, tell
        # A server that answers questions may still put off all changes.
        self._waits, self._waits_for_changes = AskedWaits(), AskedWaits()
        self._has_token = login.token is not None
        try:
            config = Config(verify_ssl=login.check_certificate)
            self._client = Client(login.url, config=config, check_server_version=False)
        except (CvatSdkException, ValueError) as error:
            raise InputError(f"--url {login.url}: {error}") from None
        # The client's own repetitions know nothing of what may be repeated, and do not wait.
        api = self._client.api_client
        api.configuration.retries = urllib3.Retry(total=None, connect=0, read=0, status=0, other=0, redirect=5)
        api.rest_client = RESTClientObject(api.configuration)
        self.url = self._client.api_map.host
        if not urlsplit(self.url).hostname:
            raise InputError(f"--url {login.url}: give the address of the server, like https://cvat.example.org")
        if login.organization is not None:
            self._client.organization_slug = login.organization
        self._patience_unreached = min(patience, _FIRST_PATIENCE)  # the address may be mistyped
        self._log_in(login)
        self.version = self._read_version()
        self._patience_unreached = patience

    @property
    def stores_scores(self) -> bool:
        """Whether shapes may have a score."""
        return self.version >= _SCORES_SINCE

    @cached_property
    def has_read_only_token(self) -> bool:
        """Whether the login is an access token that may change nothing; False where the server does not say."""
        if not self._has_token:
            return False
        try:
            return self.get("/api/auth/access_tokens/self", "the access token").get("read_only") is True
        except CvatError as error:
            if error.status == 0 or error.status in error.PASSING:
                raise
            return False  # a server that knows no such tokens
        except AttributeError:  # that does not say
            return False

    @property
    def why_read_only(self) -> str:
        """What a person is told who may read something, but not write there."""
        if self._has_token and self.has_read_only_token:
            return "the access token is read-only: make one in CVAT's settings that may write"
        token = "whether the access token is read-only, " if self._has_token else ""
        return f"you may not write there: check {token}whether the job is assigned to you, and --organization"

    def close(self) -> None:
        """Log out of a session, and close the connections."""
        # Where that fails the session ends by itself.
        with suppress(exceptions.OpenApiException, urllib3.exceptions.HTTPError, OSError, ValueError):
            self._client.logout()
        self._client.close()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def get(self, path: str, what: str = "", **query: Any) -> Any:
        """The JSON at a path; raises CvatError.

        Args:
            path: of it.
            what: it is, for a person who is told that it is waited for; "": the path.
            query: parameters.
        """
        return self._json("GET", path, query=query, what=what)

    def get_all(self, path: str, what: str = "", **query: Any) -> Iterator[dict[str, Any]]:
        """The items of all pages of a list; arguments and errors as those of `get`."""
        page = 1
        while True:
            content = self.get(path, what, page=page, page_size=_PAGE, **query)
            yield from content["results"]
            if not content.get("next"):
                return
            page += 1

    def get_bytes(self, path: str, what: str = "", **query: Any) -> bytes:
        """The file at a path; raises CvatError.

        Args:
            path: of it.
            what: it is, for a person who is told that the server still makes it.
            query: parameters.
        """
        return self._request("GET", path, query=query, what=what, doing="still preparing").data

    def patch(self, path: str, body: Any, *, repeatable: bool, what: str = "", **query: Any) -> Any:
        """Changes something.

        Args:
            path: of what is changed.
            body: JSON.
            repeatable: whether it may be sent again where no answer came, because the second time changes nothing.
            what: it is, as for `get`.
            query: parameters.

        Raises:
            ConnectionLostError: no answer came, and it may not be repeated.
            CvatError: it was refused.
        """
        return self._json("PATCH", path, body, query, repeatable, what)

    def post(self, path: str, body: Any, what: str = "") -> Any:
        """Makes something, never twice; `what` and errors as those of `patch`."""
        return self._json("POST", path, body, repeatable=False, what=what)

    def delete(self, path: str, what: str = "") -> None:
        """Removes something; what is not there is removed. Raises CvatError; `what` as for `get`."""
        try:
            self._request("DELETE", path, what=what)
        except CvatError as error:
            if error.status != 404:
                raise

    def frame_link(self, task: int, job: int, frame: int) -> str:
        """The address at which CVAT's page shows a frame."""
        return f"{self.url}/tasks/{task}/jobs/{job}?frame={frame}"

    def _log_in(self, login: Login) -> None:
        if login.token is not None:
            self._client.api_client.configuration.access_token = login.token
        else:
            tries = self._tries("the login", "POST")
            while True:
                try:
                    self._client.login((login.user, login.password))
                    break
                except exceptions.ApiException as error:
                    status, headers = error.status, error.headers or {}
                    if status in (400, 401, 403):
                        raise CvatError(
                            f"{self.url} refuses user {login.user}: check name and password", status
                        ) from None
                    if status == 404:
                        raise CvatError(f"{self.url} has no CVAT API: check --url", 404) from None
                    tries.wait_or_raise(_refusal(self.url, "/api/auth/login", status, what="the login"), headers)
                except (urllib3.exceptions.HTTPError, OSError) as error:
                    tries.wait_or_raise(self._lost(error))
                except (AssertionError, exceptions.OpenApiException, ValueError):
                    raise CvatError(f"{self.url} gives no session: is it a CVAT server?") from None
        try:
            self.get("/api/users/self", "the login")
        except CvatError as error:
            if error.status in (401, 403):
                what = "the access token: make a new one in CVAT's settings" if login.token else f"user {login.user}"
                raise CvatError(f"{self.url} refuses {what}", error.status) from None
            if error.status == 404:
                raise CvatError(f"{self.url} has no CVAT API: check --url", 404) from None
            raise

    def _read_version(self) -> tuple[int, ...]:
        found = re.match(r"(\d+)\.(\d+)", str(self.get("/api/server/about").get("version", "")))
        return tuple(map(int, found.groups())) if found else (0,)

    def _json(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: Mapping[str, Any] | None = None,
        repeatable: bool = True,
        what: str = "",
    ) -> Any:
        data = self._request(method, path, body, query, repeatable, what).data
        try:
            return json.loads(data) if data else None
        except ValueError:
            raise CvatError(f"{self.url}{path} answers no JSON: is {self.url} a CVAT server?") from None

    def _request(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: Mapping[str, Any] | None = None,
        repeatable: bool = True,
        what: str = "",
        doing: str = "busy with",
    ) -> urllib3.HTTPResponse:
        """A response with a status below 300."""
        what = what or path
        tries = self._tries(what, method, doing)
        while True:
            try:
                _, response = self._client.api_client.call_api(
                    path,
                    method,
                    query_params=[(k, v) for k, v in (query or {}).items() if v is not None],
                    header_params={"Accept": "application/vnd.cvat+json, application/json, */*"},
                    body=body,
                    _parse_response=False,
                    _check_status=False,
                    _request_timeout=_TIMEOUT,
                )
                response.read(cache_content=True)
                response.release_conn()
            except (urllib3.exceptions.HTTPError, exceptions.ApiException, OSError) as error:
                if not repeatable:
                    raise self._lost(error) from None
                tries.wait_or_raise(self._lost(error))
                continue
            if response.status not in CvatError.PASSING:
                for waits in self._waits_of(method):
                    waits.refill()
            if response.status < 300:
                return response
            refusal = _refusal(self.url, path, response.status, response.data, what)
            if response.status == 403 and method != "GET":
                raise CvatError(f"{self.url}{path}: {self.why_read_only} (status 403)", 403)
            if not repeatable and response.status in CvatError.PASSING and response.status != 429:
                raise ConnectionLostError(str(refusal), response.status)  # a gateway's 502 or 504: it may be done
            tries.wait_or_raise(refusal, response.headers)

    def _lost(self, error: Exception) -> ConnectionLostError:
        reason = type(getattr(error, "reason", None) or error).__name__
        if isinstance(error, exceptions.ApiException):
            reason = "the server's certificate is not trusted; --insecure accepts it"
        hint = ", or whether it is http:// and not https://" if reason == "SSLError" else ""
        return ConnectionLostError(
            f"no connection to {self.url} ({reason}): check the server{hint}, then run again to go on"
        )

    def _waits_of(self, method: str) -> Sequence[AskedWaits]:
        return (self._waits,) if method == "GET" else (self._waits, self._waits_for_changes)

    def _tries(self, what: str, method: str, doing: str = "busy with") -> "_Tries":
        lost = Patience(self._patience_unreached, self.pause, _FIRST_WAIT)
        failing = Patience(self.patience, self.pause, _FIRST_WAIT, asked_waits=self._waits_of(method))
        said = f"{self.url} is {doing} {what}"
        return _Tries(lost, failing, lambda seconds: self.tell(f"{said}: waiting {seconds:.0f} s, as it asks"))


class _Tries:
    """The tries of one request.

    Args:
        lost: for connections.
        failing: for a server that answers, but not as it should.
        tell: told now and then for how many seconds a server asks to be waited for.
    """

    def __init__(self, lost: Patience, failing: Patience, tell: Callable[[float], None]):
        self._lost, self._failing, self._tell = lost, failing, tell
        self._told: float | None = None  # seconds that had been waited for when it was told last

    def wait_or_raise(self, error: CvatError, headers: Mapping[str, str] | None = None) -> None:
        """Waits where the error may pass, as long as the server asks for; else raises it."""
        if error.status == 0:
            self._lost.wait_or_raise(error)
            return
        self._lost.revive()
        if error.status not in error.PASSING:
            raise error
        asked = _seconds_asked(error.status, headers or {})
        if asked is None:
            self._failing.wait_or_raise(error)
            return
        if self._told is None or self._failing.asked >= self._told + _TOLD_AGAIN:
            self._told = self._failing.asked
            self._tell(asked)
        self._failing.wait_as_asked(asked, error)


def _seconds_asked(status: int, headers: Mapping[str, str]) -> float | None:
    """How long a server asks to be waited for; None: it does not. 429 always means that it works."""
    if status not in (429, 503):
        return None
    said = (headers.get("Retry-After") or "").strip()
    if re.fullmatch(r"\d+(\.\d+)?", said):
        return float(said)
    with suppress(ValueError):  # a date, or what is neither
        when = parsedate_to_datetime(said)
        return max(0.0, (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
    return _WAIT_OF_429 if status == 429 else None


def _refusal(url: str, path: str, status: int, data: bytes = b"", what: str = "it") -> CvatError:
    """What a status means to a person."""
    said = " ".join(re.sub(r"<[^>]*>", " ", data[:2000].decode("utf-8", "replace")).split())[:200]
    why = {
        401: "the login is no longer valid: log in again",
        403: "you have no rights there: ask its owner, or set --organization",
        404: "it is not there, or you may not see it: check the number and --organization",
        429: f"the server is busy with {what} for too long: run again later",
    }.get(status, "the server failed" if status >= 500 else "refused")
    return CvatError(f"{url}{path}: {why} (status {status}{f', {said}' if said else ''})", status)
