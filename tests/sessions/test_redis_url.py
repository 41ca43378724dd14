"""An unusable URL is refused at the start, with a message that shows no part of it."""

import asyncio
import inspect
import socket
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.connection import URL_QUERY_ARGUMENT_PARSERS, ConnectionPool, SSLConnection

from app.sessions.redis import RedisStore
from app.sessions.redis_url import OPTIONS, SCHEMES, TLS_OPTIONS, parse
from tests.support import require

pytestmark = pytest.mark.full

TLS_SCHEMES = [scheme for scheme in SCHEMES if scheme.startswith(("rediss", "valkeys"))]
SECRET = "s3cretWord"
PARTS_THAT_CANNOT_WORK = {
    "host": ["", ":6379", "a..b", "-", ".", "a b", "a\tb", "a" * 64, "[::1", "::1]", "[x]", "[::1]x", "a%20b", "a[b]"],
    "port": ["0", "65536", "-1", "port", "6379x", "99999999999999999999", "6379:6379", "６３７９"],
    "path": ["name", "-1", "0/1", "0/", "99999999999", "1.5", "%30", "٣", "../0", "0#fragment", " 0"],
    "user": ["a@b", "a/b", "a?b", "a#b", "a b", "%ff", "a\nb", "\udcff"],
    "password": ["a@b", "a:b", "a/b", "a?b", "a#b", "a b", "1/2", "1?2", "1#2", "/", "%ff", "a\x00b", "\udcff"],
}
TEMPLATES = {
    "host": "{scheme}://{part}",
    "port": "{scheme}://localhost:{part}/0",
    "path": "{scheme}://localhost/{part}",
    "user": "{scheme}://{part}:s3cretWord@localhost:6379/0",
    "password": "{scheme}://me:s3cretWord{part}s3cretWord@localhost:6379/0",
}
WRONG = ["", "x", "-1", "1.5x", "nan", "inf", "-inf", "1e999", "1_0", "٣", "0x1", "99999999999999999999", "None", "%ff"]
WRONG += ["/no/such/file", "[]", "True,", "%00", "CERT_NONE", "a b"]
NOT_TEXT = ("", "%ff", "a b")  # a space is never allowed in a URL
NOT_A_NAME = (*NOT_TEXT, "٣", "%00")
RIGHT = {(name, value) for name in ("username", "password") for value in WRONG if value not in NOT_TEXT}
RIGHT |= {("client_name", value) for value in WRONG if value not in NOT_A_NAME}


@pytest.fixture(autouse=True)
def no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_: object) -> None:
        raise AssertionError("the constructor connects")

    monkeypatch.setattr(socket.socket, "connect", connect)


def refusal(url: str) -> str:
    with pytest.raises(ValueError, match=r"\w") as error:
        RedisStore(url)
    assert error.value.__cause__ is None
    assert error.value.__context__ is None, "a traceback would show more"
    return str(error.value)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("kind", PARTS_THAT_CANNOT_WORK)
def test_an_unusable_part_of_a_url_is_refused_and_not_shown(scheme: str, kind: str) -> None:
    for part in PARTS_THAT_CANNOT_WORK[kind]:
        message = refusal(TEMPLATES[kind].format(scheme=scheme, part=part))
        for piece in (SECRET, SECRET.lower(), *([part] if len(part) > 4 else [])):
            assert piece not in message, (part, message)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("character", "@:/?#")
@pytest.mark.parametrize("before", ["s3cretWord", "12", ""], ids=["word", "number", "nothing"])
def test_a_password_that_is_not_percent_encoded_is_recognized(scheme: str, character: str, before: str) -> None:
    for user in ("", "me"):
        message = refusal(f"{scheme}://{user}:{before}{character}s3cretWord@localhost:6379/0")
        assert "percent-encode" in message
        assert "cret" not in message
        assert "12" not in message
    encoded = f"{scheme}://me:{before}%{ord(character):02X}s3cretWord@localhost:6379/0"
    assert parse(encoded).options["password"] == f"{before}{character}s3cretWord"


ALL_OPTIONS = sorted(
    {*URL_QUERY_ARGUMENT_PARSERS, *OPTIONS, *TLS_OPTIONS}
    | {
        name
        for function in (ConnectionPool, *SSLConnection.__mro__[:-1], RedisCluster)
        for name in inspect.signature(function).parameters
    }
)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_option_of_redis_py_with_a_wrong_value_is_refused(scheme: str) -> None:
    assert len(ALL_OPTIONS) > 50
    right = RIGHT | ({("ssl_password", value) for _, value in RIGHT} if scheme in TLS_SCHEMES else set())
    for name in ALL_OPTIONS:
        for value in WRONG:
            url = f"{scheme}://localhost:6379/0?{name}={value}"
            if (name, value) in right:
                _make_connection(RedisStore(url))
            else:
                message = refusal(url)
                assert len(value) < 5 or value not in message, url


