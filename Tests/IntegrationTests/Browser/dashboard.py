#!/usr/bin/env python3
# clipbridge
# SPDX-License-Identifier: Apache-2.0
"""Drives the dashboard of a running bridge with headless Chromium.

Usage: dashboard.py URL SANDBOX_SETTINGS [CHECK...]

The admin token comes from CLIPBRIDGE_ADMIN_TOKEN; SANDBOX_SETTINGS is the file of NAME=value lines that `clipbridge
sandbox` prints, and its webhooks must go to the bridge. Needs playwright and axe-playwright-python from PyPI and
/usr/bin/chromium. Pictures of the pages go to the folder that CLIPBRIDGE_TEST_SCREENSHOTS names, if it names one. One
line is written for each check; the exit code is 1 if any failed.
"""

import concurrent.futures
import json
import os
import re
import sys
import time
import traceback
import urllib.error
import urllib.parse
import urllib.request

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

URL = sys.argv[1].rstrip("/")
with open(sys.argv[2]) as file:
    SANDBOX = dict(line.rstrip("\n").split("=", 1) for line in file if "=" in line)
TOKEN = os.environ["CLIPBRIDGE_ADMIN_TOKEN"]
PICTURES = os.environ.get("CLIPBRIDGE_TEST_SCREENSHOTS")
CHROMIUM = "/usr/bin/chromium"
HOST = urllib.parse.urlsplit(URL).netloc
CLIPS = 10_000
ROWS_MAX = 100
LONG_TASK_MAX = 200
PATIENCE = 60_000

expect.set_options(timeout=PATIENCE)


def call(url, body=None, token=TOKEN):
    request = urllib.request.Request(url, json.dumps(body).encode() if body is not None else None)
    request.add_header("Authorization", f"Bearer {token}")
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def upload(name, **meta):
    """Has the sandbox make a video; its uid."""
    base = f"{SANDBOX['CLOUDFLARE_API_BASE']}/accounts/{SANDBOX['CLOUDFLARE_ACCOUNT_ID']}/stream/copy"
    answer = call(base, {"url": "sample:3MB", "meta": {"name": name, **meta}}, SANDBOX["CLOUDFLARE_API_TOKEN"])
    return answer["result"]["uid"]


def wait_for_status(uid, status):
    end = time.monotonic() + PATIENCE / 1000
    while time.monotonic() < end:
        try:
            if call(f"{URL}/api/clips/{uid}")["status"] == status:
                return
        except urllib.error.HTTPError as error:
            assert error.code == 404, error
        time.sleep(0.1)
    raise AssertionError(f"clip {uid} did not come to {status}")


class Watch:
    """Takes down what a page does that it should not."""

    def __init__(self, page):
        self.page = page
        self.complaints = []
        page.on("console", lambda message: message.type == "error" and self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self.check_host)

    def check_host(self, request):
        if urllib.parse.urlsplit(request.url).netloc != HOST:
            self.complaints.append(f"request to {request.url}")


def log_in(page, path="/"):
    page.goto(URL + path)
    page.get_by_label("Admin token").fill(TOKEN)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("button", name="Log out")).to_be_visible()


def row(page, uid):
    return page.locator(f'#rows tr[data-uid="{uid}"]')


def picture(page, name):
    if PICTURES:
        os.makedirs(PICTURES, exist_ok=True)
        page.screenshot(path=os.path.join(PICTURES, f"{name}.png"), full_page=True)


CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


@check
def wrong_token_is_refused(browser):
    page = browser.new_page()
    page.goto(URL + "/")
    assert "/login" in page.url
    page.get_by_label("Admin token").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("not the admin token")
    assert page.context.cookies() == []


