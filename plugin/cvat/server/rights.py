"""Whether a login may write into the jobs of a task: asked before anything is computed for them."""

from collections.abc import Iterable

from plugin.cvat.server.client import Server
from plugin.cvat.server.errors import CvatError


class Rights:
    """What the server says of writing into jobs; it is asked once for each.

    Args:
        server: logged in.
        dry: send nothing but questions: only a read-only access token is noticed then.
    """

    def __init__(self, server: Server, dry: bool = False):
        self._server, self._dry = server, dry
        self._refused: dict[int, bool] = {}

    def refused(self, jobs: Iterable[int]) -> dict[int, str]:
        """Those jobs that may not be written to, and why.

        Raises:
            ConnectionLostError: the server is gone.
            CvatError: the login is no longer valid, or the server was waited for in vain.
        """
        jobs = list(jobs)
        for job in jobs:
            if job not in self._refused:
                self._refused[job] = self._is_refused(job)
        return {job: self._server.why_read_only for job in jobs if self._refused[job]}

    def _is_refused(self, job: int) -> bool:
        if self._server.has_read_only_token:
            return True
        if self._dry:
            return False
        try:
            # A change of nothing: CVAT looks at the rights, and then leaves even the date of the last change alone.
            body: dict[str, object] = {"version": 0, "shapes": [], "tracks": [], "tags": []}
            path = f"/api/jobs/{job}/annotations/"
            self._server.patch(path, body, repeatable=True, what=f"the rights of job {job}", action="create")
        except CvatError as error:
            if error.is_about_server:
                raise
            return error.status == 403  # of whatever else is wrong, writing will tell
        return False
