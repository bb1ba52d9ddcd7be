"""Jobs: what goes on behind an answer."""

from __future__ import annotations

from backstory.http.attachments import attachment_answer
from backstory.http.message import Request, Response, json_response
from backstory.http.services import Services
from backstory.model.access import Right
from backstory.model.job import Job


def job_response(request: Request, job: Job) -> Response:
    """202: it will be done, and where to ask how far it is."""
    base = request.path.partition("/v2/")[0]
    return json_response({"job_id": job.id, "href": request.url(f"{base}/v2/jobs/{job.id}")}, status=202)


async def get_job(request: Request, services: Services) -> Response:
    """How far a job is."""
    job = await services.jobs.get(request.path_values["id"])
    answer = job.answer()
    number = (job.result or {}).get("attachment_id")
    if number is not None:  # a file that the job has written: for admins, as whatever begins such a job
        answer["result"] = {"rows": job.progress, "download_url": None}
        file = await services.attachments.find(number)
        if file is not None and request.caller.may(Right.ADMIN):
            answer["result"]["download_url"] = attachment_answer(request, file)["attachment_url"]
    return json_response(answer)
