"""Reads the URL of a Redis server and checks it at the start.

A URL that redis-py would reject, now or when it connects, raises ValueError here. No message shows a value or the name
of an unknown option: both may be part of a password that is not percent-encoded.
"""

import os
import re
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote

SCHEMES = ("redis", "rediss", "valkey", "valkeys", "redis+cluster", "rediss+cluster")
HOST = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<name>[\w.-]+))(?::(?P<port>[0-9]{0,5}))?")
PERCENT_ENCODE = (
    "A user name or password with one of @ : / ? # has to be percent-encoded: "
    "%40 for @, %3A for :, %2F for /, %3F for ?, %23 for #"
)
SWITCH = {word: word in ("true", "yes", "1") for word in ("true", "yes", "1", "false", "no", "0")}
CERTIFICATES = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
TLS_VERSIONS = {"771": ssl.TLSVersion.TLSv1_2, "772": ssl.TLSVersion.TLSv1_3}


class BadURL(ValueError):
    """The message says what is wrong and shows no part of the URL."""


@dataclass(frozen=True)
class RedisURL:
    """A parsed URL. `options` are keyword arguments for redis-py, with host and port; `tls` is None without TLS."""

    cluster: bool
    tls: ssl.SSLContext | None
    options: dict[str, Any]


def parse(url: str) -> RedisURL:
    """Parse a URL. Reads the TLS files that it names, but never connects. Raises ValueError for an unusable URL."""
    try:
        return _parse(url)
    except BadURL as error:
        problem = str(error)
    except Exception:  # its message may show a part of the URL
        problem = "it is not a valid URL"
    # Raised outside of `except`, so the traceback does not show the original error.
    raise BadURL(f"{problem}. {PERCENT_ENCODE}" if "@" in url and PERCENT_ENCODE not in problem else problem)


def _parse(url: str) -> RedisURL:
    scheme, _, rest = url.partition("://")
    if scheme not in SCHEMES:
        raise BadURL("it has to begin with " + ", ".join(f"{name}://" for name in SCHEMES))
    if re.search(r"[\x00-\x20\x7f-\xa0#\ud800-\udfff]", rest):
        raise BadURL("it contains a #, a space, a control character or a byte that is not UTF-8")
    authority, path, query = re.findall(r"^([^/?]*)([^?]*)\??(.*)", rest)[0]
    userinfo, _, host = authority.rpartition("@")
    cluster, tls = scheme.endswith("+cluster"), scheme.startswith(("rediss", "valkeys"))
    options = _user(userinfo) | _host(host) | _query(query, OPTIONS | TLS_OPTIONS if tls else OPTIONS)
    if not re.fullmatch(r"(/[0-9]{0,9})?", path):
        raise BadURL("only a slash and the number of a database may follow the host")
    if number := path.removeprefix("/"):
        options.setdefault("db", int(number))
    if cluster and options.pop("db", 0):
        raise BadURL("a cluster has only database 0")
    tls_options = {name: options.pop(name) for name in list(options) if name.startswith("ssl_")}
    return RedisURL(cluster, _tls_context(tls_options) if tls else None, options)


def _user(userinfo: str) -> dict[str, Any]:
    username, _, password = userinfo.partition(":")
    if "@" in userinfo or ":" in password:
        raise BadURL(PERCENT_ENCODE)
    named = {"username": username, "password": password}
    return {name: unquote(text, errors="strict") for name, text in named.items() if text}


def _host(text: str) -> dict[str, Any]:
    match = HOST.fullmatch(text)
    if not match or not (match["ipv6"] or match["name"].strip(".-_")):
        raise BadURL("it needs a host, optionally with a colon and the number of a port")
    if match["port"] and not 1 <= int(match["port"]) <= 65_535:
        raise BadURL("the port has to be a number from 1 to 65535")
    host = match["ipv6"] or match["name"]
    try:
        host.encode("idna")  # every connection does this
    except UnicodeError:
        raise BadURL("the host is not a valid name") from None
    return {"host": host, "port": int(match["port"] or 6379)}


def _query(query: str, allowed: "dict[str, Option]") -> dict[str, Any]:
    options: dict[str, Any] = {}
    for name, text in parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), errors="strict"):
        if name not in allowed:
            raise BadURL(f"it has an option that is not one of {', '.join(sorted(allowed))}")
        if name in options:
            raise BadURL(f"it has the option {name} twice")
        read, good = allowed[name]
        try:
            options[name] = read(text)
        except (LookupError, ValueError):
            raise BadURL(f"the option {name} has to be {good}") from None
    return options


