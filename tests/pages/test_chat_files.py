"""Files in messages: the chat page in a real browser."""

import base64

import pytest
from playwright.sync_api import Page, expect

from tests.harness.pages.accessibility import expect_accessible
from tests.harness.pages.chat_page import expect_connected, runs, say

pytestmark = pytest.mark.slow

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAoAAAAKCAIAAAACUFjqAAAAEklEQVR4nGM4ERCABzGMSmNDAFnxjKGGz3oJAAAAAElFTkSuQmCC"
)
PICTURE = {"name": "cat.png", "mimeType": "image/png", "buffer": PNG}
NOTES = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"Milk, bread"}
DROP = """([kind, files]) => {
    const transfer = new DataTransfer();
    for (const { name, type, text, size } of files) {
        transfer.items.add(new File([text ? atob(text) : new Uint8Array(size)].map((part) =>
            typeof part === "string" ? Uint8Array.from(part, (c) => c.charCodeAt(0)) : part), name, { type }));
    }
    const options = { bubbles: true, cancelable: true };
    if (kind === "paste") {
        document.activeElement.dispatchEvent(new ClipboardEvent(kind, { ...options, clipboardData: transfer }));
        return;
    }
    const target = document.getElementById("scroller");
    for (const name of ["dragover", "drop"]) {
        target.dispatchEvent(new DragEvent(name, { ...options, dataTransfer: transfer }));
    }
}"""


def give(page: Page, *files: dict, by: str = "drop") -> None:
    """Drop or paste files, given as `set_input_files` takes them; one without `buffer` has `size` zero bytes."""
    described = [
        {"name": file["name"], "type": file.get("mimeType", ""), "size": file.get("size", 0)}
        | {"text": base64.b64encode(file.get("buffer", b"")).decode()}
        for file in files
    ]
    page.evaluate(DROP, [by, described])


def chips(page: Page, status: str = ""):
    return page.locator(f'.upload[data-status="{status}"]' if status else ".upload")


def test_files_are_dropped_and_survive_a_cut_network_and_a_reload(agent, chat):
    who = agent([{"text": "I see."}])
    page = chat(who)
    page.route("**/v1/files", lambda route: route.abort(), times=1)
    give(page, PICTURE, NOTES, {"name": "big.iso", "size": 33 * 2**20})

    expect(chips(page, "refused")).to_contain_text("big.iso")
    expect(chips(page, "refused").locator(".state")).to_have_text("Larger than the limit of 32 MB.")
    expect(chips(page, "uploaded")).to_have_count(1)
    expect(chips(page, "failed").locator(".state")).to_have_text("The upload was interrupted. Try again.")
    say(page, "What is it?")
    expect(page.locator("#problem")).to_contain_text("Not every file was uploaded.")
    expect(page.locator("#message")).to_have_value("What is it?")
    expect_accessible(page)

    page.reload()  # the browser has kept what was not uploaded; what was refused is not offered again
    expect_connected(page)
    expect(chips(page, "uploaded").locator(".name")).to_have_text(["cat.png", "notes.txt"])
    expect(page.locator("#upload-news")).to_have_text("1 file uploaded")
    page.select_option("#agent", who)
    page.get_by_role("button", name="Send").click()
    expect(runs(page, "completed")).to_have_count(1)
    expect(chips(page)).to_have_count(0)
    expect(page.locator("#message")).to_have_value("")

    tab = page.context.new_page()
    tab.goto(page.url)
    for each in (page, tab):
        assert each.locator(".run .attachments > li").all_inner_texts() == ["", "TXT\nnotes.txt\nTXT · 11 B"]
        expect(each.locator(".said")).to_have_text("What is it?")
        expect(each.get_by_role("img", name="cat.png")).to_have_js_property("naturalWidth", 10)


