"""Make pictures of pages, in light and dark, on a desktop and on a phone that is 360 pixels wide.

.venv/bin/python -m scripts.screenshots MODULE                 those in MODULE.FOR_THE_README, into docs/screenshots
.venv/bin/python -m scripts.screenshots MODULE FOLDER [WORD]   every state, or those whose name has this word in it

MODULE defines the states of the pages: tests.skeleton.pages, or the module beside the tests of your own pages.
Needs Chromium. The pictures show this machine's fonts. On Debian, fonts-urw-base35 and fonts-inter come close to what
most visitors see.
"""

import itertools
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from playwright.sync_api import sync_playwright

from app.settings import PROJECT
from tests.support import CHROMIUM_OPTIONS, Server, require

LOOKS = ("light", "dark", "forced")  # "forced" stands for a contrast theme of Windows
SIZES = {"desktop": (1280, 760, 1), "phone": (360, 740, 2)}  # width, height in CSS pixels; device pixels per CSS pixel

if len(sys.argv) < 2:
    sys.exit(__doc__)
states = import_module(sys.argv[1])
folder = Path(sys.argv[2]) if len(sys.argv) > 2 else PROJECT / "docs/screenshots"
word = "".join(sys.argv[3:])
everything = [f"{state}-{look}-{size}" for state in states.STATES for look in LOOKS for size in SIZES]
wanted = {name for name in everything if word in name} if len(sys.argv) > 2 else set(states.FOR_THE_README)

folder.mkdir(parents=True, exist_ok=True)
with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
    server = Server(Path(place), app=getattr(states, "APP", "app.main:app"), environment=states.ENVIRONMENT).start()
    browser = playwright.chromium.launch(executable_path=require("chromium"), args=CHROMIUM_OPTIONS)
    for state, (size, (width, height, scale)) in itertools.product(states.STATES, SIZES.items()):
        looks = [look for look in LOOKS if f"{state}-{look}-{size}" in wanted]
        if not looks:
            continue
        page = browser.new_page(
            base_url=server.url, viewport={"width": width, "height": height}, device_scale_factor=scale
        )
        for _ in states.STATES[state](page, server):
            page.wait_for_timeout(200)  # an animation takes 150 ms
            for look in looks:
                page.emulate_media(
                    color_scheme="dark" if look == "dark" else "light",
                    forced_colors="active" if look == "forced" else "none",
                )
                page.screenshot(path=folder / f"{state}-{look}-{size}.png")
        page.close()
    browser.close()
    server.close()
