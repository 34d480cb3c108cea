"""/v1/files over HTTP: what official clients do, what strangers try, and large bodies in bounded memory."""

import contextlib
import io
import select
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import openai
import PIL.Image
import pytest

from agents_app.server.daphne.admission import AT_ONCE_PER_USER
from tests.harness import documents
from tests.harness.open_files import bytes_without_name
from tests.harness.people import Person
from tests.harness.product import Product
from tests.harness.wait import until

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)) * 400
LARGEST = 32 * 1024 * 1024


@pytest.fixture
def ann(people: dict[str, Person]):
    with httpx2.Client(base_url=people["ann"].product.url, headers=people["ann"].headers, timeout=60) as client:
        yield client


@pytest.fixture
def bob(people: dict[str, Person]):
    with httpx2.Client(base_url=people["bob"].product.url, headers=people["bob"].headers, timeout=60) as client:
        yield client


def upload(
    client: httpx2.Client, data: bytes, name: str = "a.png", media_type: str = "image/png", **fields: str
) -> Any:
    return client.post("/v1/files", files={"file": (name, data, media_type)}, data=fields)


def test_the_official_client_manages_files(people):
    ann = people["ann"]
    client = openai.OpenAI(base_url=f"{ann.product.url}/v1", api_key=ann.token)
    made = client.files.create(
        file=("Ein Bild.png", io.BytesIO(PNG)),
        purpose="user_data",
        expires_after={"anchor": "created_at", "seconds": 3600},
    )
    assert (made.filename, made.bytes, made.object, made.status) == ("Ein Bild.png", len(PNG), "file", "processed")
    assert made.id.startswith("file-")
    assert made.expires_at is not None
    assert 3590 <= made.expires_at - made.created_at <= 3601
    second = client.files.create(file=io.BytesIO(b"a,b\n1,2\n"), purpose="assistants")
    assert client.files.retrieve(made.id).id == made.id
    assert client.files.content(made.id).read() == PNG
    listed = [file.id for file in client.files.list(limit=1)]  # in pages of one
    assert listed[:2] == [second.id, made.id]
    assert len(listed) == len(set(listed))
    assert next(file.id for file in client.files.list(purpose="assistants")) == second.id
    assert client.files.delete(second.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(second.id)


def test_a_file_is_its_owners_alone(ann, bob, people):
    file = upload(ann, PNG).json()["id"]
    for path in (f"/v1/files/{file}", f"/v1/files/{file}/content"):
        assert bob.get(path).status_code == 404
        assert httpx2.get(people["ann"].product.url + path).status_code == 401
    assert bob.delete(f"/v1/files/{file}").status_code == 404
    assert file not in bob.get("/v1/files").text
    assert bob.get("/v1/files", params={"after": file}).json()["error"]["param"] == "after"
    assert ann.get(f"/v1/files/{file}/content").content == PNG


def test_content_is_shown_only_if_it_is_harmless_and_in_ranges(ann):
    path = f"/v1/files/{upload(ann, PNG).json()['id']}/content"
    whole = ann.get(path)
    assert whole.headers["content-type"] == "image/png"
    assert whole.headers["content-disposition"].startswith("inline")
    assert "sandbox" in whole.headers["content-security-policy"]
    for range_, expected in {
        "bytes=0-0": PNG[:1],
        "bytes=10-19": PNG[10:20],
        "bytes=-7": PNG[-7:],
        f"bytes={len(PNG) - 5}-{len(PNG) + 50}": PNG[-5:],
    }.items():
        part = ann.get(path, headers={"Range": range_})
        assert (part.status_code, part.content) == (206, expected), range_
    assert ann.get(path, headers={"Range": f"bytes={len(PNG)}-"}).status_code == 416
    assert ann.get(path, headers={"Range": "bytes=0-1,4-5"}).content == PNG
    assert ann.get(path, headers={"If-None-Match": whole.headers["etag"]}).status_code == 304
    assert int(ann.head(path).headers["content-length"]) == len(PNG)
    assert ann.delete(path.removesuffix("/content")).status_code == 200
    assert ann.get(path, headers={"If-None-Match": whole.headers["etag"]}).status_code == 404
    page = upload(ann, b"<!doctype html><script>alert(1)</script>", "a.png").json()
    assert page["media_type"] == "text/html"
    shown = ann.get(f"/v1/files/{page['id']}/content")
    assert shown.headers["content-type"] == "application/octet-stream"
    assert shown.headers["content-disposition"].startswith("attachment")


def test_a_thumbnail_is_small_and_a_small_picture_is_its_own(ann, bob, people):
    large, small = documents.picture(900, 600), documents.picture()
    file = upload(ann, large).json()
    path = f"/v1/files/{file['id']}/thumbnail"
    thumbnail = ann.get(path)
    shown = PIL.Image.open(io.BytesIO(thumbnail.content))
    assert (shown.size, len(thumbnail.content) < 200 * 1024 < len(large)) == ((480, 320), True)
    assert thumbnail.headers["content-type"] == f"image/{shown.format.lower()}"
    assert ann.get(path).content == thumbnail.content
    assert ann.get(path, headers={"If-None-Match": thumbnail.headers["etag"]}).status_code == 304
    for data, name in ((small, "small.png"), (PNG, "broken.png"), (b"text", "a.txt")):  # as they are
        other = upload(ann, data, name).json()["id"]
        assert ann.get(f"/v1/files/{other}/thumbnail").content == data
    assert bob.get(path).status_code == 404
    assert httpx2.get(people["ann"].product.url + path).status_code == 401
    assert ann.delete(f"/v1/files/{file['id']}").status_code == 200
    assert ann.get(path).status_code == 404


def test_a_file_without_bytes_is_a_404(ann, people):
    folder = people["ann"].product.var_dir / "files"
    before = {path for path in folder.rglob("*") if path.is_file()}
    file = upload(ann, PNG + b"lost").json()["id"]
    for path in {path for path in folder.rglob("*") if path.is_file()} - before:
        path.unlink()
    lost = ann.get(f"/v1/files/{file}/content")
    assert (lost.status_code, lost.json()["error"]["code"]) == (404, "file_content_missing")
    assert ann.delete(f"/v1/files/{file}").status_code == 200


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"purpose": "nonsense"}, "purpose"),
        ({"expires_after[anchor]": "now", "expires_after[seconds]": "3600"}, "expires_after_anchor"),
        ({"expires_after[anchor]": "created_at", "expires_after[seconds]": "10"}, "expires_after_seconds"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_wrong_field_is_named(ann, fields, param):
    refused = upload(ann, PNG, **fields)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, param)


