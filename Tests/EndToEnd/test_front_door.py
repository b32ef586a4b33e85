"""What is answered before, or without, the server: by nginx, `torchgate run` and the scripts."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from house import BIN, ROOT, SMOL, Answer, House, child_named, free_port, wait_for

TINY = {"DTYPE": "float32"}
OPEN = ["/", "/health", "/livez", "/readyz"]


def start(new_house: Callable[..., House], models: Path, **settings: str) -> House:
    return new_house({**TINY, **settings}, model="llama-tied", models_dir=str(models))


def is_503_to_try_again(answer: Answer) -> bool:
    assert answer.status == 503, (answer.status, answer.body)
    assert answer.error["type"] == "server_error" and answer.error["code"] == "server_overloaded"
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["x-request-id"]
    return True


def script(name: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "RUN_DIR": str(folder), "MODEL": SMOL, **more}
    return subprocess.run(
        [str(ROOT / "scripts" / name)], env=environment, capture_output=True, text=True, timeout=60
    )


def test_a_stopped_or_dead_front_is_503_with_retry_after(
    new_house: Callable[..., House], tiny_models: Path
) -> None:
    house = start(new_house, tiny_models, SERVER_DRAIN_TIMEOUT="1")  # a key's check waits a little longer
    keeper = int((house.folder / "torchgate.pid").read_text())
    server = house.server_pid()
    os.kill(server, signal.SIGSTOP)
    try:
        assert is_503_to_try_again(house.call("/v1/models"))
        assert is_503_to_try_again(house.chat("hi"))
    finally:
        os.kill(server, signal.SIGCONT)
    assert wait_for("its return", 5, lambda: house.call("/v1/models").status == 200)
    os.kill(keeper, signal.SIGSTOP)
    try:
        os.kill(server, signal.SIGKILL)
        assert is_503_to_try_again(house.call("/v1/models"))
        away = house.folder / "away.sock"
        (house.folder / "fcgi.sock").rename(away)
        assert is_503_to_try_again(house.call("/v1/models"))
        assert is_503_to_try_again(house.call("/health", key=""))
        away.rename(house.folder / "fcgi.sock")
    finally:
        os.kill(keeper, signal.SIGCONT)
    assert wait_for("its return", 5, lambda: house.call("/v1/models").status == 200)


def test_a_front_at_its_cap_is_503_with_retry_after(
    new_house: Callable[..., House], tiny_models: Path
) -> None:
    house = start(new_house, tiny_models, SERVER_MAX_CONNECTIONS="1")
    house.chat("hi", max_tokens=1)
    done = threading.Event()

    def generate() -> None:
        while not done.is_set():
            house.chat("go", max_tokens=400, ignore_eos=True)

    busy = threading.Thread(target=generate)
    busy.start()
    try:
        refused = wait_for(
            "a refusal",
            20,
            lambda: next((a for a in [house.call("/v1/models")] if a.status != 200), None),
        )
    finally:
        done.set()
        busy.join()
    assert is_503_to_try_again(refused)


def test_unreadable_keys_are_503_not_401(new_house: Callable[..., House], tiny_models: Path) -> None:
    house = start(new_house, tiny_models)
    assert house.call("/v1/models").status == 200
    database = house.folder / "state" / "keys" / "keys.db"
    database.chmod(0o644)
    moved = database.with_name("moved")
    database.rename(moved)
    wait_for("the news", 10, lambda: house.call("/readyz", key="").status == 503)
    assert is_503_to_try_again(house.call("/v1/models"))
    assert house.call("/health", key="").status == 503
    moved.rename(database)
    database.chmod(0o600)
    assert wait_for("the keys", 10, lambda: house.call("/v1/models").status == 200)
    # A server that starts so does the same, and says why.
    database.chmod(0o644)
    os.kill(house.server_pid(), signal.SIGKILL)
    ready = wait_for(
        "the server", 10, lambda: next((a for a in [house.call("/readyz", key="")] if a.status == 503), None)
    )
    assert ready.json == {"status": "keys_unreadable"}
    assert is_503_to_try_again(house.call("/v1/models"))
    assert "every key is refused" in house.log and f"chmod go= {database}" in house.log
    database.chmod(0o600)
    assert wait_for("the keys", 10, lambda: house.call("/v1/models").status == 200)


def test_a_server_that_is_stuck_is_said_so(new_house: Callable[..., House], tiny_models: Path) -> None:
    house = start(new_house, tiny_models)
    pid = house.server_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        stuck = house.call("/readyz", key="")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert stuck.status == 504 and "server did not answer" in stuck.error["message"]


def test_pages_without_a_key_take_no_body(tiny: House) -> None:
    for path in OPEN:
        for headers in ({}, {"Transfer-Encoding": "chunked"}):
            data = b"x" * 5000 if not headers else iter([b"x" * 5000])
            request = urllib.request.Request(tiny.base + path, data=data, method="POST", headers=headers)  # type: ignore[arg-type]
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(request, timeout=10, context=tiny.context())
            answer = Answer(
                refused.value.code,
                {k.lower(): v for k, v in refused.value.headers.items()},
                refused.value.read(),
            )
            assert answer.status == 413, path
            assert answer.error["code"] == "request_too_large" and answer.headers["x-request-id"]


def test_pages_without_a_key_are_limited_by_address(
    new_house: Callable[..., House], tiny_models: Path
) -> None:
    house = start(new_house, tiny_models, NGINX_ADDRESS_RATE="1", NGINX_ADDRESS_BURST="3")
    answers = [house.call(path, key="") for path in OPEN * 3]
    refused = [answer for answer in answers if answer.status == 429]
    assert refused and answers[0].status == 200
    assert refused[0].error["code"] == "rate_limit_exceeded" and refused[0].headers["retry-after"]


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ("Bearer {}", 200),
        ("bEARER   {}", 200),
        ("Bearer \t{}", 401),
        ("Bearer\t{}", 401),
        ("\tBearer {}", 401),
        ("Bearer {}\t", 401),
        ("Bearer \xa0{}", 401),
        ("Bearer {}\xa0", 401),
        ("Bearer \xc2\xa0{}", 401),
        ("Bearer{}", 401),
        ("Basic {}", 401),
    ],
)
def test_a_key_counts_for_nginx_or_is_refused(tiny: House, form: str, status: int) -> None:
    head = "GET /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: "
    with socket.create_connection(("127.0.0.1", tiny.https)) as plain, tiny.context().wrap_socket(
        plain, server_hostname="localhost"
    ) as tls:
        tls.sendall(head.encode() + form.format(tiny.key).encode("latin-1") + b"\r\n\r\n")
        assert int(tls.recv(4096).split()[1]) == status


def test_bodies_lie_in_memory_and_nothing_is_left(new_house: Callable[..., House], tiny_models: Path) -> None:
    house = start(new_house, tiny_models)
    configuration = (house.folder / "nginx" / "nginx.conf").read_text()
    bodies = Path(configuration.split("client_body_temp_path ")[1].split()[0])
    letters = house.folder.name.removeprefix("torchgate-").replace("_", "")
    assert bodies.parent == Path("/dev/shm") and letters in bodies.name
    assert bodies.stat().st_mode & 0o777 == 0o700
    assert house.call("/v1/chat/completions", raw=b" " * 2_000_000).status == 400
    assert any(bodies.iterdir()), "the body was not spooled there"
    house.stop()
    assert not bodies.exists()
    assert not (house.folder / "ready").exists() and not (house.folder / "torchgate.pid").exists()


def test_ready_is_said_only_when_nginx_listens(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        more = {"HTTPS_PORT": port, "HTTP_PORT": str(free_port())}
        behind = script("run.sh", tmp_path, DETACH="1", **more)
        assert behind.returncode == 1
        assert "ready." not in behind.stdout and port in behind.stderr
        before = script("run.sh", tmp_path, **more)
        assert before.returncode == 1
        assert "is ready" not in before.stdout and f"is port {port} or" in before.stderr
    assert not (tmp_path / "torchgate.pid").exists()
    again = script("run.sh", tmp_path, DETACH="1", **more)
    assert again.returncode == 0, again.stderr
    socket.create_connection(("127.0.0.1", int(port))).close()
    assert script("stop.sh", tmp_path).returncode == 0


def test_the_key_is_printed_at_the_start_and_is_in_no_file_but_its_own(
    new_house: Callable[..., House], tiny_models: Path
) -> None:
    house = start(new_house, tiny_models)
    for name in ("torchgate.log", "ready", "access.json"):
        assert house.key not in (house.folder / name).read_text(), name
    house.stop()
    for detached in ("1", ""):
        with subprocess.Popen(
            [str(ROOT / "scripts" / "run.sh")],
            env={**os.environ, "RUN_DIR": str(house.folder), "DETACH": detached, "MODEL": SMOL,
                 "HTTPS_PORT": str(house.https), "HTTP_PORT": str(house.http)},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        ) as running:  # fmt: skip
            assert running.stdout is not None
            shown = ""
            while "curl" not in shown:
                line = running.stdout.readline()
                assert line, shown
                shown += line
            assert f"key      {house.key}\n" in shown
            wait_for("ready", 5, (house.folder / "ready").exists)
            assert script("stop.sh", house.folder).returncode == 0
            running.wait(20)


def test_a_stale_pid_file_harms_nobody(new_house: Callable[..., House], tiny_models: Path) -> None:
    house = start(new_house, tiny_models)
    pid = (house.folder / "torchgate.pid").read_text()
    with subprocess.Popen(["sleep", "60"]) as stranger:
        try:
            (house.folder / "torchgate.pid").write_text(f"{stranger.pid}\n")
            done = script("stop.sh", house.folder)
            assert done.returncode == 0 and "does not run" in done.stdout
            assert stranger.poll() is None
        finally:
            stranger.kill()
    (house.folder / "torchgate.pid").write_text(pid)
    assert script("run.sh", house.folder, DETACH="1").returncode == 1
    house.stop()
    # Its parent may not have taken note yet.
    with pytest.raises(OSError):
        os.readlink(f"/proc/{int(pid)}/exe")


def test_keys_are_made_where_the_settings_say(
    new_house: Callable[..., House], tiny_models: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    house = start(new_house, tiny_models, PATHS_STATE_DIR=str(elsewhere))
    assert house.call("/v1/models").status == 200
    assert (elsewhere / "first-key").exists() and not (house.folder / "state").exists()
    settings = tmp_path / "torchgate.yaml"
    settings.write_text(f"paths:\n  state_dir: {elsewhere}\n")
    count = len(identities(elsewhere))
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TORCHGATE_")}
    for words, more in (
        (["--config", str(settings)], {}),
        ([], {"TORCHGATE_PATHS_STATE_DIR": str(elsewhere), "TORCHGATE_STATE_DIR": "/nowhere/at/all"}),
        (["--state-dir", str(elsewhere)], {"TORCHGATE_STATE_DIR": "/nowhere/at/all"}),
    ):
        done = subprocess.run(
            [str(BIN / "torchgate"), "keys", "create", "--name", "more", *words],
            env={**environment, **more}, cwd=tmp_path, capture_output=True, text=True, timeout=20,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        count += 1
        assert len(identities(elsewhere)) == count
    time.sleep(0.1)
    assert house.call("/v1/models", key=done.stdout.strip()).status == 200


def test_a_killed_nginx_leaves_nothing_behind(new_house: Callable[..., House], tiny_models: Path) -> None:
    house = start(new_house, tiny_models)
    keeper = int((house.folder / "torchgate.pid").read_text())
    workers = group_of(child_named(keeper, "nginx"))
    assert len(workers) > 1
    os.kill(child_named(keeper, "nginx"), signal.SIGKILL)
    wait_for("the end of all", 20, lambda: not alive(keeper) and not any(map(alive, workers)))
    assert "nginx ended by itself (signal 9)" in house.log
    house.start()
    # Both at once: nobody is left who could end the workers.
    for end in ("stop.sh", "run.sh"):
        keeper = int((house.folder / "torchgate.pid").read_text())
        master = child_named(keeper, "nginx")
        workers = group_of(master)
        os.kill(keeper, signal.SIGSTOP)
        os.kill(master, signal.SIGKILL)
        os.kill(keeper, signal.SIGKILL)
        wait_for("orphans", 5, lambda pids=(master, keeper): not any(map(alive, pids)))
        if end == "stop.sh":
            assert "left" in script("stop.sh", house.folder).stderr
            assert not any(map(alive, workers))
        house.start()
        assert house.call("/v1/models").status == 200


def group_of(leader: int) -> list[int]:
    found = subprocess.run(["pgrep", "-g", str(leader)], capture_output=True, text=True)
    return [int(word) for word in found.stdout.split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_metrics_are_open_to_loopback_and_to_admins(
    new_house: Callable[..., House], tiny_models: Path
) -> None:
    house = start(new_house, tiny_models, HOST="0.0.0.0")
    user = house.new_key()["key"]
    for key in ("", "sk-tg-wrong", user, house.key):
        answer = house.call("/metrics", key=key)
        assert answer.status == 200 and b"torchgate_requests_running" in answer.body
    assert house.call("/metrics", key="", method="POST", raw=b"x" * 5000).status == 413
    assert house.call("/status", key="").status == 401
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.1", 9))  # sends nothing
        except OSError:
            pytest.skip("no address but loopback")
        elsewhere = probe.getsockname()[0]
    for key, status in (("", 401), ("sk-tg-wrong", 401), (user, 403), (house.key, 200)):
        done = subprocess.run(
            ["curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}", f"https://{elsewhere}:{house.https}/metrics"]
            + (["-H", f"Authorization: Bearer {key}"] if key else []),
            capture_output=True, text=True, timeout=20,
        )  # fmt: skip
        assert done.stdout == str(status), key


def test_short_variables_beat_the_defaults_and_env_tells_the_truth(
    new_house: Callable[..., House], tiny_models: Path, tmp_path: Path
) -> None:
    port = free_port()
    settings = {"PORT": str(port), "MODEL": "llama-tied", "MODELS_DIR": str(tiny_models), "HOST": "::1"}
    house = new_house(settings)
    assert house.values["BASE_URL"] == f"https://[::1]:{port}" and house.values["MODEL"] == "llama-tied"
    assert house.call("/v1/models").status == 200
    answer = house.chat("hi", max_tokens=1)
    assert answer.status == 200 and answer.json["model"] == "llama-tied"
    house.stop()
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_bytes((house.folder / "tls" / name).read_bytes())
    house.settings = {
        "SERVER_PORT": str(port), "MODELS_DEFAULT": "qwen2", "MODELS_DIRECTORIES": str(tiny_models),
        "SERVER_CERTIFICATE": str(tmp_path / "cert.pem"), "SERVER_NAME": "localhost",
        "SERVER_CERTIFICATE_KEY": str(tmp_path / "key.pem"),
    }  # fmt: skip
    house.start()
    assert house.values["BASE_URL"] == f"https://localhost:{port}" and house.values["MODEL"] == "qwen2"
    assert house.ca == str(tmp_path / "cert.pem")
    assert house.call("/v1/models").status == 200


def test_a_run_directory_may_have_blanks(tmp_path: Path) -> None:
    folder = tmp_path / "my run; {1}"
    folder.mkdir()
    tmp_path.chmod(0o755)
    more = {"HTTPS_PORT": str(free_port()), "HTTP_PORT": str(free_port()), "DETACH": "1"}
    done = script("run.sh", folder, **more)
    try:
        assert done.returncode == 0, done.stderr
        read = subprocess.run(
            ["sh", "-c", '. "$0" && curl -sS -f --cacert "$CA_FILE" -H "Authorization: Bearer $API_KEY" '
             '"$BASE_URL/v1/models"', str(folder / "env")],
            capture_output=True, text=True, timeout=20,
        )  # fmt: skip
        assert read.returncode == 0 and SMOL in read.stdout, read.stderr
    finally:
        assert script("stop.sh", folder).returncode == 0
    (tmp_path / 'a"b').mkdir()
    refused = script("run.sh", tmp_path / 'a"b', **more)
    assert refused.returncode != 0 and "paths.run_dir: a path here may not" in refused.stderr


def test_the_peppers_variable_holds_for_all_commands(
    new_house: Callable[..., House], tiny_models: Path, tmp_path: Path
) -> None:
    house = start(new_house, tiny_models, PEPPER_FILE=str(tmp_path / "pepper"))
    assert (tmp_path / "pepper").exists() and not (house.folder / "state" / "pepper").exists()
    assert house.call("/v1/models").status == 200


def test_a_settings_file_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    for option in ("--config", "--env-file", "--defaults"):
        done = subprocess.run(
            [str(BIN / "torchgate"), "settings", option, str(tmp_path / "none")],
            capture_output=True, text=True, timeout=20,
        )  # fmt: skip
        assert done.returncode == 64
        assert done.stderr.splitlines()[0] == f"Error: cannot read {tmp_path}/none: No such file or directory"
    done = subprocess.run(
        [str(BIN / "torchgate"), "render", "--model", "none", "--request", str(tmp_path / "none")],
        capture_output=True, text=True, timeout=20,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == f"torchgate render: cannot read {tmp_path}/none: No such file or directory\n"


def test_the_least_tokens_lift_the_usual_most(new_house: Callable[..., House], tiny_models: Path) -> None:
    house = start(new_house, tiny_models, GENERATION_MAX_TOKENS="4")
    answer = house.chat("hi", min_tokens=6, ignore_eos=True)
    assert answer.json["usage"]["completion_tokens"] == 6
    assert house.chat("hi", min_tokens=1_000_000).error["code"] == "context_length_exceeded"


def identities(state: Path) -> list[str]:
    with sqlite3.connect(f"file:{state}/keys/keys.db?mode=ro", uri=True) as database:
        return [row[0] for row in database.execute("SELECT id FROM keys")]


def test_variables_of_other_servers_hold_and_are_told(
    new_house: Callable[..., House], tiny_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAX_TOKENS", "5")
    monkeypatch.setenv("HOST", "x86_64 linux")
    house = start(new_house, tiny_models)
    answer = house.chat("hi", ignore_eos=True)
    assert answer.status == 200, answer.body
    assert answer.json["usage"]["completion_tokens"] == 5
    assert house.log.count("MAX_TOKENS is taken as generation.max_tokens") == 1
    assert "HOST is left aside" in house.log
