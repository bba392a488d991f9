"""The VLM judge against a real HTTP server on this machine."""

from __future__ import annotations

import base64
import io
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import PIL.Image
import pytest

from itk_embodied.agents.conformance import example_image
from itk_embodied.errors import ModelOutputError, TransportError
from itk_embodied.training.judge import Subject, load_judge
from itk_embodied.training.judge.vlm import judge_schema, read_scores

SCORES = {"reason": "the bowl moved", "right_change": 9, "nothing_else": 4, "natural": 8, "no_artefacts": 7}
BEFORE, AFTER = example_image(64, 64), example_image(64, 64)[::-1].copy()


@contextmanager
def server(*answers):
    """Each answer is the model's text, or an HTTP status; the last one again and again. Yields the address."""
    requests, left = [], list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            requests.append((self.path, json.loads(self.rfile.read(int(self.headers["content-length"])))))
            answer = left.pop(0) if len(left) > 1 else left[0]
            status = answer if isinstance(answer, int) else 200
            data = json.dumps({"choices": [{"message": {"content": answer}}]} if status == 200 else {}).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{httpd.server_address[1]}/v1", requests
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join(10)


def judge_at(url, tmp_path, **more):
    """Chosen as a user chooses it: one line of TOML."""
    settings = {"kind": "openai", "base_url": url, "model": "scorer", "max_retries": 0} | more
    path = tmp_path / "judge.toml"
    path.write_text("judge = { " + ", ".join(f"{k} = {json.dumps(v)}" for k, v in settings.items()) + " }\n")
    return load_judge(str(path))


def test_it_shows_both_pictures_and_the_original_instruction_and_reads_the_scores(tmp_path):
    with server(json.dumps(SCORES)) as (url, requests):
        one = judge_at(url, tmp_path).judge(Subject(BEFORE, "put the red cube in the teal bowl"), AFTER)
    assert (one.semantics, one.quality, one.success) == (4, 7, False)
    assert one.overall == pytest.approx(np.sqrt(28))
    assert one.reasons == ("the bowl moved",) and json.loads(one.raw) == SCORES
    path, body = requests[0]
    assert path == "/v1/chat/completions" and body["model"] == "scorer"
    content = body["messages"][-1]["content"]
    shown = [part["image_url"]["url"] for part in content if part["type"] == "image_url"]
    assert [decoded(url).tolist() for url in shown] == [BEFORE.tolist(), AFTER.tolist()]
    assert "put the red cube in the teal bowl" in content[-1]["text"]


def decoded(url: str) -> np.ndarray:
    return np.asarray(PIL.Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))))


def test_an_unreadable_answer_is_asked_for_again_with_another_seed_and_then_is_an_error(tmp_path):
    with server("no numbers today", f"<think>{{}}</think>```json\n{json.dumps(SCORES)}\n```") as (url, requests):
        assert judge_at(url, tmp_path).judge(Subject(BEFORE, "open the drawer"), AFTER).semantics == 4
    assert len({body["seed"] for _, body in requests}) == 2
    with server("no numbers today") as (url, requests), pytest.raises(ModelOutputError, match="no JSON object") as told:
        judge_at(url, tmp_path, tries=3).judge(Subject(BEFORE, "open the drawer"), AFTER)
    assert len(requests) == 3 and told.value.raw == "no numbers today"


def test_a_server_that_fails_is_an_error_never_a_score(tmp_path):
    with server(500) as (url, _), pytest.raises(TransportError, match="500"):
        judge_at(url, tmp_path).judge(Subject(BEFORE, "open the drawer"), AFTER)


def test_the_schema_goes_along_where_the_server_takes_one(tmp_path):
    with server(json.dumps(SCORES)) as (url, requests):
        judge_at(url, tmp_path, response_format="json_schema").judge(Subject(BEFORE, "open the drawer"), AFTER)
    assert requests[0][1]["response_format"]["json_schema"]["schema"] == judge_schema()


@pytest.mark.parametrize(
    "change", [{"natural": 11}, {"natural": -1}, {"natural": "8"}, {"natural": None}, {"right_change": float("nan")}]
)
def test_scores_out_of_their_range_are_refused(change):
    with pytest.raises(ModelOutputError):
        read_scores(json.dumps(SCORES | change))
    missing = {key: value for key, value in SCORES.items() if key != "natural"}
    with pytest.raises(ModelOutputError, match="natural"):
        read_scores(json.dumps(missing))
