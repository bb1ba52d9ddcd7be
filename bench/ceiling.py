"""The least server there can be: it answers every request with the same 100 bytes, unread.

What the load generator reaches against it is the generator's own ceiling. `python -m bench.ceiling PORT` serves.
"""

import asyncio
import sys
from typing import cast

import uvloop

_BODY = b'{"id":"0199f2c4-0000-7000-8000-000000000000","contact_id":80001,"duplicate":false}'
_ANSWER = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(_BODY) + _BODY
)


class _Fixed(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        # Requests of a closed loop are small enough to come in one piece.
        self.transport.write(_ANSWER)


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_Fixed, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
