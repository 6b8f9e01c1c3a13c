"""``hashae serve``: the page and the API over one collection or several."""

from __future__ import annotations

import socket

import click

from hashae.cli.options import PlaceType, collection_path, default_workers
from hashae.place import Place, place_of


@click.command()
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to listen on; others than loopback need a token."
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="Port; 0 takes a free one."
)
@click.option(
    "--token/--no-token",
    "wants_token",
    default=None,
    help="Ask for an access token, made for this run or taken from HASHAE_TOKEN.  [default: unless on loopback]",
)
@click.option(
    "--allow-host",
    "allow_hosts",
    multiple=True,
    metavar="NAME",
    help="A name that browsers call this machine by; can be repeated.",
)
@click.option(
    "--max-upload",
    type=click.IntRange(1, 1024),
    default=64,
    show_default=True,
    metavar="MIB",
    help="Largest picture that is taken, in MiB.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Processes that answer. With several, one more runs jobs; SIGHUP replaces them one by one.",
)
@click.option("--read-only", is_flag=True, help="Refuse what would change the collection or its files.")
@click.option(
    "--open",
    "opens",
    type=click.Choice(["search", "duplicates", "map", "collection"]),
    is_flag=False,
    flag_value="search",
    help="Open a page in a browser: search, or the one named.",
)
@click.option(
    "--db",
    "files",
    type=PlaceType(),
    metavar="FILE|URL",
    multiple=True,
    help="Collection file, or URL of a database; can be repeated to serve several.  [env var: HASHAE_DB; default: in "
    "the user's data folder]",
)
def serve(
    host: str,
    port: int,
    wants_token: bool | None,
    allow_hosts: tuple[str, ...],
    max_upload: int,
    workers: int,
    read_only: bool,
    opens: str | None,
    files: tuple[Place, ...],
) -> None:
    """Search, review duplicates and look into a collection in a browser; the same as JSON for programs.

    Only this machine can reach the page unless --host says otherwise. Whoever can reach it can put duplicates into the
    trash: on a machine that you share, give --token.

    \b
    Examples:
      hashae serve --open
      hashae serve --open duplicates
      hashae serve --port 9000 --db photos.db
      hashae serve --db photos.db --db scans.db
      hashae serve --host 0.0.0.0 --allow-host nas.local
      hashae serve --workers 2 --db postgresql+psycopg://ann@db.local/photos
      hashae serve --workers 4 --read-only --db postgresql+psycopg://ann@replica.local/photos
    """
    from hashae.cli.output import say
    from hashae.errors import ConfigError, MissingDependency

    try:
        from hashae.serve.workers import serve_alone, serve_many
    except ModuleNotFoundError as error:
        raise MissingDependency(f"the page ({error.name} is missing)", "serve") from error
    from hashae.serve.settings import MIB, ServeSettings, is_loopback

    if wants_token is False and not is_loopback(host):
        raise click.UsageError(f"{host} can be reached from other machines: it is not served without a token")
    first, *others = files or (collection_path(_from_environment()),)
    listener = _listen(host, port)
    with listener:
        settings = ServeSettings(
            collection=first,
            others=tuple(others),
            host=host,
            port=listener.getsockname()[1],
            token=_token() if wants_token or not is_loopback(host) else "",
            allow_hosts=allow_hosts,
            max_bytes=max_upload * MIB,
            threads=default_workers(),
            read_only=read_only,
            workers=workers,
        )

        def tell() -> None:
            say(f"{settings.url}  (stop with Ctrl+C)")
            if not is_loopback(host):
                say("note: this is plain HTTP; whoever can listen in on the network sees pictures and token")
            if opens:
                import webbrowser

                several = len(settings.collections) > 1
                webbrowser.open(settings.url_of("/" if opens == "search" or several else f"/{opens}"))

        try:
            (serve_many if workers > 1 else serve_alone)(settings, listener, tell)
        except OSError as error:
            raise ConfigError(f"{host}:{port} cannot be served ({error.strerror or error})") from error
        say("stopped")


def _listen(host: str, port: int) -> socket.socket:
    """Return a bound socket, so that a port that is taken is told in a sentence."""
    from hashae.errors import ConfigError

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sends small answers at once (TCP_NODELAY) only on sockets that name their protocol.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)  # from here on a browser that is quicker than the server waits
    except OSError as error:
        listener.close()
        raise ConfigError(f"{host}:{port} cannot be listened on ({error.strerror or error}); try --port 0") from error
    return listener


def _from_environment() -> Place | None:
    import os

    named = os.environ.get("HASHAE_DB")
    return place_of(named) if named else None


def _token() -> str:
    import os
    import secrets

    return os.environ.get("HASHAE_TOKEN") or secrets.token_urlsafe(24)
