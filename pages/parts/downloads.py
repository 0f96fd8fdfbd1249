"""The server's route for prepared exports: `/download/{run_id}/{key}` and its companion files."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from pages.parts import people
from staff_engine.errors import StaffError
from staff_engine.export.downloads import Prepared, find_prepared, zipped
from staff_engine.system.home import in_home
from staff_engine.system.sharing import is_shared

ARCHIVE = "zip"
"""The name of the part that contains all files in one archive."""

HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "private, no-cache"}


def download(request: Request) -> Response:
    """Send a file of a prepared export from disk; anything else gets a 404 with a message."""
    names = request.path_params
    part = names.get("part", "coreset")
    try:
        prepared = _find(request, names["run_id"], names["key"])
    except StaffError as error:
        return _missing(f"{error}.")
    if part == ARCHIVE:
        return _archive(prepared)
    if part not in prepared.files:
        return _missing(
            f"Unknown part {part!r} of an export; it has {', '.join(prepared.files)} and {ARCHIVE}."
        )
    path = prepared.files[part]
    return FileResponse(
        path, filename=path.name, media_type="application/octet-stream", headers=dict(HEADERS)
    )


def _find(request: Request, run_id: str, key: str) -> Prepared:
    """The export that a request asks for. On a server for several people, it has to be the person's own."""
    if not is_shared():
        return find_prepared(run_id, key)
    person = people.of_request(request)
    if person is None:
        raise StaffError("nobody has signed in")
    for folder in people.homes_for(person):
        with in_home(folder):
            if (folder / "runs" / run_id).is_dir():
                return find_prepared(run_id, key)
    with in_home(person.home):
        return find_prepared(run_id, key)


def address(prepared: Prepared, part: str = "coreset") -> str:
    """The address of a part of an export on the server."""
    tail = "" if part == "coreset" else f"/{part}"
    return f"/download/{prepared.run_id}/{prepared.key}{tail}"


def _archive(prepared: Prepared) -> Response:
    name = f"coreset-{prepared.run_id}.zip"
    headers = HEADERS | {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(zipped(prepared), media_type="application/zip", headers=headers)


def _missing(sentence: str) -> Response:
    return PlainTextResponse(sentence[:1].upper() + sentence[1:], status_code=404, headers=dict(HEADERS))


ROUTES = [Route("/download/{run_id}/{key}", download), Route("/download/{run_id}/{key}/{part}", download)]
