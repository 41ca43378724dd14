"""The errors of the session layer. `status_code` is the HTTP status to send. `store.py` defines StoreUnavailable."""


class SessionError(Exception):
    """The session layer refuses a request, or cannot do what it asks for."""

    status_code = 500


class SessionEnded(SessionError):
    """The session was destroyed, rotated or expired while a request that wanted to change it was under way."""

    status_code = 409


class SessionTooLarge(SessionError):
    """The session would be larger than a session may be: 1 MiB in all."""

    status_code = 413


class InvalidValue(TypeError):
    """A value that JSON cannot hold was put into the session. The message names its path and the reason."""

    status_code = 500


class SessionReadOnly(RuntimeError):
    """The session was changed where the change cannot be saved. The message says why, and what to do instead."""

    status_code = 500


class CrossOriginRefused(SessionError):
    """This request seems to come from another site."""

    status_code = 403


class PrefetchRefused(SessionError):
    """The browser asked for a session's page before the visitor did. By then the copy could be out of date."""

    status_code = 503


def remedy(session_id: str, key: str | None) -> str:
    """Return advice on saving a value that comes too late; without a key, on changing the session as a whole."""
    if not session_id:
        return "Change it in a request with a session, before its response starts."
    if key is None:
        return f"Rotate it before the response starts. Destroy it with: await sessions.destroy({session_id!r})"
    return f"Save it with: async with sessions.edit({session_id!r}) as session: session[{str(key)!r}] = value"
