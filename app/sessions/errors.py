"""The errors of the session layer. `status_code` is the HTTP status to send. `store.py` defines StoreUnavailable."""


class SessionError(Exception):
    """The session layer refuses a request, or cannot do what it asks for.

    `public_message` is written for visitors. It is also the error's text, unless the error has a text of its own.
    """

    status_code = 500
    public_message = "Internal Server Error"

    def __init__(self, message: str = "") -> None:
        super().__init__(message or self.public_message)


class SessionEnded(SessionError):
    """The session was destroyed, rotated or expired while a request that wanted to change it was under way."""

    status_code = 409
    public_message = "Your session ended in the meantime. Reload the page and try again."


class SessionTooLarge(SessionError):
    """The session would be larger than a session may be: 1 MiB in all."""

    status_code = 413
    public_message = "This is more than a session can hold: 1 MiB in all. Shorten it, then send it again."


class InvalidValue(TypeError):
    """A value that JSON cannot hold was put into the session. The message names its path and the reason."""

    status_code = 500


class SessionReadOnly(RuntimeError):
    """The session was changed where the change cannot be saved. The message says why, and what to do instead."""

    status_code = 500


class CrossOriginRefused(SessionError):
    """A request that may change something, or a WebSocket handshake, seems to come from another site."""

    status_code = 403
    public_message = "This request seems to come from another site. Use the page on this site instead."


class PrefetchRefused(SessionError):
    """The browser asked for a session's page before the visitor did. By then the copy could be out of date."""

    status_code = 503
    public_message = "This page is not served ahead of time. Follow the link to see it."


def remedy(session_id: str, key: str | None) -> str:
    """Return advice on saving a value that comes too late; without a key, on changing the session as a whole."""
    if not session_id:
        return "Change it in a request with a session, before its response starts."
    if key is None:
        rotate = "Rotate it in a request from its visitor, before the response starts."
        return f"{rotate} Destroy it with: await sessions.destroy({session_id!r})"
    return f"Save it with: async with sessions.edit({session_id!r}) as session: session[{str(key)!r}] = value"
