"""Imports and exports of contacts and companies as CSV: each begins a job."""

from __future__ import annotations

from backstory.errors import Code, Fault, FieldErrors
from backstory.http.forms import read_form
from backstory.http.jobs import job_response
from backstory.http.message import Request, Response
from backstory.http.services import Services
from backstory.model.checks import Field, check_file, check_object
from backstory.model.form import Upload

CSV_FORM = check_object({"file": Field(check_file)})


async def import_contacts(request: Request, services: Services) -> Response:
    """Import contacts."""
    return await _import(request, services, "contacts.import")


async def import_companies(request: Request, services: Services) -> Response:
    """Import companies."""
    return await _import(request, services, "companies.import")


async def export_contacts(request: Request, services: Services) -> Response:
    """Export contacts."""
    return await _export(request, services, "contacts.export")


async def export_companies(request: Request, services: Services) -> Response:
    """Export companies."""
    return await _export(request, services, "companies.export")


async def _import(request: Request, services: Services, kind: str) -> Response:
    upload = read_form(request, CSV_FORM).get("file")
    if not isinstance(upload, Upload):
        raise FieldErrors([Fault("file", "A file in CSV is mandatory.", Code.MISSING_FIELD)])
    entry = request.audit(kind, kind.partition(".")[0])
    job = await services.csv.begin_import(kind, upload, agent_id=request.caller.agent_id, entry=entry)
    return job_response(request, job)


async def _export(request: Request, services: Services, kind: str) -> Response:
    entry = request.audit(kind, kind.partition(".")[0])
    job = await services.csv.begin_export(kind, agent_id=request.caller.agent_id, entry=entry)
    return job_response(request, job)
