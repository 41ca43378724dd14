"""The first page. `client_with` makes a client whose session holds what you choose."""

from tests.support import ClientWith


async def test_the_page_shows_the_note_and_stores_a_new_one(client_with: ClientWith) -> None:
    client = await client_with(note="Chosen by the test.")
    assert 'value="Chosen by the test."' in (await client.get("/")).text
    saved = await client.post("/", data={"note": "New."})
    assert (saved.status_code, saved.headers["location"]) == (303, "/")
    assert 'value="New."' in (await client.get("/")).text