def test_a_form_without_a_file_or_an_empty_one_is_refused(ann):
    for refused in (ann.post("/v1/files", data={"purpose": "user_data"}), upload(ann, b"")):
        assert refused.status_code in (400, 415)
    assert upload(ann, b"").json()["error"]["param"] == "file"
    assert ann.post("/v1/files", json={"file": "x"}).status_code == 415
    many = [("file", (f"{number}.txt", b"x")) for number in range(1000)]
    assert ann.post("/v1/files", files=many).status_code == 400


@pytest.mark.parametrize("path", ["/v1/files", "/v1//files/"])
def test_a_file_over_the_limit_is_refused_before_it_is_sent(ann, people, path):
    parts = urlsplit(people["ann"].product.url)
    with socket.create_connection((parts.hostname, parts.port)) as connection:
        head = f"POST {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: {LARGEST + 70_000}\r\n"
        connection.sendall(f"{head}Authorization: Bearer {people['ann'].token}\r\n\r\n".encode())
        answer = connection.recv(65536).decode()
    assert answer.startswith("HTTP/1.1 413")
    assert "FILES_MAX_BYTES" in answer
    assert ann.post("/v1/agents", content=b"x" * 2**21).status_code == 413  # elsewhere the limit stays


def test_uploads_of_many_megabytes_at_once_keep_memory_flat(ann, people):
    product: Product = people["ann"].product
    boundary = "limit"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'.encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}

    def resident() -> int:
        return int(Path(f"/proc/{product.pid}/statm").read_text().split()[1]) * 4096

    def most() -> int:
        status = Path(f"/proc/{product.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024

    def body(first: int):
        yield head
        yield first.to_bytes(2, "big")
        for number in range(30):
            yield number.to_bytes(2, "big") * 2**19
        yield f"\r\n--{boundary}--\r\n".encode()

    def upload_and_download(first: int) -> None:
        made = ann.post("/v1/files", content=body(first), headers=headers)  # chunked
        assert (made.status_code, made.json()["bytes"]) == (201, 30 * 2**20 + 2)
        with ann.stream("GET", f"/v1/files/{made.json()['id']}/content") as answer:
            assert sum(map(len, answer.iter_bytes())) == 30 * 2**20 + 2
        assert ann.delete(f"/v1/files/{made.json()['id']}").status_code == 200

    upload_and_download(0)  # threads and modules of the first time
    before = resident()
    Path(f"/proc/{product.pid}/clear_refs").write_text("5")  # begin to measure the most anew
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(upload_and_download, range(1, 7)))
    print(f"\nsix at once of 30 MiB: {before // 2**20} MB before, {most() // 2**20} at most")
    assert most() < before + 30 * 2**20