@check
def clips_move_without_reload(browser):
    page = browser.new_page()
    watch = Watch(page)
    log_in(page)
    expect(page.locator("#live")).to_have_text("Live")
    page.evaluate("window.isSamePage = true")
    uids = [upload(f"Moving clip {number}") for number in range(4)]
    seen = set()
    for uid in uids:
        status = row(page, uid).locator("[data-f=status]")
        expect(status).to_be_visible()
        seen.add(status.text_content())
    for uid in uids:
        expect(row(page, uid).locator("[data-f=status]")).to_have_text("complete")
        expect(row(page, uid).locator("[data-f=percent]")).to_have_text("100 %")
    assert seen - {"complete"}, f"nothing moved: {seen}"
    expect(page.locator("[data-count=complete]")).not_to_have_text("0")
    assert page.evaluate("window.isSamePage") is True
    assert row(page, uids[0]).locator(".title").text_content() == "Moving clip 0"
    assert watch.complaints == [], watch.complaints


@check
def clips_are_filtered_and_searched(browser):
    bad = upload("Broken one", sandbox_error="ERR_MALFORMED_VIDEO")
    good = upload("Needle in the hay")
    wait_for_status(bad, "error")
    wait_for_status(good, "complete")
    page = browser.new_page()
    watch = Watch(page)
    log_in(page)
    page.get_by_label("Status", exact=True).select_option("error")
    page.get_by_role("button", name="Find").click()
    expect(page).to_have_url(f"{URL}/?status=error&q=")
    expect(row(page, bad)).to_be_visible()
    expect(row(page, good)).to_have_count(0)
    page.goto(URL + "/")
    for words in ("needle IN", good[:9], good):
        page.get_by_label("Uid or name").fill(words)
        page.get_by_role("button", name="Find").click()
        expect(row(page, good)).to_be_visible()
        expect(row(page, bad)).to_have_count(0)
    page.get_by_role("link", name="complete").first.click()
    expect(row(page, good)).to_be_visible()
    assert watch.complaints == [], watch.complaints


@check
def failed_clip_is_retried_from_its_page(browser):
    uid = upload("To be retried", sandbox_error="ERR_MALFORMED_VIDEO")
    wait_for_status(uid, "error")
    page = browser.new_page()
    watch = Watch(page)
    log_in(page, f"/clips/{uid}")
    expect(page.get_by_role("heading", level=1)).to_have_text("To be retried")
    before = page.locator(".timeline tbody tr").count()
    assert before >= 1, before
    assert page.locator(".deliveries li").count() >= 1
    page.locator(".deliveries summary").first.click()
    expect(page.locator(".deliveries pre").first).to_contain_text(uid)
    page.get_by_role("button", name="Retry").click()
    expect(page.get_by_role("status").first).to_contain_text("goes on where it failed")
    # The retry's own entry and what Cloudflare says then come over the stream.
    expect(page.locator(".timeline").get_by_text("retry").first).to_be_visible()
    page.get_by_role("button", name="Replay").first.click()
    expect(page.get_by_role("status").first).to_contain_text("fed through again")
    # Its time in the status that it failed in; the one that it ends in takes no more.
    expect(page.locator("svg.strip rect").first).to_be_attached()
    assert watch.complaints == [], watch.complaints


@check
def pages_read_well_without_scripts(browser):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    watch = Watch(page)
    log_in(page)
    assert page.locator("#rows tr").count() > 0
    assert page.locator(".health dd").count() == 6
    page.locator("#rows a").first.click()
    expect(page.get_by_role("heading", name="Timeline")).to_be_visible()
    page.get_by_role("link", name="Delivery").first.click()
    expect(page.locator("pre")).to_contain_text("uid")
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_text("You are logged out.")).to_be_visible()
    page.goto(URL + "/")
    assert "/login" in page.url
    assert watch.complaints == [], watch.complaints


def findings(page):
    """What axe-core finds that is serious."""
    found = Axe().run(page).response["violations"]
    return [(v["id"], v["nodes"][0]["target"]) for v in found if v["impact"] in ("serious", "critical")]


