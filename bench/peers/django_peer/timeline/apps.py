from django.apps import AppConfig


class TimelineConfig(AppConfig):
    name = "timeline"

    def ready(self) -> None:
        from actstream import registry

        registry.register(self.get_model("Contact"))
