"""The File as the documents describe it. What is sent is `files.document`; a test holds the two equal."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.files.document import document
from apps.files.models import File, Status
from apps.processing import kinds, plugins


class ErrorSerializer(serializers.Serializer[Any]):
    """Why a file could not be processed."""

    code = serializers.CharField(help_text="Stable; listed in the documents.")
    detail = serializers.CharField()


@extend_schema_field(kinds.result_schema())
class ResultField(serializers.DictField):
    """What was found out about a file: the schema of its kind."""


class FileSerializer(serializers.Serializer[File]):
    """One uploaded file."""

    id = serializers.UUIDField(help_text="UUID version 7: ids order as uploads do.")
    file = serializers.URLField(help_text="The bytes.")
    name = serializers.CharField(help_text="As shown; never a path.")
    size = serializers.IntegerField(help_text="Bytes.")
    content_type = serializers.CharField(help_text="From the bytes.")
    declared_content_type = serializers.CharField(help_text="As the client said.", allow_blank=True)
    kind = serializers.ChoiceField(plugins.kinds(), help_text="From the bytes.")
    sha256 = serializers.CharField(help_text="Hexadecimal.")
    uploaded_at = serializers.DateTimeField()
    processed = serializers.BooleanField(help_text="True exactly when status is processed.")
    status = serializers.ChoiceField(Status.choices)
    progress = serializers.IntegerField(min_value=0, max_value=100)
    attempt = serializers.IntegerField(min_value=1)
    processed_at = serializers.DateTimeField(allow_null=True)
    result = ResultField(allow_null=True, help_text="What was found out; depends on the kind.")
    derived = serializers.DictField(child=serializers.URLField(), help_text="Derived files by name.")
    error = ErrorSerializer(allow_null=True)

    def to_representation(self, instance: File) -> dict[str, Any]:
        """The document itself."""
        return document(instance, self.context.get("base_url", ""))


class FieldProblemSerializer(serializers.Serializer[Any]):
    """One field at fault."""

    field = serializers.CharField()
    code = serializers.CharField()
    detail = serializers.CharField()


class ProblemSerializer(serializers.Serializer[Any]):
    """Every error (RFC 9457)."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    code = serializers.CharField()
    detail = serializers.CharField()
    errors = FieldProblemSerializer(many=True)  # type: ignore[assignment]


class FilePageSerializer(serializers.Serializer[Any]):
    """One page of the list."""

    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = FileSerializer(many=True)
