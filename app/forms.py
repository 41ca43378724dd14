"""Read the text that visitors send, with one helper for all forms.

    COMMENT = Field("comment", label="Your comment", kind="textarea", max_size=10_000)
    (comment,) = await read_form(request, COMMENT)

`read_form` records the text. If the request fails later, the error page shows a form with the visitor's text, which the
visitor can send again (`templates/error.html`).

A form has a place for its status and a place for errors. Each field names the error place: aria-describedby="error".

    <div class="actions"><button>Save</button>{{ "Saving…" | status_place }}</div>
    {{ "error" | error_place }}
"""

from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import parse_qs

from litestar import Request
from litestar.exceptions import HTTPException
from markupsafe import Markup, escape

from app.errors import UserFacingError

URL_ENCODED = "application/x-www-form-urlencoded"
PLAIN_TEXT = "text/plain"
MAX_FIELDS = 100  # per form, unknown fields included


@dataclass(frozen=True)
class Field:
    """A text field of a form. A password is read like any other text, but never recorded."""

    name: str
    label: str
    max_size: int = 10_000  # bytes of UTF-8
    kind: Literal["text", "textarea", "password", "hidden"] = "text"
    default: str | None = None  # the text if the form lacks the field, like an unticked checkbox; None: refuse the form


@dataclass(frozen=True)
class Submission:
    """The data of a form, which the error page can send again."""

    method: str
    action: str
    fields: list[tuple[Field, str]]  # with "" for passwords
    has_null: bool  # whether a text contained U+0000; `fields` has U+FFFD instead


async def read_form(request: Request[Any, Any, Any], *fields: Field) -> list[str]:
    """Return the texts of these fields, in this order, with LF as line ending.

    Raises HTTPException: 400 if the body is not a form with exactly one valid text per field, or if the upload broke
    off; 413 if a text exceeds its field's limit or the body exceeds the app's limit; 415 for other media types.
    """
    body = await _read_body(request, URL_ENCODED)
    try:
        values = parse_qs(body, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except UnicodeDecodeError:
        raise UserFacingError(status_code=400, detail="The form is not valid UTF-8.") from None
    except ValueError:
        raise UserFacingError(status_code=400, detail=f"The form has more than {MAX_FIELDS} fields.") from None
    texts = []
    for field in fields:
        found = values.get(field.name, [] if field.default is None else [field.default])
        if len(found) != 1:
            raise UserFacingError(status_code=400, detail=f"The form needs one field named {field.name}.")
        texts.append(found[0])
    return _check(request, fields, texts)


async def read_text(request: Request[Any, Any, Any], field: Field) -> str:
    """Return the text of a `text/plain` body. Raises the same errors as `read_form`."""
    (text,) = _check(request, (field,), [await _read_body(request, PLAIN_TEXT)])
    return text


async def _read_body(request: Request[Any, Any, Any], *accepted: str) -> str:
    media_type, options = request.content_type
    if media_type == "multipart/form-data":
        raise UserFacingError(status_code=415, detail="This form does not accept multipart/form-data.")
    if media_type not in accepted or options.get("charset", "utf-8").lower() not in ("utf-8", "utf8"):
        raise HTTPException(status_code=415)
    try:
        return (await request.body()).decode()
    except UnicodeDecodeError:
        raise UserFacingError(status_code=400, detail="The text is not valid UTF-8.") from None


def _check(request: Request[Any, Any, Any], fields: tuple[Field, ...], texts: list[str]) -> list[str]:
    """Record the texts, then raise UserFacingError if a text contains U+0000 or is too long."""
    texts = [text.replace("\r\n", "\n").replace("\r", "\n") for text in texts]
    # Exactly one slash at the start: an address that starts with `//` leads to another host.
    action = "/" + request.scope["raw_path"].decode("latin-1").lstrip("/")
    if query := request.scope["query_string"].decode("latin-1"):
        action += f"?{query}"
    shown = [(field, "" if field.kind == "password" else text) for field, text in zip(fields, texts, strict=True)]
    request.state.submission = Submission(
        method=request.method,
        action=action,
        fields=[(field, text.replace("\0", "\ufffd")) for field, text in shown],
        has_null=any("\0" in text for _, text in shown),
    )
    for field, text in zip(fields, texts, strict=True):
        if "\0" in text:
            detail = f"“{field.label}” holds the character U+0000, which no page can show. It was not saved."
            raise UserFacingError(status_code=400, detail=detail)
        if (size := len(text.encode())) > field.max_size:
            sizes = f"{size:,} bytes, and at most {field.max_size:,} are allowed"
            detail = f"“{field.label}” is too long: {sizes}. It was not saved."
            raise UserFacingError(status_code=413, detail=detail)
    return texts


# Filters, because Jinja applies a filter to a constant only once, when it compiles the template.


def status_place(busy: str) -> Markup:
    """Return the status place beside a button. It shows `busy` while the form is being sent, then the result."""
    html = f'<div role="status"><span class="busy">{escape(busy)}</span><span class="result"></span></div>'
    return Markup(html)  # noqa: S704 - the values are escaped


def error_place(place_id: str, unreachable: str = "", timeout: str = "") -> Markup:
    """Return the place where a form's errors appear. `place_id` is its id in the page.

    If the server does not answer, `static/app.js` shows a general message in it. `unreachable` and `timeout` replace
    that message.
    """
    messages = (("unreachable", unreachable), ("timeout", timeout))
    data = "".join(f' data-{name}="{escape(text)}"' for name, text in messages if text)
    html = f'<div id="{escape(place_id)}" class="error" role="alert"{data}></div>'
    return Markup(html)  # noqa: S704 - the values are escaped
