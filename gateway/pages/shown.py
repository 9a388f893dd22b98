"""Pages made from templates, with the headers that a browser is to heed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from litestar import MediaType, Response, get
from litestar.params import FromPath
from litestar.response import Redirect

from gateway.pages.texts import Language, other, texts
from gateway.problems import Problem

_HEADERS: Final = {
    "cache-control": "no-store",
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "media-src 'self' blob:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "permissions-policy": "camera=(self), geolocation=(), microphone=()",
}
_FILES: Final = {
    "lacak.css": "text/css; charset=utf-8",
    "ticket.js": "text/javascript; charset=utf-8",
    "screen.js": "text/javascript; charset=utf-8",
    "staff.js": "text/javascript; charset=utf-8",
}
_STATIC_SECONDS: Final = 3600


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("gateway.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def page(template: str, language: Language, back: str, status: int = 200, **given: Any) -> Response[str]:
    """A page in a language; `back` is the path that a change of language returns to."""
    body = (
        _environment()
        .get_template(template)
        .render(lang=language, other_lang=other(language), text=texts(language), back=back, **given)
    )
    return Response(body, status_code=status, media_type=MediaType.HTML, headers=_HEADERS)


def message(
    language: Language,
    back: str,
    heading: str,
    *,
    said: str = "",
    fault: str = "",
    link: str = "",
    link_text: str = "",
    status: int = 200,
) -> Response[str]:
    """A page that says one thing."""
    given: Mapping[str, str] = {"heading": heading, "said": said, "fault": fault, "link": link, "link_text": link_text}
    return page("message.html", language, back, status, **given)


def go_to(path: str) -> Redirect:
    """See another page (303), after a form was taken. Never to another host."""
    return Redirect(own_path(path), status_code=303)


def own_path(path: str) -> str:
    """The path, if it is one of this gateway's pages, else the first page."""
    return path if path.startswith("/") and not path.startswith(("//", "/\\")) else "/me"


@get("/static/{name:str}", include_in_schema=False, sync_to_thread=False)
def static(name: FromPath[str]) -> Response[bytes]:
    """A style sheet or script."""
    if name not in _FILES:
        raise Problem("not-found")
    body = files("gateway.pages").joinpath("static", name).read_bytes()
    headers = {"cache-control": f"public, max-age={_STATIC_SECONDS}", "x-content-type-options": "nosniff"}
    return Response(body, media_type=_FILES[name], headers=headers)
