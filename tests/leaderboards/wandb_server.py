"""A W&B server for its own client: the answers that reading a project asks for, as GraphQL.

Their fields are those that the client asks for (`Runs`, `RunFiles`); none is recorded from an
account.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_ME = {"id": "VXNlcjox", "username": "me", "entity": "team", "email": "", "flags": "{}"}


class Server(ThreadingHTTPServer):
    """A server with the one project team/zoo.

    Args:
        runs: content of the files of each run, by id and name; None for one that is gone.
        refusal: message of the error that stands instead of the runs.
    """

    def __init__(self, runs: dict[str, dict[str, bytes | None]], refusal: str | None = None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.runs = runs
        self.refusal = refusal
        self.num_pages = 0
        self.url = f"http://127.0.0.1:{self.server_port}"
        self._thread = threading.Thread(target=self.serve_forever, daemon=True)
        self._thread.start()

    def __exit__(self, *error) -> None:
        self.shutdown()
        super().__exit__(*error)

    def answer(self, query: str, variables: dict) -> dict:
        """Answer a query."""
        if "query RunFiles(" in query:
            return {"data": {"project": {"internalId": "1", "run": self.files(variables)}}}
        if "query Runs(" in query:
            if self.refusal is not None:
                return {"data": None, "errors": [{"message": self.refusal}]}
            known = (variables["entity"], variables["project"]) == ("team", "zoo")
            return {"data": {"project": self.project(variables) if known else None}}
        return {"data": {"viewer": {**_ME, "teams": {"edges": []}}}}

    def project(self, variables: dict) -> dict:
        """Return a page of the runs."""
        assert variables["order"] == "+created_at"
        self.num_pages += 1
        start, names = int(variables["cursor"] or 0), list(self.runs)
        stop = start + variables["perPage"]
        edges = [
            {"node": {"id": f"key-{name}", "name": name, "state": "finished"}, "cursor": str(place)}
            for place, name in enumerate(names[start:stop], start + 1)
        ]
        page = {"endCursor": str(stop), "hasNextPage": stop < len(names)}
        return {
            "internalId": "1",
            "runCount": len(names),
            "readOnly": False,
            "runs": {"edges": edges, "pageInfo": page},
        }

    def files(self, variables: dict) -> dict:
        """Return the files of a run that are called as asked for."""
        run, ending = variables["name"], variables["pattern"].removeprefix("%")
        names = [name for name in self.runs[run] if name.endswith(ending)]
        nodes = [
            {
                "id": name,
                "name": name,
                "url": f"{self.url}/files/{run}/{name}",
                "directUrl": f"{self.url}/files/{run}/{name}",
                "sizeBytes": str(len(self.runs[run][name] or b"")),
                "mimetype": "application/json",
            }
            for name in names
        ]
        edges = [{"node": node, "cursor": node["name"]} for node in nodes]
        page = {"endCursor": None, "hasNextPage": False}
        return {"fileCount": len(names), "files": {"edges": edges, "pageInfo": page}}


class Handler(BaseHTTPRequestHandler):
    """One request of the client."""

    server: Server

    def do_POST(self) -> None:
        """Answer a query; anything else is counted by W&B itself."""
        text = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path != "/graphql":
            self.send(200, b"")
            return
        asked = json.loads(text)
        answer = self.server.answer(asked["query"], asked.get("variables") or {})
        self.send(200, json.dumps(answer).encode())

    def do_GET(self) -> None:
        """Hand a file out."""
        _, _, run, name = self.path.split("/", 3)
        content = self.server.runs[run][name]
        self.send(404 if content is None else 200, content or b"gone")

    def send(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *words) -> None:
        """Say nothing."""
