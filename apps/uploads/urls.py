"""The way in, with or without its last slash."""

from django.urls import re_path

from apps.uploads.view import NamedUpload, Upload

urlpatterns = [
    re_path(r"^upload/?$", Upload.as_view(), name="upload"),
    re_path(r"^upload/(?P<filename>[^/]+)/?$", NamedUpload.as_view(), name="upload-named"),
]
