"""Files API of the test workspace, multipart uploads included."""

from __future__ import annotations

import re
import threading
import time
from email.utils import formatdate
from pathlib import Path
from uuid import uuid4

from tests.support.workspace.files import Tree
from tests.support.workspace.rest_http import ApiError, Request, Response, Routes

_FILE = "The file being accessed is not found."
_DIRECTORY = "The directory being accessed is not found."
_BYTES = "application/octet-stream"


class FilesApi:
    """Endpoints over a ``Tree``.

    Attributes:
        multipart_uploads: how many were completed.
        break_parts: this many next parts meet a busy storage.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._uploads: dict[str, dict[int, bytes]] = {}
        self._lock = threading.Lock()
        self.multipart_uploads = 0
        self.break_parts = 0

    def register(self, routes: Routes) -> None:
        file, directory = r"/api/2\.0/fs/files(/.+)", r"/api/2\.0/fs/directories(/.+?)/?"
        routes.add("PUT", file, self._put)
        routes.add("POST", file, self._post)
        routes.add("GET HEAD", file, self._get)
        routes.add("DELETE", file, self._delete)
        routes.add("POST", r"/api/2\.0/fs/create-upload-part-urls", self._part_urls)
        routes.add("POST", r"/api/2\.0/fs/create-abort-upload-url", self._abort_url)
        routes.add("PUT", directory, self._make_directory)
        routes.add("HEAD", directory, self._has_directory)
        routes.add("GET", directory, self._list)
        routes.add("DELETE", directory, self._remove_directory)

    def register_storage(self, routes: Routes) -> None:
        """The cloud storage behind presigned URLs, which takes no token of ours."""
        routes.add("PUT", r"/cloud-storage/parts", self._put_part)
        routes.add("DELETE", r"/cloud-storage/uploads", self._abort)

    def _target(self, path: str) -> Path:
        if not self._tree.has_volume_of(path):
            names = ".".join(path.strip("/").split("/")[1:4])
            raise ApiError(404, "NOT_FOUND", f"Volume '{names}' does not exist.")
        return self._tree.path(path)

    def _put(self, request: Request, match: re.Match[str]) -> Response:
        self._store(self._target(match[1]), request.body, overwrite=request.query.get("overwrite") == "true")
        return Response(status=204)

    def _store(self, target: Path, content: bytes, *, overwrite: bool) -> None:
        if target.exists() and not overwrite:
            raise ApiError(409, "ALREADY_EXISTS", "The file being created already exists.")
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{uuid4().hex}.part")
        part.write_bytes(content)
        part.replace(target)

    def _post(self, request: Request, match: re.Match[str]) -> Response:
        target = self._target(match[1])
        overwrite = request.query.get("overwrite") == "true"
        match request.query.get("action"):
            case "initiate-upload":
                if target.exists() and not overwrite:
                    raise ApiError(409, "ALREADY_EXISTS", "The file being created already exists.")
                token = uuid4().hex
                with self._lock:
                    self._uploads[token] = {}
                return Response(content={"multipart_upload": {"session_token": token}})
            case "complete-upload":
                with self._lock:
                    parts = self._uploads.pop(request.query["session_token"])
                    self.multipart_uploads += 1
                wanted = [part["part_number"] for part in request.json["parts"]]
                self._store(target, b"".join(parts[number] for number in wanted), overwrite=True)
                return Response()
            case action:
                raise ApiError(400, "INVALID_PARAMETER_VALUE", f"unknown action {action!r}")

    def _part_urls(self, request: Request, _: re.Match[str]) -> Response:
        wanted = request.json
        token, first = wanted["session_token"], int(wanted["start_part_number"])
        urls = [
            {
                "url": f"http://{request.host}/cloud-storage/parts?upload={token}&number={number}",
                "part_number": number,
                "headers": [],
            }
            for number in range(first, first + int(wanted["count"]))
        ]
        return Response(content={"upload_part_urls": urls})

    def _abort_url(self, request: Request, _: re.Match[str]) -> Response:
        url = f"http://{request.host}/cloud-storage/uploads?upload={request.json['session_token']}"
        return Response(content={"abort_upload_url": {"url": url, "headers": []}})

    def _put_part(self, request: Request, _: re.Match[str]) -> Response:
        if self.break_parts:
            self.break_parts -= 1
            return Response(status=503, content=b"<Error><Code>SlowDown</Code></Error>", content_type="application/xml")
        number = int(request.query["number"])
        with self._lock:
            self._uploads[request.query["upload"]][number] = request.body
        return Response(content=b"", headers={"ETag": f'"{number}"'})

    def _abort(self, request: Request, _: re.Match[str]) -> Response:
        with self._lock:
            self._uploads.pop(request.query["upload"], None)
        return Response(content=b"")

    def _get(self, request: Request, match: re.Match[str]) -> Response:
        path = self._tree.path(match[1])
        if not path.is_file():
            raise ApiError(404, "NOT_FOUND", _FILE)
        stat = path.stat()
        headers = {"Last-Modified": formatdate(stat.st_mtime, usegmt=True)}
        if request.method == "HEAD":
            return Response(content=b"", content_type=_BYTES, headers={**headers, "Content-Length": str(stat.st_size)})
        content = path.read_bytes()
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
        if span is None:
            return Response(content=content, content_type=_BYTES, headers=headers)
        first, last = int(span[1]), min(int(span[2] or len(content) - 1), len(content) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        return Response(status=206, content=content[first : last + 1], content_type=_BYTES, headers=headers)

    def _delete(self, request: Request, match: re.Match[str]) -> Response:
        path = self._tree.path(match[1])
        if not path.is_file():
            raise ApiError(404, "NOT_FOUND", _FILE)
        path.unlink()
        return Response(status=204)

    def _make_directory(self, request: Request, match: re.Match[str]) -> Response:
        self._target(match[1]).mkdir(parents=True, exist_ok=True)
        return Response(status=204)

    def _has_directory(self, request: Request, match: re.Match[str]) -> Response:
        if not self._tree.path(match[1]).is_dir():
            raise ApiError(404, "NOT_FOUND", _DIRECTORY)
        return Response()

    def _list(self, request: Request, match: re.Match[str]) -> Response:
        path = self._tree.path(match[1])
        if not path.is_dir():
            raise ApiError(404, "NOT_FOUND", _DIRECTORY)
        entries = [entry for entry in sorted(path.iterdir()) if not entry.name.startswith(".")]
        offset, size = int(request.query.get("page_token") or 0), int(request.query.get("page_size") or 1000)
        answer: dict[str, object] = {
            "contents": [self._entry(match[1], entry) for entry in entries[offset : offset + size]]
        }
        if offset + size < len(entries):
            answer["next_page_token"] = str(offset + size)
        return Response(content=answer)

    def _entry(self, folder: str, path: Path) -> dict[str, object]:
        entry: dict[str, object] = {
            "path": f"{folder.rstrip('/')}/{path.name}",
            "name": path.name,
            "is_directory": path.is_dir(),
            "last_modified": int(time.time() * 1000),
        }
        return entry if path.is_dir() else {**entry, "file_size": path.stat().st_size}

    def _remove_directory(self, request: Request, match: re.Match[str]) -> Response:
        path = self._tree.path(match[1])
        if not path.is_dir():
            raise ApiError(404, "NOT_FOUND", _DIRECTORY)
        for hidden in path.glob(".*"):
            hidden.unlink()
        try:
            path.rmdir()
        except OSError as exc:
            raise ApiError(400, "DIRECTORY_NOT_EMPTY", "The directory being deleted is not empty.") from exc
        return Response(status=204)
