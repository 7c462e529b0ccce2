"""Django's admin: the files with their status, and re-processing; nothing is edited by hand."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from apps.files import lifecycle
from apps.files.errors import FilewireError
from apps.files.models import File

if TYPE_CHECKING:
    Admin = admin.ModelAdmin[File]
else:
    Admin = admin.ModelAdmin  # generic only to the type checker


@admin.register(File)
class FileAdmin(Admin):
    """A look at the record. What changes a file goes through its lifecycle, as everywhere."""

    list_display = ("name", "status", "kind", "content_type", "size", "attempt", "uploaded_at", "links")
    list_filter = ("status", "processed", "kind", "uploaded_at")
    search_fields = ("name", "sha256", "id")
    ordering = ("-id",)
    date_hierarchy = None
    list_per_page = 50
    show_full_result_count = False  # a COUNT over a million rows for one page
    actions = ("reprocess", "delete_with_bytes")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Files come in by upload."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: File | None = None) -> bool:
        """The record is written by the service alone."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: File | None = None) -> bool:
        """A row deleted behind the lifecycle's back would leave its bytes."""
        return False

    def has_reprocess_permission(self, request: HttpRequest) -> bool:
        """Whoever might change a file may have it processed again, or deleted."""
        return request.user.has_perm("files.change_file")

    @admin.display(description="links")
    def links(self, file: File) -> SafeString:
        """The file's bytes, and what was derived from them."""
        base = f"/files/{file.id}/"
        links = [(f"{base}content/", "content"), *((f"{base}derived/{name}/", name) for name in file.derived)]
        return format_html("{}", format_html_join(" · ", '<a href="{}">{}</a>', links))

    @admin.action(description="Process the selected files again", permissions=["reprocess"])
    def reprocess(self, request: HttpRequest, files: QuerySet[File]) -> None:
        """Queue each as a new attempt; the dispatcher finds them within a second."""
        self._each(request, files, lifecycle.requeue, "queued again")

    @admin.action(description="Delete the selected files and their bytes", permissions=["reprocess"])
    def delete_with_bytes(self, request: HttpRequest, files: QuerySet[File]) -> None:
        """Delete each as `DELETE /files/<id>/` does."""
        self._each(request, files, lifecycle.delete, "deleted")

    def _each(self, request: HttpRequest, files: QuerySet[File], change: Any, done: str) -> None:
        count = 0
        for file in files:
            try:
                change(file.id)
            except FilewireError as error:
                self.message_user(request, f"{file.name}: {error.detail}", messages.WARNING)
            else:
                count += 1
        self.message_user(request, f"{count} {done}.", messages.SUCCESS if count else messages.WARNING)