def pages_are_good(browser, width, scheme):
    context = browser.new_context(viewport={"width": width, "height": 812}, color_scheme=scheme)
    page = context.new_page()
    watch = Watch(page)
    page.goto(URL + "/login")
    names = {"login": None, "list": "/", "clip": None, "delivery": None}
    for name, path in names.items():
        if name == "list":
            log_in(page)
        elif name == "clip":
            uid = next(clip["uid"] for clip in call(f"{URL}/api/clips?status=error")["clips"])
            page.goto(f"{URL}/clips/{uid}")
        elif name == "delivery":
            page.locator(".deliveries a").first.click()
            expect(page.get_by_role("heading", level=1)).to_contain_text("Delivery")
        assert findings(page) == [], f"{name}: {findings(page)}"
        scroll = page.evaluate("document.documentElement.scrollWidth")
        assert scroll <= width, f"{name} is {scroll} wide"
        picture(page, f"{name}-{width}-{scheme}")
    assert watch.complaints == [], watch.complaints


for width in (1440, 375):
    for scheme in ("light", "dark"):

        def pages_are_good_here(browser, width=width, scheme=scheme):
            pages_are_good(browser, width, scheme)

        pages_are_good_here.__name__ = f"pages_are_good_{width}_wide_in_{scheme}"
        check(pages_are_good_here)


@check
def keyboard_reaches_the_content_and_pauses_the_list(browser):
    page = browser.new_page()
    log_in(page)
    page.goto(URL + "/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    pause = page.get_by_role("button", name="Pause")
    pause.focus()
    page.keyboard.press("Space")
    expect(pause).to_have_attribute("aria-pressed", "true")
    uid = upload("While it is paused")
    wait_for_status(uid, "complete")
    expect(row(page, uid)).to_have_count(0)
    page.keyboard.press("Space")
    expect(row(page, uid)).to_be_visible()


def longest_task(trace):
    """In milliseconds of processor time on a page's main thread: what other processes take away is not the page's."""
    events = trace["traceEvents"]
    mains = {(e["pid"], e["tid"]) for e in events if e["ph"] == "M" and e["args"].get("name") == "CrRendererMain"}
    tasks = [e["tdur"] / 1000 for e in events if e.get("tdur") and (e["pid"], e["tid"]) in mains]
    assert len(tasks) > 100, "the trace holds nothing"
    return max(tasks)


@check
def ten_thousand_clips_make_no_stutter(browser):
    page = browser.new_page()
    watch = Watch(page)
    log_in(page)
    expect(page.locator("#live")).to_have_text("Live")
    browser.start_tracing(page=page, categories=["toplevel"])

    def register(number):
        call(f"{URL}/api/clips", {"uid": f"many-{number:05}", "status": "complete"})

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(register, number) for number in range(CLIPS)]
        while not all(job.done() for job in jobs):
            page.wait_for_timeout(100)
        for job in jobs:
            job.result()
    expect(row(page, call(f"{URL}/api/clips?limit=1")["clips"][0]["uid"])).to_be_visible()
    expect(page.locator("[data-count=complete]")).to_have_text(re.compile(r"^\d{5,}$"))
    longest = longest_task(json.loads(browser.stop_tracing()))
    assert longest <= LONG_TASK_MAX, f"a task took {longest} ms"
    assert page.locator("#rows tr").count() == ROWS_MAX
    elements = page.evaluate("document.getElementsByTagName('*').length")
    assert elements < 3000, f"{elements} elements"
    assert watch.complaints == [], watch.complaints


def main():
    failed = 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for function in CHECKS:
            if sys.argv[3:] and function.__name__ not in sys.argv[3:]:
                continue
            try:
                function(browser)
                print(f"ok    {function.__name__}", flush=True)
            except Exception:
                failed += 1
                print(f"FAIL  {function.__name__}\n{traceback.format_exc()[:3000]}", flush=True)
        browser.close()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