def _make_connection(store: RedisStore) -> None:
    client: Any = store._client
    if isinstance(client, RedisCluster):
        client.startup_nodes[0].acquire_connection()
    else:
        client.connection_pool.make_connection()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_option_that_is_unknown_or_given_twice_is_refused_and_not_shown(scheme: str) -> None:
    for query in (f"{SECRET}=1", f"{SECRET}", "=", "&", f"db=0&{SECRET}", "db=0&db=0", f"password={SECRET}&db=x"):
        message = refusal(f"{scheme}://localhost/?{query}")
        assert SECRET not in message
    if scheme.endswith("+cluster"):
        assert "only database 0" in refusal(f"{scheme}://localhost/1")
    assert "protocol has to be 2 or 3" in refusal(f"{scheme}://localhost/?protocol=4")


@pytest.mark.parametrize("scheme", TLS_SCHEMES)
def test_ssl_cert_reqs_takes_only_its_documented_values(scheme: str) -> None:
    message = refusal(f"{scheme}://127.0.0.1:1/0?ssl_cert_reqs=CERT_NONE")
    assert "ssl_cert_reqs has to be none, optional or required" in message
    _make_connection(RedisStore(f"{scheme}://127.0.0.1:1/0?ssl_cert_reqs=none"))


@pytest.mark.parametrize("scheme", TLS_SCHEMES)
def test_unusable_tls_files_are_refused(scheme: str, tmp_path: Path) -> None:
    garbage, key, encrypted, pem = (tmp_path / name for name in ("garbage", "key", "encrypted", "pem"))
    garbage.write_text("no certificate")
    request = [require("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-days", "2", "-subj", "/CN=x"]
    subprocess.run([*request, "-keyout", str(key), "-out", str(pem), "-nodes"], check=True, capture_output=True)
    cipher = ["openssl", "rsa", "-aes256", "-passout", f"pass:{SECRET}", "-in", str(key), "-out", str(encrypted)]
    subprocess.run(cipher, check=True, capture_output=True)
    for query in (
        f"ssl_ca_certs={tmp_path}/missing",
        f"ssl_ca_certs={tmp_path}",
        f"ssl_ca_certs={garbage}",
        f"ssl_ca_path={tmp_path}/missing",
        "ssl_ca_data=garbage",
        f"ssl_certfile={garbage}",
        f"ssl_certfile={tmp_path}/missing&ssl_keyfile={key}",
        f"ssl_keyfile={tmp_path}/missing&ssl_certfile={pem}",
        f"ssl_certfile={pem}",
        f"ssl_keyfile={key}",
        f"ssl_certfile={pem}&ssl_keyfile={encrypted}",  # must not ask the terminal for a password
        f"ssl_certfile={pem}&ssl_keyfile={encrypted}&ssl_password=wrong{SECRET}",
        "ssl_ciphers=no-such-cipher",
        "ssl_min_version=1",
        "ssl_include_verify_flags=[NO_SUCH_FLAG]",
    ):
        message = refusal(f"{scheme}://localhost/?{query}")
        assert query.partition("=")[0] in message
        assert SECRET not in message
        assert str(tmp_path) not in message
    RedisStore(f"{scheme}://localhost/?ssl_ca_certs={pem}&ssl_certfile={pem}&ssl_keyfile={key}")
    RedisStore(f"{scheme}://localhost/?ssl_certfile={pem}&ssl_keyfile={encrypted}&ssl_password={SECRET}")
    options = "ssl_min_version=772&ssl_check_hostname=no&ssl_include_verify_flags=[VERIFY_X509_STRICT]"
    RedisStore(f"{scheme}://localhost/?{options}")


def good_urls() -> Iterator[str]:
    for scheme in SCHEMES:
        for host in (
            "localhost",
            "LOCALHOST:6379",
            "redis_1.example.org.",
            "10.0.0.1:1",
            "[::1]:65535",
            "bücher.example",
        ):
            yield f"{scheme}://{host}"
        for start in ("", "me@", ":pass@", "me:@", "me:p%40%3a%2F%3F%23@", "me:p%ss*!$&'()+,;=-._~[]@"):
            yield f"{scheme}://{start}localhost:6379/0"
        yield f"{scheme}://localhost:/"
        yield f"{scheme}://localhost/0?socket_timeout=1.5&max_connections=3&protocol=3&client_name=app-1"
        yield f"{scheme}://localhost/0?health_check_interval=0&socket_keepalive=No&socket_read_size=4096&username=a"


def test_the_error_names_an_unusable_variable_of_openssl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", "/no/such/folder/keys")
    assert "SSLKEYLOGFILE" in refusal("rediss://localhost")


def test_good_urls_are_accepted() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for url in good_urls():
            _make_connection(RedisStore(url))
    assert parse("redis://me:p%40ss@host:1/2?max_connections=3").options == {
        "username": "me",
        "password": "p@ss",
        "host": "host",
        "port": 1,
        "db": 2,
        "max_connections": 3,
    }


async def test_a_store_can_be_made_inside_an_event_loop() -> None:
    RedisStore("redis+cluster://localhost")
    await asyncio.sleep(0)
