"""The documented procedure's fifth step, a fault, a rotation, a restore and a proof, by a browser, and what each page looks like."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import Visitor, enter, judge

LOOKS = [(width, scheme) for width in (375, 1440) for scheme in ("light", "dark")]
TEXT = b"Dear Ada, your order of 12 teapots is on its way. " * 200
PAGES = ["/", "/buckets", "/buckets/orders", "/keys", "/live", "/faults", "/bench", "/proof", "/sandboxes", "/snapshots"]


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_the_way_from_login_to_metadata_and_through_faults(chromium, interface, width, scheme):
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    visitor = Visitor(page, interface, f"{scheme}-{width}")
    name, key = f"letters-{scheme}-{width}", f"key-{scheme}-{width}"

    enter(page, interface)
    assert "stored here" in page.locator("h1").inner_text()
    visitor.look("overview")

    # the fifth step: a bucket, SSE-KMS with a key, a file, its metadata
    page.get_by_role("link", name="Buckets").click()
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_role("radio", name="SSE-KMS").check()
    page.get_by_label("Key for SSE-KMS").fill(key)
    page.get_by_role("button", name="Make bucket").click()
    assert key in page.get_by_role("status").inner_text()
    page.get_by_label("File", exact=True).set_input_files({"name": "letter.txt", "mimeType": "text/plain", "buffer": TEXT})
    page.get_by_role("button", name="Upload").click()
    page.get_by_role("heading", name="letter.txt").wait_for()
    assert "aws:kms" in page.locator("dl.facts").inner_text() and key in page.locator("dl.facts").inner_text()
    client, drive = page.locator(".hex").all()
    assert "Dear Ada" in client.inner_text() and "Dear Ada" not in drive.inner_text()
    visitor.look("object")
    page.get_by_label("Pages").get_by_role("link", name="Buckets").click()
    visitor.look("buckets")
    page.get_by_role("link", name=name, exact=True).click()
    visitor.look("bucket")

    # the same without encryption: both sides are the same
    page.goto(interface["url"] + "/buckets/public")
    page.get_by_label("File", exact=True).set_input_files({"name": "open.txt", "mimeType": "text/plain", "buffer": TEXT})
    page.get_by_role("button", name="Upload").click()
    page.get_by_role("heading", name="not encrypted").wait_for()
    client, drive = page.locator(".hex").all()
    assert "Dear Ada" in client.inner_text() and "44 65 61 72 20 41 64 61" in drive.inner_text().replace("\n", " ")
    visitor.look("object-in-clear")

    # a snapshot, a rotation, the way back
    page.get_by_role("link", name="Snapshots").click()
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_role("button", name="Take snapshot").click()
    assert name in page.get_by_role("status").inner_text()
    visitor.look("snapshots")
    page.get_by_role("link", name="Keys").click()
    visitor.look("keys")
    page.get_by_label("Key to replace").select_option(key)
    page.get_by_label("Key that replaces it").fill(f"new-{key}")
    page.get_by_role("button", name="Replace key").click()
    assert f"replaces {key}" in page.get_by_role("status").inner_text()
    page.get_by_role("button", name=f"Delete key new-{key}", exact=True).click()
    assert f"'new-{key}'" in page.locator("main").inner_text()
    visitor.trouble.clear()  # the browser reports the refusal, too
    visitor.look("refused")
    page.get_by_role("link", name="Back").click()
    page.get_by_role("link", name="Snapshots").click()
    card = page.get_by_role("region", name=name, exact=True)
    card.get_by_role("textbox").fill(name)
    card.get_by_role("button", name="Restore").click()
    assert "is restored" in page.get_by_role("status").inner_text()
    page.goto(f"{interface['url']}/buckets/{name}/object?name=letter.txt")
    assert key in page.locator("dl.facts").inner_text()

    # a fault and its healing, as applications see it
    page.get_by_role("link", name="Faults").click()
    page.get_by_role("button", name="Try now").click()
    page.get_by_text("works").first.wait_for()
    page.goto(interface["url"] + "/faults")
    page.get_by_role("button", name="Begin kes-deny").click()
    page.get_by_text("fails").first.wait_for()
    visitor.look("faults")
    page.get_by_role("button", name="Heal now").click()
    assert "is healed" in page.get_by_role("status").inner_text()
    page.get_by_role("button", name="Try now").click()
    assert page.locator("#tries .tag").first.inner_text() == "works"

    page.get_by_role("link", name="Proof").click()
    page.get_by_label("Bucket").select_option("orders")
    page.get_by_role("button", name="Prove").click()
    page.get_by_role("heading", name="Proven").wait_for()
    visitor.look("proof")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the evidence").click()
    assert download.value.suggested_filename == "shop-evidence.json"

    # what encryption costs, as bars that also say it in words
    page.get_by_role("link", name="Bench").click()
    page.get_by_label("Sizes of objects").fill("4KiB,64KiB")
    page.get_by_label("Clients").fill("4")
    page.get_by_label("Seconds for each size").fill("3")
    page.get_by_role("button", name="Measure").click()
    assert "Measured" in page.get_by_role("status").inner_text()
    chart = page.get_by_role("img", name="Objects of 64KiB in a second")
    assert "SSE-KMS" in chart.get_attribute("aria-label")
    assert chart.locator("rect.kms").count() == 3 and page.locator("tbody tr").count() == 18
    visitor.look("bench")

    page.get_by_role("link", name="Sandboxes").click()
    page.get_by_label("Name", exact=True).fill(f"test-{scheme}-{width}")
    page.get_by_role("button", name="Make sandbox").click()
    assert "AWS_SECRET_ACCESS_KEY" in page.locator("#variables").inner_text()
    page.goto(interface["url"] + "/sandboxes")
    visitor.look("sandboxes")
    page.get_by_role("button", name=f"Drop sandbox test-{scheme}-{width}").click()
    assert "was deleted" in page.get_by_role("status").inner_text()

    page.get_by_role("link", name="Live").click()
    page.get_by_text("/v1/key/decrypt/").first.wait_for()
    visitor.look("live")

    # what the first page weighs, and how soon there is something to see
    answers = []
    page.on("response", lambda response: answers.append(response))
    page.goto(interface["url"])
    page.wait_for_load_state("networkidle")
    weights = [len(answer.body()) for answer in answers]
    paints = sorted(visitor.paints)
    print(f"\n{width} px, {scheme}: the overview weighs {sum(weights)} bytes in {len(weights)} answers; "
          f"first paint after {paints[len(paints) // 2]:.0f} ms (median of {len(paints)})")
    assert sum(weights) <= 100_000 and len(weights) <= 5
    assert len(visitor.looked) == 13
    page.goto(f"{interface['url']}/buckets/{name}")
    page.get_by_label("With all objects and versions").check()
    page.get_by_role("button", name="Delete bucket").click()
    assert "was deleted" in page.get_by_role("status").inner_text()
    context.close()


def test_pages_can_be_read_and_used_without_a_script(chromium, interface):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    enter(page, interface)
    for path in PAGES:
        page.goto(interface["url"] + path)
        assert page.locator("h1").count() == 1, path
    page.goto(interface["url"] + "/buckets")
    page.get_by_label("Name", exact=True).fill("no-script")
    page.get_by_role("button", name="Make bucket").click()
    page.get_by_label("File", exact=True).set_input_files({"name": "a.txt", "mimeType": "text/plain", "buffer": TEXT})
    page.get_by_role("button", name="Upload").click()
    assert "Stored" in page.get_by_role("status").inner_text()
    context.close()


def test_the_keyboard_is_enough(chromium, interface):
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    enter(page, interface)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.goto(interface["url"] + "/keys")
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "name":
            break
    page.keyboard.type("typed-key")
    page.keyboard.press("Enter")
    assert "typed-key" in page.get_by_role("status").inner_text()
    focus = "getComputedStyle(document.activeElement).outlineStyle"
    page.keyboard.press("Tab")
    assert page.evaluate(focus) != "none", "one sees where one is"
    context.close()


@pytest.mark.parametrize("width", [375, 768, 1024, 1920])
def test_pages_fit_every_screen(chromium, interface, width):
    context = chromium.new_context(viewport={"width": width, "height": 900})
    page = context.new_page()
    enter(page, interface)
    for path in PAGES:
        page.goto(interface["url"] + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    context.close()


def test_a_form_that_was_stopped_can_be_sent_again(chromium, interface):
    context = chromium.new_context()
    page = context.new_page()
    enter(page, interface)
    page.goto(interface["url"] + "/proof")
    # what a press says to the script, without an answer that takes the page away
    press = "document.querySelector('main form').dispatchEvent(new Event('submit', { cancelable: true }))"
    busy = "document.querySelectorAll('form[aria-busy]').length"
    assert page.evaluate(press) and page.evaluate(busy) == 1
    assert not page.evaluate(press), "pressed twice"
    page.keyboard.press("Escape")
    assert page.evaluate(busy) == 0
    deadline = time.monotonic() + 30
    while not page.evaluate(press):
        assert time.monotonic() < deadline, "it cannot be sent again"
        time.sleep(0.1)
    context.close()


def test_what_a_screen_reader_says_of_tries_is_their_outcome(chromium, interface):
    context = chromium.new_context()
    page = context.new_page()
    enter(page, interface)
    page.goto(interface["url"] + "/faults")
    page.get_by_role("button", name="Begin kes-deny").click()
    said = page.locator("[aria-live]")
    said.get_by_text("The newest try fails.").wait_for(state="attached")
    assert said.count() == 1 and page.locator("#tries[aria-live]").count() == 0
    page.get_by_role("button", name="Heal now").click()
    page.get_by_role("button", name="Try now").click()
    said.get_by_text("The newest try works.").wait_for(state="attached")
    context.close()


def test_a_link_on_another_site_leads_to_the_page(chromium, interface):
    class Site(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(f'<a href="{interface["link"]}">the log of a container</a>'.encode())

        def log_message(self, *_):
            pass

    site = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    context = chromium.new_context()
    page = context.new_page()
    # for browsers that is another site than 127.0.0.1
    page.goto(f"http://localhost:{site.server_port}/")
    page.get_by_role("link", name="the log of a container").click()
    page.get_by_role("navigation", name="Pages").wait_for()
    assert page.url == interface["url"] + "/"
    context.close()
    site.shutdown()


def test_strangers_see_only_how_to_come_in(chromium, interface):
    context = chromium.new_context()
    page = context.new_page()
    start = time.monotonic()
    page.goto(interface["url"] + "/keys")
    assert "kestack ui" in page.locator("main").inner_text() and "shop" not in page.content()
    assert not judge(page)
    enter(page, interface)
    assert page.locator("nav").count() == 1
    other = chromium.new_context().new_page()
    other.goto(interface["link"])
    assert other.locator("nav").count() == 0, "the link works once"
    assert time.monotonic() - start < 60
    context.close()