def test_a_picture_opens_large_and_a_deleted_file_is_marked_as_gone(agent, chat, product, open_page):
    page = chat(agent([{"text": "I see."}]))
    page.set_input_files("#file-input", [PICTURE, NOTES])
    expect(chips(page, "uploaded")).to_have_count(2)
    page.press("#message", "Enter")  # files alone are a message
    expect(runs(page, "completed")).to_have_count(1)
    expect(page.locator(".said")).to_be_hidden()
    page.locator(".picture").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="cat.png")).to_be_visible()
    expect(page.get_by_role("link", name="Download", exact=True)).to_have_attribute("download", "cat.png")
    expect_accessible(page)
    page.keyboard.press("Escape")
    expect(page.locator("dialog.picture-dialog")).to_have_count(0)
    expect(page.locator(".picture")).to_be_focused()

    with page.expect_download() as download:
        page.get_by_role("link", name="notes.txt").click()
    assert download.value.path().read_bytes() == NOTES["buffer"]

    page.get_by_role("button", name="Ask again").click()
    expect(page.locator(".run[data-status=completed] .picture")).to_have_count(2)

    for file in product.request("GET", "/v1/files")[1]["data"][:2]:
        product.request("DELETE", f"/v1/files/{file['id']}")
    other = open_page()  # this browser may show what it has in its cache
    other.goto(page.url)
    expect(other.locator(".file.gone .state")).to_have_text(["No longer available"] * 4)
    other.get_by_role("button", name="Ask again").first.click()
    expect(other.locator("#problem")).to_have_text("A file of this message is no longer available.")
    expect(chips(other, "refused").locator(".state")).to_have_text(["No longer available. Add it again."] * 2)


def test_sending_waits_for_uploads(agent, chat):
    page = chat(agent([{"text": "I see."}]))
    held = []
    page.route("**/v1/files", lambda route: held.append(route), times=1)
    give(page, NOTES, by="paste")
    expect(chips(page, "uploading")).to_have_count(1)
    say(page, "What is it?")
    expect(page.locator("#send")).to_have_text("Waiting for files…")
    expect(page.locator("#message")).to_have_value("What is it?")
    page.locator("#message").press_sequentially(" Well?")

    held[0].continue_()
    expect(page.locator(".run[data-run] .said")).to_have_text("What is it? Well?")
    expect(page.get_by_role("link", name="notes.txt")).to_be_visible()
    expect(page.locator("#send")).to_have_text("Send")


def test_files_are_added_and_removed_with_the_keyboard_alone(agent, chat, product):
    page = chat(agent([{"text": "I see."}]), is_new=True)
    page.locator("#message").focus()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Add files")).to_be_focused()
    with page.expect_file_chooser() as chooser:
        page.evaluate("document.title")  # the browser takes the chooser from now on: Playwright does not wait for that
        page.keyboard.press("Enter")
    chooser.value.set_files([PICTURE, NOTES, {"name": "empty.csv", "mimeType": "text/csv", "buffer": b""}])
    expect(page.locator("#message")).to_be_focused()
    expect(chips(page, "uploaded")).to_have_count(2)
    expect(chips(page, "refused").locator(".state")).to_have_text("The file is empty.")
    deleted = []
    page.on("request", lambda request: request.method == "DELETE" and deleted.append(request.url))
    for name in ("empty.csv", "notes.txt", "cat.png"):
        if name != "cat.png":  # after a removal the focus is at the file before
            page.get_by_role("button", name=f"Remove {name}").focus()
        expect(page.get_by_role("button", name=f"Remove {name}")).to_be_focused()
        page.keyboard.press("Enter")
    expect(page.locator("#uploads")).to_be_hidden()
    expect(page.locator("#message")).to_be_focused()
    assert len(deleted) == 2  # of those that were uploaded


def test_a_name_is_text_and_markup_in_a_file_is_never_shown(agent, chat):
    page = chat(agent([{"text": "I see."}]), is_new=True)
    name = "<img src=x onerror=alert(1)>.svg"
    script = "<script>alert(1)</script>"
    page.on("dialog", lambda dialog: pytest.fail(f"A script ran: {dialog.message}"))
    svg = f'<svg xmlns="http://www.w3.org/2000/svg">{script}</svg>'.encode()
    give(
        page,
        {"name": name, "mimeType": "image/png", "buffer": svg},
        {"name": "page.html", "mimeType": "text/html", "buffer": script.encode()},
    )
    expect(chips(page, "uploaded").locator(".name")).to_have_text([name, "page.html"])
    say(page, "Look.")
    expect(runs(page, "completed")).to_have_count(1)

    expect(page.locator(".attachments .name")).to_have_text([name, "page.html"])
    assert page.locator("#transcript :is(img, iframe, object, embed, svg)").count() == 0
    for link in page.locator(".attachments a").all():
        with page.expect_download():
            link.click()
        address = link.get_attribute("href")
        assert (
            page.request.get(f"{page.url.split('/chat')[0]}{address}")
            .headers["content-disposition"]
            .startswith("attachment")
        )
