"""Images and video through the front: counted without an engine, refused in time, fetched with a guard."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from house import BIN, FIXTURES, Answer, House, child_named

MEDIA = FIXTURES / "media"
PROCESSORS = FIXTURES / "processors"
CASES = json.loads((PROCESSORS / "expected.json").read_text())
VLM = "qwen3_vl"


def data(name: str) -> bytes:
    return (MEDIA / name).read_bytes()


def base64_of(content: bytes | str) -> str:
    return base64.b64encode(data(content) if isinstance(content, str) else content).decode()


def data_url(content: bytes | str, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64_of(content)}"


@pytest.fixture(scope="module")
def root(folder: Path) -> Path:
    """The operator's own media."""
    root = folder / "media-root"
    (root / "in").mkdir(parents=True)
    (root / "in" / "a.png").write_bytes(data("rgb.png"))
    (root / "in" / "passwd").symlink_to("/etc/passwd")
    (root / "out").symlink_to("/etc")
    os.mkfifo(root / "in" / "fifo")
    return root


@pytest.fixture(scope="module")
def vlm(folder: Path, root: Path) -> Iterator[House]:
    """Tiny processors without weights, two as published, and a model of text only; loopback may be asked."""
    models = folder / "vision-models"
    models.mkdir()
    for name in ["qwen2_5_vl", "qwen3_vl"]:
        (models / name).symlink_to(PROCESSORS / name)
    for name, clips in {
        "crossed": {"video_processor_type": "Qwen2VLVideoProcessor", "do_sample_frames": None, "fps": None},
        "no-clips": {"fps": "two"},
    }.items():
        shutil.copytree(PROCESSORS / VLM, models / name)
        file = models / name / "processor_config.json"
        files = json.loads(file.read_text())
        files["image_processor"]["min_pixels"] = None
        files["video_processor"].update(clips)
        file.write_text(json.dumps(files))
    (models / "llama-tied").symlink_to(FIXTURES / "models" / "llama-tied")
    settings = {
        "MEDIA_ROOT": str(root), "MEDIA_FETCH_NETWORKS": "127.0.0.1/32",
        "STREAMS_HEADER_DELAY": "0.3", "STREAMS_HEARTBEAT": "0.2",
    }  # fmt: skip
    house = House(folder / "vlm", settings, model=VLM, models_dir=str(models))
    house.folder.mkdir()
    yield house.start()
    house.stop()


@pytest.fixture(scope="module")
def strict(folder: Path, vlm: House) -> Iterator[House]:
    """As an operator gets it: no network is allowed but the public ones, no media root."""
    house = House(folder / "strict", {}, model=VLM, models_dir=vlm.models_dir)
    house.folder.mkdir()
    yield house.start()
    house.stop()


def tokenize(house: House, *parts: Any, **fields: Any) -> Answer:
    key = fields.pop("key", None)
    content = [{"type": "text", "text": part} if isinstance(part, str) else part for part in parts]
    body = {"model": VLM, "messages": [{"role": "user", "content": content}], "add_generation_prompt": True}
    return house.call("/v1/tokenize", {**body, **fields}, key=key, timeout=30)


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def refusal(answer: Answer, code: str = "invalid_image", words: str = "") -> str:
    assert answer.status == 400, answer.body
    assert answer.error["code"] == code, answer.body
    assert words in answer.error["message"], answer.body
    assert answer.error["param"].startswith("messages"), answer.body
    return str(answer.error["message"])


def test_no_decoder_runs_before_it_is_needed(vlm: House) -> None:
    server = vlm.server_pid()
    with pytest.raises(AssertionError):
        child_named(server, "torchgate-media")
    assert tokenize(vlm, image(data_url("rgb.png"))).status == 200
    child_named(server, "torchgate-media")
    status = Path(f"/proc/{server}/status").read_text()
    resident = int(status.split("VmRSS:")[1].split()[0])
    assert resident < 40 * 1024, f"{resident} KiB"


