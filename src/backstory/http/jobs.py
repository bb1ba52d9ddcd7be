"""Jobs: what goes on behind an answer."""

from __future__ import annotations

from backstory.http.message import Request, Response, json_response
from backstory.http.services import Services
from backstory.model.job import Job


def job_response(request: Request, job: Job) -> Response:
    """202: it will be done, and where to ask how far it is."""
    base = request.path.partition("/v2/")[0]
    return json_response({"job_id": job.id, "href": request.url(f"{base}/v2/jobs/{job.id}")}, status=202)


async def get_job(request: Request, services: Services) -> Response:
    """How far a job is."""
    return json_response((await services.jobs.get(request.path_values["id"])).answer())
