from django.urls import path
from timeline.views import Publish, ready

urlpatterns = [
    path("api/v2/contact-activities", Publish.as_view()),
    path("readyz", ready),
]
