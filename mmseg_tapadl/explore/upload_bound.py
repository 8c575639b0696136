"""Requests that are too large are refused before they are read; the others stay in memory."""

from starlette.formparsers import MultiPartParser
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

FORM_BYTES = 2**16
"""What a form adds to the file in it."""


class UploadBound:
    """Refuses requests whose body is larger, or of untold length.

    Args:
        app: What gets the others.
        most_bytes: Of a file.
    """

    def __init__(self, app: ASGIApp, *, most_bytes: int):
        self.app = app
        self.most_bytes = most_bytes + FORM_BYTES
        # Larger files would be written to the disk.
        MultiPartParser.spool_max_size = self.most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the class."""
        if (
            scope['type'] == 'http'
            and scope['method'] in ('POST', 'PUT', 'PATCH')
            and '/upload/' in scope['path']
        ):
            told = dict(scope['headers']).get(b'content-length', b'')
            if not told.isdigit() or int(told) > self.most_bytes:
                await PlainTextResponse('an upload of so many bytes is not taken', 413)(scope, receive, send)
                return
        await self.app(scope, receive, send)
