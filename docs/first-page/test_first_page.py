"""The first page. `client_with` makes a client whose session holds what you choose."""

from tests.support import BROWSER, HTMX, ClientWith


async def test_the_page_shows_the_note_and_stores_a_new_one(client_with: ClientWith) -> None:
    client = await client_with(note="Chosen by the test.")
    assert 'value="Chosen by the test."' in (await client.get("/")).text
    saved = await client.post("/", data={"note": "New."})
    assert (saved.status_code, saved.headers["location"]) == (303, "/")
    assert 'value="New."' in (await client.get("/")).text


async def test_htmx_gets_the_word_for_the_place_beside_the_button(client_with: ClientWith) -> None:
    client = await client_with()
    saved = await client.post("/", data={"note": "New."}, headers=HTMX)
    assert (saved.status_code, saved.text) == (200, "Saved")
    assert 'value="New."' in (await client.get("/")).text


async def test_a_text_that_is_too_long_comes_back_on_an_error_page(client_with: ClientWith) -> None:
    client = await client_with(note="kept")
    refused = await client.post("/", data={"note": "x" * 1_001}, headers=BROWSER)
    assert (refused.status_code, "x" * 1_001 in refused.text) == (413, True)
    assert 'value="kept"' in (await client.get("/")).text