def _tls_context(options: dict[str, Any]) -> ssl.SSLContext:
    """Return one context for all connections: redis-py makes one for each, which blocks the event loop for 40 ms."""
    try:
        return _make_tls_context(**{name.removeprefix("ssl_"): value for name, value in options.items()})
    except Exception as error:
        reason = getattr(error, "reason", None) or type(error).__name__
        what = "an environment variable such as SSLKEYLOGFILE, or"  # OpenSSL has variables of its own
        raise BadURL(f"TLS does not accept {what} the options {', '.join(options) or '(none)'} ({reason})") from None


def _make_tls_context(
    cert_reqs: ssl.VerifyMode = ssl.CERT_REQUIRED,
    check_hostname: bool = True,
    include_verify_flags: Iterable[ssl.VerifyFlags] = (),
    exclude_verify_flags: Iterable[ssl.VerifyFlags] = (),
    certfile: str | None = None,
    keyfile: str | None = None,
    password: str = "",  # not None: OpenSSL would ask the terminal for the password of an encrypted key
    ca_certs: str | None = None,
    ca_path: str | None = None,
    ca_data: str | None = None,
    min_version: ssl.TLSVersion | None = None,
    ciphers: str | None = None,
) -> ssl.SSLContext:
    """Return a context for options as redis-py understands them."""
    context = ssl.create_default_context()
    context.check_hostname = check_hostname and cert_reqs != ssl.CERT_NONE
    context.verify_mode = cert_reqs
    for flag in include_verify_flags:
        context.verify_flags |= flag
    for flag in exclude_verify_flags:
        context.verify_flags &= ~flag
    if certfile or keyfile:
        context.load_cert_chain(certfile, keyfile, password)  # type: ignore[arg-type] # None is refused here
    if ca_certs or ca_path or ca_data:
        context.load_verify_locations(ca_certs, ca_path, ca_data)
    if min_version:
        context.minimum_version = min_version
    if ciphers:
        context.set_ciphers(ciphers)
    return context


# The allowed options. redis-py's other options take an object, or would break a promise of this store.


def _matching(pattern: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError
        return text

    return read


def _number(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        number = int(_matching("[0-9]{1,9}")(text))
        if not least <= number <= most:
            raise ValueError
        return number

    return read


def _seconds(text: str) -> float:
    seconds = float(_matching(r"[0-9]{1,5}(\.[0-9]{1,9})?")(text))
    if not seconds:
        raise ValueError
    return seconds


def _switch(text: str) -> bool:
    return SWITCH[text.lower()]


def _file(text: str) -> str:
    if not (os.path.isfile(text) and os.access(text, os.R_OK)):
        raise ValueError
    return text


def _folder(text: str) -> str:
    if not os.path.isdir(text):
        raise ValueError
    return text


def _verify_flags(text: str) -> list[ssl.VerifyFlags]:
    return [ssl.VerifyFlags[name.strip()] for name in text.strip("[]").split(",")]


Option = tuple[Callable[[str], Any], str]  # reads the text, or raises ValueError or LookupError; describes good values
TEXT: Option = (_matching(".+"), "text that is not empty")
SECONDS: Option = (_seconds, "a number of seconds above 0")
FILE: Option = (_file, "the path of a file that this process can read")
FLAGS: Option = (_verify_flags, "a list of names of ssl.VerifyFlags, such as VERIFY_X509_STRICT")

OPTIONS: dict[str, Option] = {
    "db": (_number(0, 2**31 - 1), "the number of a database"),
    "username": TEXT,
    "password": TEXT,
    "client_name": (_matching("[!-~]+"), "a name of ASCII characters without spaces"),
    "max_connections": (_number(1, 100_000), "a number from 1 to 100000"),
    "socket_timeout": SECONDS,
    "socket_connect_timeout": SECONDS,
    "socket_keepalive": (_switch, "true or false"),
    "socket_read_size": (_number(1, 2**24), "a number of bytes from 1 to 16777216"),
    "health_check_interval": (_number(0, 86_400), "a number of seconds from 0 to 86400"),
    "protocol": ({"2": 2, "3": 3}.__getitem__, "2 or 3"),
}
TLS_OPTIONS: dict[str, Option] = {
    "ssl_ca_certs": FILE,
    "ssl_ca_data": TEXT,
    "ssl_certfile": FILE,
    "ssl_keyfile": FILE,
    "ssl_cert_reqs": (CERTIFICATES.__getitem__, "none, optional or required"),
    "ssl_check_hostname": (_switch, "true or false"),
    "ssl_ciphers": TEXT,
    "ssl_min_version": (TLS_VERSIONS.__getitem__, "771 (TLS 1.2) or 772 (TLS 1.3)"),
    "ssl_include_verify_flags": FLAGS,
    "ssl_exclude_verify_flags": FLAGS,
    "ssl_ca_path": (_folder, "the path of a folder"),
    "ssl_password": TEXT,
}
