"""The baseline: what `startproject`, DRF's and Celery's own documentation leads to. A ModelSerializer, `.delay()`.

Run as `uvicorn tests.load.peers.plain:application` or `gunicorn tests.load.peers.plain:wsgi`, with DATABASE_URL,
REDIS_URL and DATA in the environment. FSYNC=on makes the bytes durable before the answer.
"""

import os
import uuid

import dj_database_url
import django
from celery import Celery
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application

settings.configure(
    SECRET_KEY="load",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    MEDIA_ROOT=os.environ["DATA"],
    DATABASES={"default": dj_database_url.parse(os.environ["DATABASE_URL"])},
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.messages",
        "rest_framework",
    ],
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ],
    USE_TZ=True,
    REST_FRAMEWORK={"DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"]},
)
django.setup()

from django.db import connection, models  # noqa: E402
from django.urls import path  # noqa: E402
from rest_framework import generics, pagination, serializers  # noqa: E402
from rest_framework.parsers import MultiPartParser  # noqa: E402

celery = Celery("plain", broker=os.environ["REDIS_URL"])


@celery.task(name="plain.process", ignore_result=True)
def process(pk: str) -> None:
    """Never run here: the baseline is measured on what it takes to accept a file."""


class Upload(models.Model):
    """A file as a model of the documentation has it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    file = models.FileField(upload_to="%Y/%m/%d/%H")
    uploaded_at = models.DateTimeField(auto_now_add=True, db_index=True)
    processed = models.BooleanField(default=False)

    class Meta:
        app_label = "plain"


class UploadSerializer(serializers.ModelSerializer):
    """All fields."""

    class Meta:
        model = Upload
        fields = ("id", "file", "uploaded_at", "processed")
        read_only_fields = ("processed",)


class Pages(pagination.CursorPagination):
    """Fifty a page, newest first."""

    page_size = 50
    ordering = "-uploaded_at"


class Uploads(generics.ListCreateAPIView):
    """List and create."""

    queryset = Upload.objects.all()
    serializer_class = UploadSerializer
    parser_classes = (MultiPartParser,)
    pagination_class = Pages

    def perform_create(self, serializer):
        """Save, then send the task."""
        upload = serializer.save()
        if os.environ.get("FSYNC") == "on":
            descriptor = os.open(upload.file.path, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
        process.delay(str(upload.pk))


urlpatterns = [path("upload/", Uploads.as_view()), path("files/", Uploads.as_view())]
application = get_asgi_application()
wsgi = get_wsgi_application()


def create_table() -> None:
    """What a migration would do."""
    with connection.schema_editor() as editor:
        editor.create_model(Upload)
