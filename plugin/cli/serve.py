"""Answers the calls of the Nuclio function over plain HTTP, without Nuclio.

The settings are those of the function, as environment variables: PERCLIP_NETWORK, PERCLIP_WEIGHTS, PERCLIP_DEVICE,
PERCLIP_SHORT_SIDE, PERCLIP_MAX_SECONDS, PERCLIP_CACHE_MB, PERCLIP_LEARN_ON. Requests and answers: serverless/README.md.
"""

import argparse

from model.errors import InputError

HELP = "serve the function over HTTP"
EXAMPLES = """\
examples:
  perclip serve --port 8070
  curl http://127.0.0.1:8070

exit codes: 0 stopped by Ctrl-C or SIGTERM, 2 bad input
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--port", type=int, required=True, metavar="N", help="to listen on; 0 picks a free one")
    parser.add_argument("--host", default="127.0.0.1", help="to listen on (default 127.0.0.1: this machine alone)")


def run(arguments: argparse.Namespace) -> None:
    """Serve until told to stop; raises PerclipError."""
    if not 0 <= arguments.port <= 65535:
        raise InputError(f"--port {arguments.port}: give 0 to 65535")
    from serverless.local_server import LocalServer, serve  # loads torch

    try:
        server = LocalServer(arguments.host, arguments.port)
    except OSError as error:
        raise InputError(
            f"cannot listen on {arguments.host}:{arguments.port} ({error.strerror or error}): choose another port"
        ) from None
    print(f"http://{arguments.host}:{server.server_address[1]}", flush=True)
    serve(server)
