"""What a person does on the chat page, and where its parts are."""

from playwright.sync_api import Locator, Page, expect

CALCULATION = [
    {"reasoning": "I had better calculate 🧮 that.\n\nPlainly."},
    {"tool_call": {"name": "calculate", "arguments": {"expression": "12 * (3 + 4)"}}},
]


def say(page: Page, message: str) -> None:
    page.fill("#message", message)
    page.press("#message", "Enter")


def expect_connected(page: Page) -> None:
    expect(page.locator("#connection")).to_have_attribute("data-state", "connected", timeout=60_000)


def runs(page: Page, status: str) -> Locator:
    return page.locator(f'.run[data-status="{status}"]')


def text_of(page: Page, kind: str) -> Locator:
    part = ".arguments " if kind == "tool_use" else ""
    return page.locator(f'.item[data-type="{kind}"] {part}.text')


def unfold(page: Page) -> None:
    """Show what the agent did on the way to its answer."""
    page.get_by_role("button", name="Worked").click()


def copy_with(page: Page, button: Locator) -> str:
    """Press a button that copies, and return what it has copied once it says so, which it does for a moment only."""
    button.evaluate("""(button) => {
        window.copied = new Promise((done) => new MutationObserver(() => button.textContent === "Copied" && done(true))
            .observe(button, { childList: true, characterData: true, subtree: true }));
    }""")
    button.click()
    assert page.evaluate("copied")
    return page.evaluate("navigator.clipboard.readText()")


def words(page: Page) -> str:
    """All that the conversation says, once the server has rendered what is in sight."""
    expect(page.locator('.item[data-rendering="wanted"]:visible')).to_have_count(0)
    return page.locator("#transcript").inner_text()