@pytest.mark.parametrize("case", CASES, ids=[f"{c['model']}-{n}" for n, c in enumerate(CASES)])
def test_tokens_are_those_of_transformers(vlm: House, case: dict[str, Any]) -> None:
    parts = []
    for part in case["content"]:
        if isinstance(part, str):
            parts.append({"type": "text", "text": part})
        elif "image" in part:
            parts.append(image(data_url(part["image"])))
        else:
            rest = {key: value for key, value in part.items() if key != "video"}
            url = data_url(part["video"], "video/mp4")
            parts.append({"type": "video_url", "video_url": {"url": url, **rest}})
    answer = tokenize(vlm, *parts, model=case["model"])
    assert answer.status == 200, answer.body
    assert answer.json["tokens"] == case["ids"]
    assert answer.json["count"] == len(case["ids"])
    assert vlm.status()["status"] == "unloaded"


def test_every_spelling_is_the_same_image(vlm: House) -> None:
    url, text = data_url("rgb.png"), base64_of("rgb.png")
    spellings: list[dict[str, Any]] = [
        image(url),
        {"type": "image_url", "image_url": url},
        {"type": "input_image", "b64_json": text},
        {"type": "input_image", "b64_json": text.rstrip("=")},
        {"type": "input_image", "image_url": url},
        {"type": "image", "image": url},
        image("data:," + "".join(f"%{byte:02x}" for byte in data("rgb.png"))),
    ]
    counts = {tokenize(vlm, part).json["count"] for part in spellings}
    assert len(counts) == 1
    clip, text = data_url("h264.mp4", "video/mp4"), base64_of("h264.mp4")
    videos: list[dict[str, Any]] = [
        {"type": "video_url", "video_url": {"url": clip, "fps": 1}},
        {"type": "input_video", "b64_json": text, "fps": 1},
        {"type": "video", "video": clip, "fps": 1},
    ]
    counts = {tokenize(vlm, part).json["count"] for part in videos}
    counts.add(tokenize(vlm, {"type": "video", "video": clip}, mm_processor_kwargs={"fps": 1}).json["count"])
    assert len(counts) == 1


def test_wishes_change_the_count(vlm: House) -> None:
    url = data_url("rgb.png")
    usual = tokenize(vlm, image(url)).json["count"]
    smaller = {"type": "image_url", "image_url": {"url": url, "min_pixels": 1, "max_pixels": 2048}}
    assert tokenize(vlm, smaller).json["count"] < usual
    clip = {"type": "video", "video": data_url("h264.mp4", "video/mp4")}
    counts = [tokenize(vlm, {**clip, "num_frames": frames}).json["count"] for frames in (2, 8)]
    assert counts[0] < counts[1]


GOOD = ["1.png", "animated.gif", "cmyk.jpg", "grey16.png", "grey.jpg", "la.png", "p.png", "rgba.png"]


@pytest.mark.parametrize("name", GOOD)
def test_odd_but_sound_images_are_taken(vlm: House, name: str) -> None:
    assert tokenize(vlm, image(data_url(name))).status == 200


BAD_IMAGES = [
    ("wide.png", "30000x10"),
    ("bomb.png", "pixels"),
    ("truncated.jpg", ""),
    ("truncated.png", ""),
    ("picture.svg", ""),
    ("page.jpg", ""),
    ("empty.png", ""),
]


@pytest.mark.parametrize("name,words", BAD_IMAGES)
def test_bad_images_are_refused_in_time(vlm: House, name: str, words: str) -> None:
    start = time.monotonic()
    refusal(tokenize(vlm, image(data_url(name))), words=words)
    assert time.monotonic() - start < 2
    refusal(
        vlm.call("/v1/chat/completions", {"messages": [{"role": "user", "content": [image(data_url(name))]}]})
    )
    assert tokenize(vlm, image(data_url("1.png"))).status == 200


