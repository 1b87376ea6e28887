"""As much of a Weights & Biases server as `wandb sweep`, `wandb agent`, runs that upload artifacts, and the public API
for sweeps talk to, on the loopback."""

import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ENTITY, PROJECT, SWEEP = "someone", "something", "abcd1234"


class Stub:
    """Hands the `queue` of agent commands out one by one, then tells the agent to exit; `orders` at once, whatever
    runs; `runs` is what the API sees."""

    def __init__(self):
        self.config = ""
        self.queue = []
        self.orders = []
        self.runs = []
        self.states = []
        self.operations = []
        self.artifacts = {}
        self.files = {}
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
            commands, self.orders = self.orders, []
            if not busy and not commands:
                commands = [self.queue.pop(0) if self.queue else {"type": "exit"}]
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
        if "Artifact" in operation:
            return self._artifact(operation, variables)
        if operation == "UpsertBucket":
            names = {"name": variables.get("name"), "displayName": variables.get("name")}
            bucket = {"id": names["name"], **names, "description": None, "config": None, "sweepName": SWEEP}
            bucket |= {
                "project": {**project, "id": "1", "entity": {"id": "1", "name": ENTITY}},
                "historyLineCount": None,
            }
            return {"upsertBucket": {"bucket": bucket, "inserted": True}}
        if operation == "RunResumeStatus":
            return {"model": {"id": "1", "name": PROJECT, "entity": {"id": "1", "name": ENTITY}, "bucket": None}}
        if operation == "CreateRunFiles":
            files = [{"name": name, "uploadUrl": self._place(name)} for name in variables["files"]]
            return {"createRunFiles": {"runID": "1", "uploadHeaders": [], "files": files}}
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

    def _artifact(self, operation, variables):
        """Takes an artifact: `artifacts` has its run, its aliases and whether it is whole, `files` what it is of."""
        given = variables.get("input") or variables
        if operation == "ArtifactType":
            return {"project": {"artifact": None}}
        if operation == "CreateArtifact":
            number = str(len(self.artifacts))
            aliases = [each["alias"] for each in given["aliases"]]
            self.artifacts[number] = {"run": given["runName"], "aliases": aliases, "whole": False}
            sequence = {"id": number, "latestArtifact": None}
            return {"createArtifact": {"artifact": {"id": number, "state": "PENDING", "artifactSequence": sequence}}}
        if operation == "CreateArtifactManifest":
            manifest = {"id": given["artifactID"], "file": self._file(f"{given['artifactID']}/manifest")}
            return {"createArtifactManifest": {"artifactManifest": manifest}}
        if operation == "CreateArtifactFiles":
            names = [(each["artifactID"], each["name"]) for each in given["artifactFiles"]]
            nodes = [
                {**self._file(f"{number}/{name}"), "name": name, "artifact": {"id": number}} for number, name in names
            ]
            return {"createArtifactFiles": {"files": {"edges": [{"node": node} for node in nodes]}}}
        assert operation == "CommitArtifact", operation
        self.artifacts[given["artifactID"]]["whole"] = True
        return {"commitArtifact": {"artifact": {"id": given["artifactID"], "digest": "any"}}}

    def _file(self, name):
        file = {"id": name, "name": name, "displayName": name, "storagePath": name, "uploadUrl": self._place(name)}
        return {**file, "uploadHeaders": [], "uploadMultipartUrls": None}

    def _place(self, name):
        return f"{self.url}/storage/{name}"

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
            sent = self.rfile.read(int(self.headers["Content-Length"] or 0))
            if self.path.startswith("/storage/"):
                stub.files[self.path.removeprefix("/storage/")] = sent
                self.say({})
                return
            body = json.loads(sent or "{}")
            operation = re.search(r"(?:query|mutation)\s+(\w+)", body.get("query", ""))
            data = stub.answer(operation[1] if operation else "", body.get("variables") or {})
            self.say({"data": data})

        def say(self, data):
            answer = json.dumps(data).encode()
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
