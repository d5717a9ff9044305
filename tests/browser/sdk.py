"""The official SDK against `payi serve`: who sys.argv[1] makes sys.argv[2] calls of each provider for two users.

Prints one line of JSON: what each user was told that his calls cost, as exact decimals.
"""

import http.server
import json
import os
import sys
import threading
import time
from decimal import Decimal


class Provider(http.server.BaseHTTPRequestHandler):
    """Answers like OpenAI and like Anthropic."""

    count = 0

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        Provider.count += 1
        n = f"{os.getpid()}-{Provider.count}"
        if "anthropic-version" in self.headers:
            answer = {
                "id": f"msg_{n}", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5-20250929",
                "content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn", "stop_sequence": None,
                "usage": {"input_tokens": 30 + Provider.count, "output_tokens": 7,
                          "cache_creation_input_tokens": 0, "cache_read_input_tokens": 5},
            }
        else:
            usage = {"prompt_tokens": 100 + Provider.count, "completion_tokens": 30, "total_tokens": 130,
                     "prompt_tokens_details": {"cached_tokens": 64}}
            choice = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
            answer = {"id": f"chatcmpl-{n}", "object": "chat.completion", "created": int(time.time()),
                      "model": "gpt-4o-mini-2024-07-18", "choices": [choice], "usage": usage}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Provider)
threading.Thread(target=server.serve_forever, daemon=True).start()
base = f"http://127.0.0.1:{server.server_port}"

from anthropic import Anthropic  # noqa: E402
from openai import OpenAI  # noqa: E402
from payi.lib.instrument import payi_instrument, track_context  # noqa: E402

payi_instrument(config={"use_case_name": "python"})
openai = OpenAI(base_url=base + "/v1", api_key="k")
anthropic = Anthropic(base_url=base, api_key="k")
who, calls = sys.argv[1], int(sys.argv[2])
told = {}
for i in range(calls):
    user = f"py-{who}-{i % 2}"
    with track_context(user_id=user, account_name="python"):
        say = [{"role": "user", "content": "x"}]
        answers = [
            openai.chat.completions.create(model="gpt-4o-mini", messages=say),
            anthropic.messages.create(model="claude-sonnet-4-5", max_tokens=5, messages=say),
        ]
    for answer in answers:
        told[user] = told.get(user, Decimal(0)) + Decimal(repr(answer.xproxy_result.cost.total.base))
print(json.dumps({user: format(cost.normalize(), "f") for user, cost in told.items()}))