def test_bytes_that_are_nothing_are_refused(vlm: House) -> None:
    for content in [b"", b"\0", b"GIF89a", b"\xff\xd8\xff", os.urandom(4096), b"<html></html>"]:
        refusal(tokenize(vlm, image(data_url(content))))
    damaged = ["data:image/png;base64,a", "data:image/png;base64,@@@@", "data:image/png"]
    for url in [*damaged, "image.png", "../../etc/passwd"]:
        refusal(tokenize(vlm, image(url)))


BAD_CLIPS = ["sound.mp4", "truncated.mp4", "playlist.mp4", "mpeg4.mp4", "two-hours.mkv", "rgb.png"]


@pytest.mark.parametrize("name", BAD_CLIPS)
def test_bad_clips_are_refused_in_time(vlm: House, name: str) -> None:
    content = (PROCESSORS if name.startswith("two") else MEDIA) / name
    start = time.monotonic()
    part = {"type": "video", "video": data_url(content.read_bytes(), "video/mp4")}
    refusal(tokenize(vlm, part), "invalid_video", "at most 600 s" if name.startswith("two") else "")
    assert time.monotonic() - start < 2


def test_too_many_media_are_refused(vlm: House) -> None:
    answer = tokenize(vlm, *[image(data_url("1.png"))] * 500)
    assert refusal(answer, "invalid_value", "at most 16")
    assert tokenize(vlm, *[image(data_url("1.png"))] * 16).status == 200


def test_a_model_of_text_only_says_so(vlm: House) -> None:
    part = image(data_url("1.png"))
    answer = tokenize(vlm, part, model="llama-tied")
    assert "text only" in refusal(answer, "unsupported_value")
    body = {"model": "llama-tied", "messages": [{"role": "user", "content": [part]}]}
    refusal(vlm.call("/v1/chat/completions", body), "unsupported_value", "text only")


def test_placeholders_without_media_are_refused(vlm: House) -> None:
    config = json.loads((PROCESSORS / VLM / "config.json").read_text())
    for prompt in ["<|image_pad|>", [config["video_token_id"]]]:
        answer = vlm.call("/v1/completions", {"model": VLM, "prompt": prompt, "max_tokens": 1})
        assert answer.status == 400 and answer.error["param"] == "prompt", answer.body


def test_many_at_once_get_their_own_counts(vlm: House) -> None:
    names = ["rgb.png", "1.png", "cmyk.jpg", "truncated.jpg", "grey.jpg", "bomb.png"]
    alone = [tokenize(vlm, image(data_url(name))) for name in names]

    def one(place: int) -> bool:
        answer = tokenize(vlm, image(data_url(names[place % len(names)])))
        first = alone[place % len(names)]
        same = answer.status == first.status
        return same and (answer.status != 200 or answer.json["count"] == first.json["count"])

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(one, range(96)))


# Sources outside the request


Pages = Callable[[str], tuple[int, dict[str, str], bytes]]


class Site:
    """A web server on loopback that remembers what it was asked."""

    def __init__(self, pages: Pages, host: str = "127.0.0.1") -> None:
        asked: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # noqa: N802
                asked.append(self.path)
                status, headers, body = pages(self.path)
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

        self.asked = asked
        self.server = Server((host, 0), Handler)
        self.port = self.server.server_address[1]
        self.base = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def canary() -> Iterator[Site]:
    site = Site(lambda _: (200, {}, data("rgb.png")))
    yield site
    site.server.shutdown()


def test_an_image_is_fetched_by_url(vlm: House) -> None:
    def pages(path: str) -> tuple[int, dict[str, str], bytes]:
        if path == "/a":
            return 302, {"Location": "/b.png"}, b""
        return (200, {"Content-Type": "text/plain"}, data("rgb.png")) if path == "/b.png" else (404, {}, b"")

    site = Site(pages)
    expected = tokenize(vlm, image(data_url("rgb.png"))).json["count"]
    for path in ["/b.png", "/a"]:
        assert tokenize(vlm, image(site.base + path)).json["count"] == expected
    assert site.asked == ["/b.png", "/a", "/b.png"]
    refusal(tokenize(vlm, image(site.base + "/missing")), words="could not be fetched")
    site.server.shutdown()


