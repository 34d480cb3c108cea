"""Signs in by the form, as a browser does."""

import http.cookiejar
import re
import urllib.error
import urllib.parse
import urllib.request

from tests.harness.people import PASSWORD
from tests.harness.product import Product


class FormClient:
    """Cookies and forms of a browser, without the browser."""

    def __init__(self, product: Product) -> None:
        self.product = product
        self.cookies = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))

    def get(self, path: str) -> str:
        return self.opener.open(self.product.url + path, timeout=30).read().decode()

    def post(self, path: str, **fields: str) -> tuple[int, str, str]:
        """Status, address and text of where a form leads."""
        page = self.get("/accounts/login/")
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
        data = urllib.parse.urlencode({"csrfmiddlewaretoken": token[1] if token else "", **fields}).encode()
        request = urllib.request.Request(self.product.url + path, data, {"Origin": self.product.url})
        try:
            with self.opener.open(request, timeout=30) as answer:
                return answer.status, answer.url, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.url, error.read().decode()

    def sign_in(self, name: str, password: str = PASSWORD, **fields: str) -> tuple[int, str, str]:
        return self.post("/accounts/login/", username=name, password=password, **fields)

    @property
    def header(self) -> dict[str, str]:
        return {"Cookie": "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.cookies)}
