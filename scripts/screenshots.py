"""Make pictures of the pages, in light and dark, on a desktop and on a phone that is 360 pixels wide.

.venv/bin/python -m scripts.screenshots                 the few that the README shows, into docs/screenshots
.venv/bin/python -m scripts.screenshots FOLDER [WORD]   every state, or those whose name has this word in it

Needs Chromium. The letters are those of the machine: on Debian, fonts-urw-base35 and fonts-inter come near to what most
visitors see.
"""

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from app.settings import PROJECT
from tests.quote.pages import STATES
from tests.support import CHROMIUM_OPTIONS, Server, require

FOR_THE_README = ["quote-light-desktop", "quote-dark-desktop", "manage-light-phone", "quote-error-dark-phone"]
LOOKS = ("light", "dark", "forced")  # the last is what a contrast theme of Windows does
SIZES = {"desktop": (1280, 760, 1), "phone": (360, 740, 2)}  # width and height in CSS pixels, pixels for each

folder = Path(sys.argv[1]) if len(sys.argv) > 1 else PROJECT / "docs/screenshots"
word = "".join(sys.argv[2:])
everything = {f"{state}-{look}-{size}": (state, look, size) for state in STATES for look in LOOKS for size in SIZES}
wanted = [name for name in everything if word in name] if len(sys.argv) > 1 else FOR_THE_README

folder.mkdir(parents=True, exist_ok=True)
with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
    server = Server(Path(place), environment={"DESTROY_DELAY": "3", "LITESTAR_DEBUG": "1"}).start()
    browser = playwright.chromium.launch(executable_path=require("chromium"), args=CHROMIUM_OPTIONS)
    for name in wanted:
        state, look, size = everything[name]
        width, height, scale = SIZES[size]
        page = browser.new_page(
            base_url=server.url,
            viewport={"width": width, "height": height},
            device_scale_factor=scale,
            color_scheme="dark" if look == "dark" else "light",
            forced_colors="active" if look == "forced" else "none",
        )
        for _ in STATES[state](page, server):
            page.wait_for_timeout(400)  # for what appears or turns
            page.screenshot(path=folder / f"{name}.png")
        page.close()
    browser.close()
    server.close()
