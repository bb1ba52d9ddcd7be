from typing import Any

from actstream import action
from django.http import HttpRequest, JsonResponse
from django.utils.timezone import now
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from timeline.models import Contact
from timeline.serializers import PublishSerializer


class Publish(APIView):
    """One activity of one contact, kept as one action of django-activity-stream."""

    def post(self, request: Request) -> Response:
        wanted = PublishSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        contact = self._contact(wanted.validated_data["contact"])
        activity: dict[str, Any] = dict(wanted.validated_data["activity"])
        external_id = activity.pop("id", None)
        sent = action.send(
            contact,
            verb=activity.pop("name"),
            description=activity.pop("description", None),
            timestamp=activity.pop("timestamp", None) or now(),
            external_id=external_id,
            **activity,  # actor, source, object, link and context go into the action's JSON field
        )
        created = sent[0][1]
        return Response({"id": created.pk, "external_id": external_id, "contact_id": contact.pk})

    def _contact(self, given: dict[str, Any]) -> Contact:
        defaults = {"name": given.get("name", "")}
        return Contact.objects.get_or_create(email=given["email"].lower(), defaults=defaults)[0]


def ready(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "ready"})