def test_urls_need_a_scope_and_the_answer_names_it(vlm: House, canary: Site) -> None:
    plain = vlm.new_key("--scopes", "infer")["key"]
    answer = tokenize(vlm, image(canary.base), key=plain)
    assert answer.status == 403 and answer.error["code"] == "insufficient_scope"
    assert "media:url" in answer.error["message"]
    assert re.search(r"torchgate keys set \w{12} --scopes infer,media:\w+$", answer.error["message"])
    assert answer.error["param"] == "messages[0].content[0].image_url.url"
    assert canary.asked == []
    assert tokenize(vlm, image(data_url("1.png")), key=plain).status == 200


FORBIDDEN = [
    "http://127.0.0.1:{port}/",
    "http://localhost:{port}/",
    "http://[::1]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://0.0.0.0:{port}/",
    "http://127.1:{port}/",
    "http://2130706433:{port}/",
    "http://0x7f000001:{port}/",
    "http://0177.0.0.1:{port}/",
    "http://user@127.0.0.1:{port}/",
    "http://127.0.0.1\\@example.com:{port}/",
    "http://169.254.169.254/latest/meta-data/",
    "http://10.0.0.1/",
    "http://[fd00::8]/",
    "http://[64:ff9b::7f00:1]/",
    "https://127.0.0.1:{port}/",
    "ftp://127.0.0.1:{port}/",
    "gopher://127.0.0.1:{port}/_x",
    "file:///etc/passwd",
    "file://localhost/etc/passwd",
    "../../etc/passwd",
    "/etc/passwd",
]


@pytest.mark.parametrize("url", FORBIDDEN)
def test_forbidden_addresses_are_never_dialled(strict: House, canary: Site, url: str) -> None:
    start = time.monotonic()
    refusal(tokenize(strict, image(url.format(port=canary.port))))
    assert time.monotonic() - start < 2
    assert canary.asked == []


def test_a_stream_hears_heartbeats_while_media_are_fetched(vlm: House) -> None:
    def pages(path: str) -> tuple[int, dict[str, str], bytes]:
        time.sleep(1.2)
        return 200, {}, data("rgb.png" if path == "/good" else "truncated.jpg")

    site = Site(pages)
    key = vlm.new_key("--scopes", "infer,media:url")["key"]
    # The model here has no weights, so that a good image leads to another error.
    for path, code in [("/good", "model_load_failed"), ("/bad", "invalid_image")]:
        messages = [{"role": "user", "content": [image(f"{site.base}{path}")]}]
        body = {"model": VLM, "messages": messages, "stream": True}
        answer = vlm.call("/v1/chat/completions", body, key=key, timeout=30)
        assert answer.status == 200 and answer.headers["content-type"] == "text/event-stream"
        lines = answer.body.decode().split("\n")
        assert lines[0] == ": ok" and lines.count(": ping") >= 3, lines
        events = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
        assert json.loads(events[0])["error"]["code"] == code
        assert events[1:] == ["[DONE]"]
    site.server.shutdown()


def test_a_redirect_meets_the_same_guard(vlm: House) -> None:
    try:
        inner = Site(lambda _: (200, {}, data("rgb.png")), "::1")
        targets = [f"http://[::1]:{inner.port}/", f"http://localhost:{inner.port}/"]
    except OSError:
        inner = None
        targets = []
    targets += ["http://169.254.169.254/", "file:///etc/passwd", "data:,x", "ftp://127.0.0.1/", "/again"]

    def pages(path: str) -> tuple[int, dict[str, str], bytes]:
        if path == "/again":
            return 302, {"Location": "/again"}, b""
        return 302, {"Location": targets[int(path[1:])]}, b""

    site = Site(pages)
    for place in range(len(targets)):
        start = time.monotonic()
        refusal(tokenize(vlm, image(f"{site.base}/{place}")), words="could not be fetched")
        assert time.monotonic() - start < 2, targets[place]
    assert inner is None or inner.asked == []
    site.server.shutdown()


