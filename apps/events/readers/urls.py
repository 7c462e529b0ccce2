"""The feed's path over HTTP, with or without its last slash."""

from django.urls import re_path

from apps.events.readers.http import FileEvents

urlpatterns = [re_path(r"^files/events/?$", FileEvents.as_view(), name="file-events")]
