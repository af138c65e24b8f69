"""An interface and a browser for each test."""

import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

KESTACK = os.environ["KESTACK_BIN"]
AXE = Path(os.environ["KESTACK_AXE"])
SHOTS = Path(os.environ["KESTACK_PAGE_SHOTS"])


@pytest.fixture(scope="session")
def chromium():
    with sync_playwright() as playwright:
        path = os.environ.get("KESTACK_CHROMIUM", "/usr/bin/chromium")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def interface(tmp_path):
    """`kestack ui`, as it describes itself: its link works once."""
    said = tmp_path / "said"
    with said.open("w") as output:
        child = subprocess.Popen([KESTACK, "ui", "--output", "json"], stdout=output)
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                record = json.loads(said.read_text())
                break
            except ValueError:
                assert child.poll() is None and time.monotonic() < deadline, "kestack ui does not listen"
                time.sleep(0.05)
        yield record
    finally:
        child.terminate()
        assert child.wait(timeout=60) == 0


def enter(page, interface):
    """By the link, as a click on it in a terminal."""
    page.goto(interface["link"], wait_until="commit")
    page.wait_for_url(interface["url"] + "/")


class Visitor:
    """A page with somebody who looks closely: at every page for axe's rules, layout and strange hosts."""

    def __init__(self, page, interface, name):
        self.page, self.url, self.name = page, interface["url"], name
        self.paints, self.looked, self.trouble = [], [], []
        page.set_default_timeout(30_000)
        page.add_init_script("""window.shifts = 0;
            new PerformanceObserver((list) => { for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifts += entry.value; })
                .observe({ type: "layout-shift", buffered: true });""")
        page.on("console", lambda message: self.trouble.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.trouble.append(str(error)))
        page.on("request", lambda request: None if request.url.startswith(self.url) else self.trouble.append(request.url))

    def look(self, name):
        """The page that is shown has no fault, and its picture is kept."""
        page = self.page
        page.wait_for_load_state("load")
        overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert overflow <= 0, f"{name} is {overflow} px wider than the screen"
        shifts = page.evaluate("window.shifts")
        assert shifts < 0.01, f"{name}: what was shown moved by {shifts}"
        paints = page.evaluate("performance.getEntriesByName('first-contentful-paint').map(paint => paint.startTime)")
        self.paints += paints
        SHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SHOTS / f"{self.name}-{name}.png", full_page=True)
        # by the tool's own world: the page's policy allows no script of others
        violations = judge(page)
        assert not violations, f"{name}: {violations}"
        self.looked.append(name)
        assert not self.trouble, f"{name}: {self.trouble}"


def judge(page):
    """What axe-core finds, in short."""
    page.evaluate(AXE.read_text() + "; undefined")
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [
        (one["id"], [(node["target"], node["failureSummary"]) for node in one["nodes"][:3]]) for one in found["violations"]
    ]
