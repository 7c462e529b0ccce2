"""Every path of the service over HTTP."""

from django.contrib import admin
from django.urls import include, path, re_path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from apps.api import problems
from apps.api.assets import Asset
from apps.events.readers.document import EventsDocument

urlpatterns = [
    path("", include("apps.uploads.urls")),
    path("", include("apps.events.readers.urls")),
    path("", include("apps.api.urls")),
    re_path(r"^schema/?$", SpectacularAPIView.as_view(), name="schema"),
    re_path(r"^schema/events/?$", EventsDocument.as_view(), name="schema-events"),
    re_path(
        r"^docs/?$", SpectacularSwaggerView.as_view(url_name="schema", http_method_names=["get", "head"]), name="docs"
    ),
    path("static/<path:path>", Asset.as_view(), name="asset"),
    path("admin/", admin.site.urls),
    path("admin", RedirectView.as_view(url="/admin/")),
    re_path(r"", problems.not_found),  # also with DEBUG, whose own page has another shape
]

handler400 = problems.bad_request
handler403 = problems.permission_denied
handler404 = problems.not_found
handler500 = problems.server_error
