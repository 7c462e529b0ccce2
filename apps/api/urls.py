"""The questions' paths; each with or without its last slash."""

from django.urls import path, re_path

from apps.api import health, views

ID = r"(?P<file_id>[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12})"

urlpatterns = [
    re_path(r"^files/?$", views.FileList.as_view(), name="file-list"),
    re_path(rf"^files/{ID}/?$", views.FileDetail.as_view(), name="file-detail"),
    re_path(rf"^files/{ID}/content/?$", views.FileContent.as_view(), name="file-content"),
    re_path(rf"^files/{ID}/derived/(?P<name>[a-z0-9_.-]+)/?$", views.FileDerived.as_view(), name="file-derived"),
    re_path(rf"^files/{ID}/reprocess/?$", views.FileReprocess.as_view(), name="file-reprocess"),
    path("healthz", health.Health.as_view(), name="healthz"),
    path("healthz/", health.Health.as_view(schema=None)),
    path("readyz", health.Readiness.as_view(), name="readyz"),
    path("readyz/", health.Readiness.as_view(schema=None)),
]
