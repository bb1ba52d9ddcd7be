"""Replies that go out: over a real connection to a mail server, again after failures, and never lost."""

from __future__ import annotations

import itertools
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.http.wire import start_tuned
from tests.servers.engines import Maker
from tests.servers.smtp import Received, SmtpServer
from tests.support import Installation, wait_until
from tests.ui.pages import signed_in

TICKETS = "/api/v2/tickets"
TICKET_PAGES = "/tickets"
FROM = "Acme Support <support@acme.example>, sales@acme.example"
_numbers = itertools.count(1)


def somebody(kind: str = "customer") -> str:
    return f"{kind}{next(_numbers)}@mail.example"


def mail_settings(mail: SmtpServer, **more: str) -> dict[str, str]:
    return {
        "BACKSTORY_SMTP_HOST": "localhost",
        "BACKSTORY_SMTP_PORT": str(mail.port),
        "BACKSTORY_SMTP_TLS": "none",
        "BACKSTORY_SMTP_FROM": FROM,
    } | more


def start(installation: Installation, directory: Path, settings: dict[str, str]) -> None:
    """Serve with mail, whose tries follow each other quickly."""
    pauses = {"FIRST_PAUSE": 0.02, "LOOK_SECONDS": 0.05, "LEASE_SECONDS": 1}
    constants = {f"helpdesk__mailer__{name}": value for name, value in pauses.items()}
    start_tuned(installation, directory, settings, **constants)


@pytest.fixture(scope="module")
def mail() -> Iterator[SmtpServer]:
    with SmtpServer() as server:
        yield server


@pytest.fixture(scope="module")
def sending(
    make_installation: Maker, tmp_path_factory: pytest.TempPathFactory, mail: SmtpServer
) -> Iterator[Installation]:
    """A server that sends by `mail`."""
    directory = tmp_path_factory.mktemp("mail")
    installation = make_installation(directory)
    start(installation, directory, mail_settings(mail))
    yield installation
    installation.stop()


@pytest.fixture(scope="module")
def client(sending: Installation) -> Iterator[httpx.Client]:
    """An admin's client of it."""
    with sending.client() as client:
        yield client


@pytest.fixture(autouse=True)
def fresh(mail: SmtpServer) -> None:
    mail.policy = lambda step, address: None
    mail.received.clear()
    mail.tries.clear()