def test_a_name_that_resolves_there_is_refused(vlm: House, canary: Site) -> None:
    """Loopback is allowed here as 127.0.0.1 alone: one bad address among a name's refuses all."""
    answers = {entry[4][0] for entry in socket.getaddrinfo("localhost", canary.port, type=socket.SOCK_STREAM)}
    answer = tokenize(vlm, image(f"http://localhost:{canary.port}/"))
    assert answer.status == (200 if answers == {"127.0.0.1"} else 400)


def test_urls_in_text_are_not_fetched(vlm: House, canary: Site) -> None:
    assert tokenize(vlm, f"![x]({canary.base}/x.png) {canary.base}").status == 200
    assert canary.asked == []


def test_files_need_a_scope_and_stay_below_the_root(vlm: House) -> None:
    key = vlm.new_key("--scopes", "infer,media:file")["key"]
    expected = tokenize(vlm, image(data_url("rgb.png"))).json["count"]
    assert tokenize(vlm, image("file:in/a.png"), key=key).json["count"] == expected
    answer = tokenize(vlm, image("file:in/a.png"))
    assert answer.status == 403 and "media:file" in answer.error["message"]
    for url in ["file://in/a.png", "file://a.png", "file://localhost/in/a.png", "file:///in/a.png"]:
        refusal(tokenize(vlm, image(url), key=key), words="file:NAME")
    same = set()
    for name in ["in/passwd", "out/passwd", "in/fifo", "in", "missing"]:
        same.add(refusal(tokenize(vlm, image(f"file:{name}"), key=key)))
    assert len(same) == 1
    for name in ["/etc/passwd", "../media-root/in/a.png", "in/../in/a.png", "in//a.png", "a\0b", "x" * 4096]:
        refusal(tokenize(vlm, image(f"file:{name}"), key=key))


def test_processor_files_say_how_clips_are_taken(vlm: House) -> None:
    """Qwen3-VL with the class of Qwen2-VL's clips: every frame, and still the seconds before each pair."""
    clip = {"type": "video", "video": data_url("ffv1-rgb.mkv")}

    def rendered(name: str) -> Any:
        request = json.dumps({"messages": [{"role": "user", "content": [clip]}]})
        command = [BIN / "torchgate", "render", "--model", f"{vlm.models_dir}/{name}", "--request", "-"]
        done = subprocess.run(command, input=request, capture_output=True, text=True, timeout=30, check=True)
        return json.loads(done.stdout)["media"][0]

    own, crossed = rendered(VLM), rendered("crossed")
    assert crossed["frames"] == 6 > own["frames"], (own, crossed)
    assert len(crossed["timestamps"]) == 3
    picture = image(data_url("rgb.png"))
    assert tokenize(vlm, picture, model="no-clips").json["count"] == tokenize(vlm, picture).json["count"]
    refused = tokenize(vlm, clip, model="no-clips")
    assert refused.status == 400 and "'fps'" in refused.error["message"], refused.body


def test_models_without_weights_are_not_listed(vlm: House) -> None:
    ids = {model["id"] for model in vlm.call("/v1/models").json["data"]}
    assert "llama-tied" in ids and not ids & {VLM, "crossed", "no-clips"}
    assert vlm.call("/v1/models/llama-tied").status == 200
    assert vlm.call(f"/v1/models/{VLM}").status == 404


def test_nothing_died_and_nothing_leaked(vlm: House) -> None:
    server = vlm.server_pid()
    before = len(os.listdir(f"/proc/{server}/fd"))
    for _ in range(20):
        tokenize(vlm, image(data_url("rgb.png")), {"type": "video", "video": data_url("h264.mp4")})
        tokenize(vlm, image(data_url("truncated.jpg")), image(data_url("rgb.png")))
    time.sleep(0.5)
    assert len(os.listdir(f"/proc/{server}/fd")) <= before + 4
    assert vlm.server_pid() == server
    assert "torchgate-media ended" not in vlm.log
