"""A CVAT server: JSON in, JSON out, patient with a weak connection, errors in one line.

The SDK's client does the talking; its typed models are left out, as they check every number of every mask one by one.
"""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import urllib3
from cvat_sdk.api_client import exceptions
from cvat_sdk.api_client.rest import RESTClientObject
from cvat_sdk.core.client import Client, Config
from cvat_sdk.core.exceptions import CvatSdkException

from model.errors import InputError
from plugin.cvat.errors import ConnectionLostError, CvatError
from plugin.cvat.login import Login
from plugin.cvat.patience import Patience

_TIMEOUT = (10.0, 120.0)  # seconds to connect, and between two bytes
_PASSING = (429, 502, 503, 504)
_FIRST_PATIENCE = 5.0  # seconds
_FIRST_WAIT = 0.5  # seconds
_SCORES_SINCE = (2, 56)
_PAGE = 100


class Server:
    """One login to one server; may be used by several threads.

    Args:
        login: who logs in, and where.
        patience: seconds for which a lost connection or a busy server is tried again.
        pause: what waits, `time.sleep`.

    Attributes:
        patience: as given.
        pause: as given.
        url: of the server, without a slash at its end.
        version: of the server, as (2, 42); (0,) where it does not say.

    Raises:
        InputError: the URL is none.
        CvatError: the login was refused, or the server cannot be reached.
    """

    def __init__(self, login: Login, patience: float = 60.0, pause: Callable[[float], None] = time.sleep):
        self.patience, self.pause = patience, pause
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
        self.patience = min(patience, _FIRST_PATIENCE)  # the address may be mistyped
        self._log_in(login, patience)
        self.version = self._read_version()
        self.patience = patience

    @property
    def stores_scores(self) -> bool:
        """Whether shapes may have a score."""
        return self.version >= _SCORES_SINCE

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

    def get(self, path: str, **query: Any) -> Any:
        """The JSON at a path; raises CvatError."""
        return self._json("GET", path, query=query)

    def get_all(self, path: str, **query: Any) -> Iterator[dict[str, Any]]:
        """The items of all pages of a list; raises CvatError."""
        page = 1
        while True:
            content = self.get(path, page=page, page_size=_PAGE, **query)
            yield from content["results"]
            if not content.get("next"):
                return
            page += 1

    def get_bytes(self, path: str, **query: Any) -> bytes:
        """The file at a path; raises CvatError."""
        return self._request("GET", path, query=query).data

    def patch(self, path: str, body: Any, *, repeatable: bool, **query: Any) -> Any:
        """Changes something.

        Args:
            path: of what is changed.
            body: JSON.
            repeatable: whether it may be sent again where no answer came, because the second time changes nothing.
            query: parameters.

        Raises:
            ConnectionLostError: no answer came, and it may not be repeated.
            CvatError: it was refused.
        """
        return self._json("PATCH", path, body, query, repeatable)

    def post(self, path: str, body: Any) -> Any:
        """Makes something, never twice; raises as `patch`."""
        return self._json("POST", path, body, repeatable=False)

    def delete(self, path: str) -> None:
        """Removes something; what is not there is removed. Raises CvatError."""
        try:
            self._request("DELETE", path)
        except CvatError as error:
            if error.status != 404:
                raise

    def frame_link(self, task: int, job: int, frame: int) -> str:
        """The address at which CVAT's page shows a frame."""
        return f"{self.url}/tasks/{task}/jobs/{job}?frame={frame}"

    def _log_in(self, login: Login, patience: float) -> None:
        if login.token is not None:
            self._client.api_client.configuration.access_token = login.token
        else:
            busy, lost = self._tries(patience), self._tries(self.patience)
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
                    refusal = _refusal(self.url, "/api/auth/login", status)
                    _wait_or_raise(busy, refusal, headers)
                except (urllib3.exceptions.HTTPError, OSError) as error:
                    lost.wait_or_raise(self._lost(error))
                except (AssertionError, exceptions.OpenApiException, ValueError):
                    raise CvatError(f"{self.url} gives no session: is it a CVAT server?") from None
        try:
            self.get("/api/users/self")
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
        self, method: str, path: str, body: Any = None, query: Mapping[str, Any] | None = None, repeatable: bool = True
    ) -> Any:
        data = self._request(method, path, body, query, repeatable).data
        try:
            return json.loads(data) if data else None
        except ValueError:
            raise CvatError(f"{self.url}{path} answers no JSON: is {self.url} a CVAT server?") from None

    def _request(
        self, method: str, path: str, body: Any = None, query: Mapping[str, Any] | None = None, repeatable: bool = True
    ) -> urllib3.HTTPResponse:
        """A response with a status below 300."""
        tries = self._tries(self.patience)
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
            if response.status < 300:
                return response
            refusal = _refusal(self.url, path, response.status, response.data)
            if response.status not in _PASSING:
                raise refusal
            if not repeatable and response.status != 429:  # a gateway's 502 or 504: it may have been done
                raise ConnectionLostError(str(refusal), response.status)
            _wait_or_raise(tries, refusal, response.headers)

    def _lost(self, error: Exception) -> ConnectionLostError:
        reason = type(getattr(error, "reason", None) or error).__name__
        if isinstance(error, exceptions.ApiException):
            reason = "the server's certificate is not trusted; --insecure accepts it"
        hint = ", or whether it is http:// and not https://" if reason == "SSLError" else ""
        return ConnectionLostError(
            f"no connection to {self.url} ({reason}): check the server{hint}, then run again to go on"
        )

    def _tries(self, patience: float) -> Patience:
        return Patience(patience, self.pause, _FIRST_WAIT)


def _wait_or_raise(tries: Patience, refusal: CvatError, headers: Mapping[str, str]) -> None:
    """Waits where the refusal may pass, as long as the server asks for; else raises it."""
    if refusal.status not in _PASSING:
        raise refusal
    asked = headers.get("Retry-After", "")
    tries.wait_or_raise(refusal, float(asked) if asked.isdigit() else 0.0)


def _refusal(url: str, path: str, status: int, data: bytes = b"") -> CvatError:
    """What a status means to a person."""
    said = " ".join(re.sub(r"<[^>]*>", " ", data[:2000].decode("utf-8", "replace")).split())[:200]
    why = {
        401: "the login is no longer valid: log in again",
        403: "you have no rights there: ask its owner, or set --organization",
        404: "it is not there, or you may not see it: check the number and --organization",
        429: "too many requests: try again in a minute",
    }.get(status, "the server failed" if status >= 500 else "refused")
    return CvatError(f"{url}{path}: {why} (status {status}{f', {said}' if said else ''})", status)
