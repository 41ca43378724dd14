"""The sample app without the fix for names that no static file can have."""

from litestar.file_system import BaseLocalFileSystem

from app import static_files

static_files.FileSystem = BaseLocalFileSystem  # type: ignore[assignment,misc]

from tests.skeleton.sample_app import create_sample_app  # noqa: E402

app = create_sample_app()
