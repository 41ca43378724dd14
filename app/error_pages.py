"""Pages that show each error, to preview how errors look. The app serves them only with LITESTAR_DEBUG=1."""

from http import HTTPStatus

from litestar import HttpMethod, Router, route
from litestar.exceptions import HTTPException
from litestar.params import FromPath
from litestar.response import Template

from app.errors import MESSAGES
from app.sessions import SessionEnded, StoreUnavailable

PAGE = [HttpMethod.GET, HttpMethod.HEAD]


@route("/", http_method=PAGE)
async def list_errors() -> Template:
    """List the errors."""
    return Template("errors.html", context={"statuses": {status: HTTPStatus(status).phrase for status in MESSAGES}})


@route("/{status:int}", http_method=PAGE)
async def show_error(status: FromPath[int]) -> None:
    """Raise the exception that most often causes this status, or 404 for an unknown status."""
    causes: dict[int, type[Exception]] = {409: SessionEnded, 500: RuntimeError, 503: StoreUnavailable}
    raise causes[status]() if status in causes else HTTPException(status_code=status if status in MESSAGES else 404)


error_pages = Router("/errors", route_handlers=[list_errors, show_error], opt={"no_session": True})
