"""A saved text is shown unchanged, code point by code point."""

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.skeleton import sample
from tests.skeleton.sample import HOME, UPDATE
from tests.support import BROWSER, HTMX, TEXT, Server, shown_text

ANY_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=300)


def with_lf(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


@pytest.fixture(scope="module")
def reader(server: Server) -> httpx.Client:
    return sample.visitor(server, "x")


@pytest.mark.parametrize("way", ["text", "form", "post"])
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=ANY_TEXT)
@example("")
@example("\n")
@example("\n\nleading and trailing  \n ")
@example("\r\n\r\r\n\n")
@example("</textarea><script>alert(1)</script><!-- &amp; &lt; {{ 1 }} {% raw %}")
@example("\ufeffbyte order mark, \u2028 \u2029 \x85 \x0b \x0c \x01 \x7f \ufffe \uffff \U0010ffff")
@example("e\u0301 é")
@example("a+b=c&d %41 %")
def test_any_text_is_shown_as_it_was_saved(reader: httpx.Client, way: str, text: str) -> None:
    if way == "text":
        response = reader.put(UPDATE, content=text.encode(), headers=TEXT)
        assert response.content.decode() == with_lf(text)
    elif way == "form":
        response = reader.put(UPDATE, data={"text": text}, headers=HTMX)
    else:
        response = reader.post(UPDATE, data={"text": text}, headers=BROWSER)
    assert response.status_code in (200, 303)
    assert shown_text(reader.get(HOME).text) == with_lf(text)
