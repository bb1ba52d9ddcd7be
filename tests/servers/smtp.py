"""A mail server for tests, on loopback: it speaks SMTP, keeps what it takes, and refuses what it is told to."""

from __future__ import annotations

import asyncio
import base64
import email
import email.policy
import ssl
import threading
from collections.abc import Callable
from email.message import EmailMessage
from typing import NamedTuple

Policy = Callable[[str, str], str | None]
"""What is answered instead of yes to a step (`rcpt`, `data`) about an address; None for yes."""


class Received(NamedTuple):
    """A mail that was taken: its envelope and itself."""

    sender: str
    recipients: list[str]
    message: EmailMessage
    signed_in: str | None
    encrypted: bool


class SmtpServer:
    """Start it with `with`; `received` is what it took, `policy` what it refuses, `tries` who tried to be reached."""

    def __init__(self, context: ssl.SSLContext | None = None, *, port: int = 0) -> None:
        self.received: list[Received] = []
        self.tries: list[str] = []
        self.policy: Policy = lambda step, address: None
        self.port = port
        self._context = context
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> SmtpServer:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        self._server.close()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sender, recipients = "", list[str]()
        signed_in, encrypted = None, False

        def say(text: str) -> None:
            writer.write(f"{text}\r\n".encode())

        say("220 mail.test")
        while line := (await reader.readline()).decode().strip():
            verb, _, rest = line.partition(" ")
            match verb.upper():
                case "EHLO":
                    offered = "STARTTLS" if self._context and not encrypted else "AUTH PLAIN"
                    say(f"250-mail.test\r\n250 {offered}")
                case "STARTTLS" if self._context:
                    say("220 go on")
                    await writer.drain()
                    await writer.start_tls(self._context)
                    encrypted = True
                case "AUTH":
                    _, user, password = base64.b64decode(rest.split()[1]).decode().split("\0")
                    signed_in = user if password == "secret" else None
                    say("235 welcome" if signed_in else "535 no")
                case "MAIL":
                    sender, recipients = _address(rest), []
                    say("250 ok")
                case "RCPT":
                    address = _address(rest)
                    self.tries.append(address)
                    refusal = self.policy("rcpt", address)
                    if refusal is None:
                        recipients.append(address)
                    say(refusal or "250 ok")
                case "DATA":
                    say("354 go on")
                    await writer.drain()
                    data = await reader.readuntil(b"\r\n.\r\n")
                    refusal = self.policy("data", recipients[0])
                    if refusal is None:
                        message = email.message_from_bytes(
                            data[:-3].replace(b"\r\n..", b"\r\n."), policy=email.policy.default
                        )
                        assert isinstance(message, EmailMessage)
                        self.received.append(Received(sender, recipients, message, signed_in, encrypted))
                    say(refusal or "250 taken")
                case "QUIT":
                    say("221 bye")
                    return
                case _:
                    say("250 ok")
            await writer.drain()


def _address(rest: str) -> str:
    return rest.partition("<")[2].partition(">")[0]