def test_an_upload_that_breaks_off_leaves_nothing(ann, people):
    product: Product = people["ann"].product
    parts = urlsplit(product.url)
    before = ann.get("/v1/files").json()["data"]
    with socket.create_connection((parts.hostname, parts.port)) as connection:
        head = f"POST /v1/files HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: 1000000\r\n"
        head += f"Authorization: Bearer {people['ann'].token}\r\nContent-Type: multipart/form-data; boundary=b\r\n\r\n"
        connection.sendall(
            head.encode() + b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\nxx'
        )
    until(lambda: "POST" not in product.logged().rsplit("\n", 2)[-1])
    assert ann.get("/v1/files").json()["data"] == before


@pytest.mark.parametrize("credential", ["", "Authorization: Bearer nonsense\r\n", "Cookie: sessionid=x\r\n"])
@pytest.mark.parametrize("path", ["/v1/files", "/v1/chat/completions"])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_large_body_of_nobody_is_refused_before_it_is_stored(people, path, credential, is_chunked):
    product: Product = people["ann"].product
    parts = urlsplit(product.url)
    length = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {16 * 2**20}"
    head = f"POST {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nOrigin: {product.url}\r\n{credential}{length}\r\n\r\n"
    piece = b"x" * 2**16
    chunk = b"%x\r\n%s\r\n" % (len(piece), piece) if is_chunked else piece
    before = bytes_without_name(product.pid)
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as connection:
        connection.sendall(head.encode())
        for _ in range(100):  # 6 MiB: the client reads the refusal late
            connection.sendall(chunk)
        answer = connection.recv(65536).decode()
        assert answer.startswith("HTTP/1.1 401 Unauthorized\r\n")
        assert "WWW-Authenticate: Bearer" in answer
        assert '"code": "not_authenticated"' in answer
        assert bytes_without_name(product.pid) <= before


def test_many_slow_uploads_of_a_user_keep_only_their_own_waiting(ann, bob, people):
    product: Product = people["ann"].product
    parts = urlsplit(product.url)
    form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n' + bytes(2**19) + b"\r\n--b--\r\n"
    head = f"POST /v1/files HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {people['ann'].token}\r\n"
    head += f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {len(form)}\r\n\r\n"

    def begin(body: bytes) -> socket.socket:
        connection = stack.enter_context(socket.create_connection((parts.hostname, parts.port), timeout=30))
        connection.sendall(head.encode() + body)
        return connection

    with contextlib.ExitStack() as stack:
        slow = [begin(form[:-1]) for _ in range(AT_ONCE_PER_USER)]
        buffers = 2**16  # of each, at most, before it is written
        until(lambda: bytes_without_name(product.pid) >= AT_ONCE_PER_USER * (len(form) - buffers))
        waiting = begin(form)
        assert upload(bob, PNG * 10).status_code == 201
        assert upload(ann, PNG[:1000]).status_code == 201  # it is small
        assert select.select([waiting], [], [], 0)[0] == []
        slow[0].close()
        assert waiting.recv(4096).startswith(b"HTTP/1.1 201")
        slow[1].sendall(form[-1:])
        assert slow[1].recv(4096).startswith(b"HTTP/1.1 201")
