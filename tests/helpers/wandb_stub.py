"""As much of a Weights & Biases server as `wandb sweep`, `wandb agent` and its public API for sweeps talk to, on the
loopback."""

import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ENTITY, PROJECT, SWEEP = "someone", "something", "abcd1234"


class Stub:
    """Hands the `queue` of agent commands out one by one, then tells the agent to exit; `runs` is what the API sees."""

    def __init__(self):
        self.config = ""
        self.queue = []
        self.runs = []
        self.states = []
        self.operations = []
        self.url = ""

    def answer(self, operation, variables):
        self.operations.append(operation)
        project = {"name": PROJECT, "entity": {"name": ENTITY}}
        if operation == "UpsertSweep":
            self.config = variables["config"]
            return {"upsertSweep": {"sweep": {"name": SWEEP, "project": project}, "configValidationWarnings": []}}
        if operation == "CreateAgent":
            return {"createAgent": {"agent": {"id": "agent"}}}
        if operation == "Heartbeat":
            self.states.append(json.loads(variables["runState"]))
            busy = any(self.states[-1].values())
            commands = [] if busy else [self.queue.pop(0) if self.queue else {"type": "exit"}]
            return {"agentHeartbeat": {"agent": {"id": "agent"}, "commands": json.dumps(commands)}}
        if operation in ("SweepWithRuns", "GetSweepState", "GetSweep", "GetSweepLegacy"):
            sweep = {
                "id": "U3dlZXA=",
                "name": SWEEP,
                "displayName": None,
                "method": "bayes",
                "state": "RUNNING",
                "description": None,
            }
            sweep |= {
                "config": self.config,
                "createdAt": "2026-01-01T00:00:00",
                "updatedAt": None,
                "bestLoss": None,
                "controller": None,
            }
            sweep |= {"runCount": len(self.runs), "runCountExpected": None, "runs": {"edges": []}, "scheduler": None}
            return {"project": {"sweep": sweep}}
        if "Runs" in operation:
            return {
                "project": {
                    "runCount": len(self.runs),
                    "readOnly": False,
                    "internalId": "1",
                    "runs": self._page(self.runs),
                }
            }
        if operation in ("Viewer", "GetViewer"):
            viewer = {
                "id": "VQ==",
                "name": ENTITY,
                "username": ENTITY,
                "entity": ENTITY,
                "email": None,
                "admin": False,
                "flags": "{}",
            }
            viewer |= {"deletedAt": None, "apiKeys": {"edges": []}, "teams": {"edges": []}}
            return {"viewer": viewer, "serverInfo": {"cliVersionInfo": {"max_cli_version": "99"}}}
        return {}

    @staticmethod
    def _page(nodes):
        edges = [{"node": node, "cursor": str(number)} for number, node in enumerate(nodes)]
        return {"edges": edges, "pageInfo": {"endCursor": None, "hasNextPage": False}}


@contextmanager
def wandb_stub():
    stub = Stub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or "{}")
            operation = re.search(r"(?:query|mutation)\s+(\w+)", body.get("query", ""))
            data = stub.answer(operation[1] if operation else "", body.get("variables") or {})
            answer = json.dumps({"data": data}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_PUT = do_POST

        def log_message(self, *_):
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_):
            """The client resets idle connections; that is no error."""

    server = Server(("127.0.0.1", 0), Handler)
    stub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