def ticket_of(client: httpx.Client, email: str, **more: Any) -> dict[str, Any]:
    answer = client.post(TICKETS, json={"email": email, "subject": "Where is it?"} | more)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def reply(client: httpx.Client, ticket: dict[str, Any], **body: Any) -> dict[str, Any]:
    answer = client.post(f"{TICKETS}/{ticket['id']}/reply", json={"body": "<p>Soon &amp; surely</p>"} | body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def conversation(client: httpx.Client, reply: dict[str, Any]) -> dict[str, Any]:
    said = client.get(f"{TICKETS}/{reply['ticket_id']}/conversations").json()
    return next(each for each in said if each["id"] == reply["id"])


def delivery(client: httpx.Client, reply: dict[str, Any]) -> str:
    return str(conversation(client, reply)["source_additional_info"]["delivery"])


def wait_for(client: httpx.Client, reply: dict[str, Any], wanted: str) -> dict[str, Any]:
    wait_until(lambda: delivery(client, reply) == wanted, what=f"the delivery {wanted}")
    return conversation(client, reply)


def mail_to(mail: SmtpServer, address: str) -> list[Received]:
    return [each for each in mail.received if address in each.recipients]


def test_a_reply_goes_out_as_mail(client: httpx.Client, mail: SmtpServer) -> None:
    email = somebody()
    ticket = ticket_of(client, email)
    answered = reply(client, ticket, cc_emails=["cc@mail.example"], bcc_emails=["bcc@mail.example"])
    assert answered["source_additional_info"] == {"delivery": "queued", "reason": None}
    assert (answered["replied_to"], answered["from_email"]) == ([email], "support@acme.example")
    sent = wait_for(client, answered, "sent")
    assert (sent["outgoing_failures"], sent["email_failure_count"]) == (None, None)
    (received,) = mail_to(mail, email)
    message = received.message
    assert received.sender == "support@acme.example"
    assert received.recipients == [email, "cc@mail.example", "bcc@mail.example"]
    assert str(message["From"]) == "Acme Support <support@acme.example>"
    assert (str(message["To"]), str(message["Cc"]), message["Bcc"]) == (email, "cc@mail.example", None)
    assert str(message["Subject"]) == f"Re: Where is it? [#{ticket['id']}]"
    assert str(message["Message-ID"]) == sent["thread_message_id"]
    assert str(message["Message-ID"]).endswith("@acme.example>")
    assert message.get_content_type() == "multipart/alternative"
    text, html = message.iter_parts()
    assert (text.get_content_type(), html.get_content_type()) == ("text/plain", "text/html")
    assert "Soon & surely" in text.get_content()
    assert "<p>Soon &amp; surely</p>" in html.get_content()


def test_the_mails_of_a_ticket_are_one_thread(client: httpx.Client, mail: SmtpServer) -> None:
    email = somebody()
    ticket = ticket_of(client, email)
    replies = [wait_for(client, reply(client, ticket), "sent") for _ in range(3)]
    headers = [received.message for received in mail_to(mail, email)]
    roots = {str(each["References"]).split()[0] for each in headers}
    assert len(roots) == 1
    ids = [each["thread_message_id"] for each in replies]
    assert str(headers[0]["In-Reply-To"]) in roots
    assert [str(each["In-Reply-To"]) for each in headers[1:]] == ids[:2]
    assert str(headers[2]["References"]).split()[1:] == ids[:2]


def test_files_go_along(client: httpx.Client, mail: SmtpServer) -> None:
    email = somebody()
    ticket = ticket_of(client, email)
    files = [("attachments[]", ("Füße & co.txt", b"left\nright", "text/plain")),
             ("attachments[]", ("a.bin", bytes(range(256)), "application/octet-stream"))]  # fmt: skip
    answer = client.post(f"{TICKETS}/{ticket['id']}/reply", data={"body": "Look"}, files=files)
    wait_for(client, answer.json(), "sent")
    (received,) = mail_to(mail, email)
    attached = {
        part.get_filename(): part.get_payload(decode=True) for part in received.message.iter_attachments()
    }
    assert attached == {"Füße & co.txt": b"left\nright", "a.bin": bytes(range(256))}


def test_a_note_is_sent_to_whom_it_names(client: httpx.Client, mail: SmtpServer) -> None:
    ticket, colleague = ticket_of(client, somebody()), somebody("colleague")
    body = {"body": "Have a look", "notify_emails": [colleague]}
    note = client.post(f"{TICKETS}/{ticket['id']}/notes", json=body).json()
    assert note["notified_to"] == [colleague]
    wait_for(client, note, "sent")
    (received,) = mail_to(mail, colleague)
    assert received.recipients == [colleague]
    assert str(received.message["Subject"]).startswith("Note: ")
    quiet = client.post(f"{TICKETS}/{ticket['id']}/notes", json={"body": "For us"}).json()
    assert (quiet["notified_to"], quiet["source_additional_info"]) == ([], None)


def test_what_is_refused_for_now_is_tried_again(client: httpx.Client, mail: SmtpServer) -> None:
    email = somebody()
    mail.policy = lambda step, _: "451 later" if step == "rcpt" and len(mail.tries) < 4 else None
    answered = reply(client, ticket_of(client, email))
    wait_until(lambda: conversation(client, answered)["email_failure_count"], what="a failure that is told")
    waiting = conversation(client, answered)
    if waiting["source_additional_info"]["delivery"] == "queued":
        assert "451" in waiting["outgoing_failures"][0]["reason"]
        assert waiting["outgoing_failures"][0]["emails"] == [email]
    sent = wait_for(client, answered, "sent")
    assert sent["outgoing_failures"] is None
    assert sent["email_failure_count"] == 3
    assert len(mail_to(mail, email)) == 1


@pytest.mark.parametrize(("step", "answer"), [("rcpt", "550 no such user"), ("data", "554 spam")])
def test_what_is_refused_for_good_says_why(
    client: httpx.Client, mail: SmtpServer, step: str, answer: str
) -> None:
    email = somebody()
    mail.policy = lambda at, _: answer if at == step else None
    answered = reply(client, ticket_of(client, email))
    failed = wait_for(client, answered, "not_sent")
    assert answer in failed["source_additional_info"]["reason"]
    assert failed["outgoing_failures"] == [
        {"emails": [email], "reason": failed["source_additional_info"]["reason"]}
    ]
    assert failed["email_failure_count"] == 1
    assert mail.tries.count(email) == 1


def test_what_was_not_sent_is_sent_again_where_an_agent_asks_for_it(
    sending: Installation, client: httpx.Client, mail: SmtpServer
) -> None:
    email = somebody()
    mail.policy = lambda step, _: "550 unknown" if step == "rcpt" else None
    failed = wait_for(client, reply(client, ticket_of(client, email)), "not_sent")
    page = f"{TICKET_PAGES}/{failed['ticket_id']}"
    with signed_in(sending) as agent:
        assert "Send again" in agent.get(page).text
        mail.policy = lambda step, address: None
        answer = agent.submit(f"{page}/send", page=page, conversation_id=str(failed["id"]))
        assert answer.headers["Location"] == f"{page}?done=sending#c-{failed['id']}"
        sent = wait_for(client, failed, "sent")
        assert "Send again" not in agent.get(page).text
        for unknown in ("", "x", "0", "9" * 19):
            assert agent.submit(f"{page}/send", page=page, conversation_id=unknown).status_code == 404
    assert sent["thread_message_id"] == failed["thread_message_id"]
    assert len(mail_to(mail, email)) == 1


def test_nobody_is_offered_to_send_what_cannot_be_sent(
    sending: Installation, client: httpx.Client, api: httpx.Client, shared_server: Installation
) -> None:
    nobody = {"twitter_id": f"@{somebody()}", "name": "Nobody", "subject": "Where is it?"}
    answer = client.post(TICKETS, json=nobody)
    reply(client, answer.json())
    with signed_in(sending) as agent:
        page = agent.get(f"{TICKET_PAGES}/{answer.json()['id']}").text
        assert "Not sent." in page
        assert "Send again" not in page
    unsent = reply(api, ticket_of(api, somebody()))  # no mail server is set up there
    with signed_in(shared_server) as agent:
        page = agent.get(f"{TICKET_PAGES}/{unsent['ticket_id']}").text
        assert "Not sent." in page
        assert "Send again" not in page


def test_whom_a_mail_did_not_reach_is_said(client: httpx.Client, mail: SmtpServer) -> None:
    email, lost = somebody(), somebody("lost")
    mail.policy = lambda step, address: "550 unknown" if address == lost else None
    sent = wait_for(client, reply(client, ticket_of(client, email), cc_emails=[lost]), "sent")
    assert lost in sent["outgoing_failures"][0]["reason"]
    assert mail_to(mail, email)


def test_a_reply_that_was_removed_is_not_sent(client: httpx.Client, mail: SmtpServer) -> None:
    email = somebody()
    mail.policy = lambda step, address: "451 later" if address == email else None
    answered = reply(client, ticket_of(client, email))
    wait_until(lambda: email in mail.tries, what="a first try")
    assert client.delete(f"/api/v2/conversations/{answered['id']}").status_code == 204
    mail.policy = lambda step, address: None
    wait_for(client, reply(client, ticket_of(client, somebody())), "sent")  # whatever waits has had its turn
    wait_until(lambda: "backstory_mail_waiting 0.0" in client.get("/metrics").text, what="an empty queue")
    assert mail_to(mail, email) == []


def test_nobody_to_send_to(client: httpx.Client) -> None:
    ticket = ticket_of(client, "", phone="+44 7700 900777", name="Caller")
    answered = reply(client, ticket)
    assert answered["replied_to"] == []
    assert answered["source_additional_info"] == {
        "delivery": "not_sent", "reason": "The requester has no email address."
    }  # fmt: skip
    odd = reply(client, ticket_of(client, "ödd@mail.example"))
    assert odd["source_additional_info"]["delivery"] == "not_sent"
    assert "ödd@mail.example" in odd["source_additional_info"]["reason"]


def test_from_which_address_is_chosen_among_ours(client: httpx.Client, mail: SmtpServer) -> None:
    email = somebody()
    ticket = ticket_of(client, email)
    wait_for(client, reply(client, ticket, from_email="SALES@acme.example"), "sent")
    assert [each.sender for each in mail_to(mail, email)] == ["sales@acme.example"]
    answer = client.post(
        f"{TICKETS}/{ticket['id']}/reply", json={"body": "x", "from_email": "boss@other.example"}
    )
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "from_email"


def test_where_no_server_is_set_up_a_reply_says_so(api: httpx.Client) -> None:
    answered = reply(api, ticket_of(api, somebody()))
    reason = "No mail server is set up (BACKSTORY_SMTP_HOST)."
    assert answered["source_additional_info"] == {"delivery": "not_sent", "reason": reason}
    assert answered["outgoing_failures"][0]["reason"] == reason


def test_a_mail_survives_a_crash(installation: Installation, tmp_path: Path) -> None:
    with SmtpServer() as first:
        port = first.port
    email = somebody()
    start(installation, tmp_path, mail_settings(first))  # nobody listens there now
    try:
        with installation.client() as client:
            answered = reply(client, ticket_of(client, email))
            wait_until(lambda: conversation(client, answered)["email_failure_count"], what="a failed try")
            assert "reached" in conversation(client, answered)["outgoing_failures"][0]["reason"]
        installation.kill()
        with SmtpServer(port=port) as second:
            start(installation, tmp_path, mail_settings(second))
            with installation.client() as client:
                sent = wait_for(client, answered, "sent")
            (received,) = mail_to(second, email)
            assert str(received.message["Message-ID"]) == sent["thread_message_id"]
    finally:
        installation.kill()


def test_it_is_given_up_in_the_end(installation: Installation, tmp_path: Path) -> None:
    with SmtpServer() as mail:
        mail.policy = lambda step, address: "451 later"
        constants = {"helpdesk__mailer__GIVE_UP_SECONDS": 0, "helpdesk__mailer__FIRST_PAUSE": 0.02}
        start_tuned(installation, tmp_path, mail_settings(mail), **constants)
        try:
            with installation.client() as client:
                failed = wait_for(client, reply(client, ticket_of(client, somebody())), "not_sent")
            assert "451" in failed["source_additional_info"]["reason"]
        finally:
            installation.stop()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_it_signs_in_over_an_encrypted_connection(installation: Installation, tmp_path: Path) -> None:
    certificate, key = tmp_path / "mail.pem", tmp_path / "mail.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    with SmtpServer(context) as mail:
        more = {
            "BACKSTORY_SMTP_TLS": "starttls",
            "BACKSTORY_SMTP_USER": "me",
            "BACKSTORY_SMTP_PASSWORD": "secret",
        }
        settings = mail_settings(mail, SSL_CERT_FILE=str(certificate), **more)
        start(installation, tmp_path, settings)
        try:
            with installation.client() as client:
                wait_for(client, reply(client, ticket_of(client, somebody())), "sent")
            (received,) = mail.received
            assert (received.encrypted, received.signed_in) == (True, "me")
            assert "secret" not in installation.log_text()
        finally:
            installation.stop()
