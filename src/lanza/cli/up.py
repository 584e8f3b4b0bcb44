"""`lanza up`: the server, until Ctrl-C."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lanza.cli.size import size

if TYPE_CHECKING:
    from lanza.server.settings import ServerSettings


def up(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes one that is free.")] = 8420,
    data: Annotated[
        Path | None, typer.Option(envvar="LANZA_DATA", help="Folder of all data; else LANZA_HOME/server.")
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate chain, to speak https.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Private key of the certificate.")] = None,
    behind_proxy: Annotated[
        list[str] | None,
        typer.Option(metavar="CIDR", help="Believe X-Forwarded headers from here; may be repeated."),
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(envvar="LANZA_DATABASE", help="postgresql+psycopg://... instead of SQLite in DATA."),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(envvar="LANZA_STORAGE", help="s3://, gs:// or az:// for large files, not DATA."),
    ] = None,
    upstream: Annotated[
        str | None, typer.Option(help="Hub to ask for models unknown here; else huggingface.co.")
    ] = None,
    no_upstream: Annotated[bool, typer.Option("--no-upstream", help="Ask no other hub.")] = False,
    quota: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="What a namespace may store, unless `lanza users set` says: 50GB."),
    ] = None,
    refuse: Annotated[
        str | None,
        typer.Option(
            envvar="LANZA_REFUSE",
            metavar="KIND,...",
            help="Refuse pushes that bring what runs code, is damaged or secret: pickle,safetensors,secret.",
        ),
    ] = None,
    new_admin_token: Annotated[
        bool, typer.Option("--new-admin-token", help="Replace the administrator's first token.")
    ] = False,
    collect_every: Annotated[
        str,
        typer.Option(metavar="TIME", help="Remove what nobody needs so often: 12h, 1d, 1w. 0 is never."),
    ] = "1d",
    webhooks_to: Annotated[
        list[str] | None,
        typer.Option(metavar="CIDR", help="Internal network that webhooks may be sent to; may be repeated."),
    ] = None,
    drain: Annotated[float, typer.Option(min=1, help="Seconds for the last requests when stopped.")] = 30,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes that take requests.")] = 1,
    rehearse: Annotated[
        bool, typer.Option("--rehearse", help="Run on this machine what asks for hardware of elsewhere.")
    ] = False,
    internal: Annotated[
        list[str] | None,
        typer.Option(metavar="CIDR", help="Where private endpoints may be called from; may be repeated."),
    ] = None,
    allow_command: Annotated[
        list[str] | None,
        typer.Option(metavar="PROGRAM", help="A program that anybody's endpoints may run; may be repeated."),
    ] = None,
    cores: Annotated[
        int | None, typer.Option(min=1, help="Cores that replicas may use; else all of this machine.")
    ] = None,
    no_isolation: Annotated[
        bool, typer.Option("--no-isolation", help="Run models' own code even where nothing confines it.")
    ] = False,
    no_endpoints: Annotated[
        bool, typer.Option("--no-endpoints", help="Be a Hub only: deploy and run nothing.")
    ] = False,
) -> None:
    """Start the server: a Hub to push models to, and endpoints that serve them."""
    gc.disable()  # until it has begun: all that is imported stays, and looking it through takes time
    from lanza.cli.duration import duration
    from lanza.cli.extras import needs

    with needs("server"):
        from lanza.gateway.settings import LOOPBACK
        from lanza.hub.hub import HubLimits
        from lanza.server.logs import log_to_stderr
        from lanza.server.process import run
        from lanza.server.settings import PUBLIC_HUB, ServerSettings, kinds, networks
    from lanza.settings import Settings

    home = Settings.read().home
    settings = ServerSettings(
        data=(data or home / "server").expanduser().absolute(),
        host=host,
        port=port,
        tls_cert=tls_cert,
        tls_key=tls_key,
        proxies=networks(behind_proxy or []),
        database=database,
        storage=storage,
        limits=HubLimits(account_bytes=None if quota is None else size(quota, "--quota")),
        refused=kinds(refuse),
        upstream=None if no_upstream else upstream or PUBLIC_HUB,
        collect_every=None if collect_every == "0" else duration(collect_every, "--collect-every"),
        webhooks_to=networks(webhooks_to or [], "--webhooks-to"),
        drain=drain,
        workers=workers,
        endpoints=not no_endpoints,
        rehearse=rehearse,
        commands=tuple(allow_command or ()),
        internal=networks(internal, "--internal") if internal else LOOPBACK,
        isolation=not no_isolation,
        cores=cores,
        hidden=(home,),
    )
    log_to_stderr()
    if settings.exposed:
        _warn(settings)
    run(settings, ready=lambda url: _announce(url, settings), new_admin_token=new_admin_token)


def _warn(settings: ServerSettings) -> None:
    from rich.console import Console
    from rich.panel import Panel

    text = (
        f"{settings.host} is reached by others, and nothing is encrypted: tokens and private models can be "
        "read on their way. Use --tls-cert and --tls-key, or put a proxy that speaks TLS in front and name "
        "its network with --behind-proxy."
    )
    Console(stderr=True).print(Panel(text, title="WARNING", border_style="bold red", highlight=False))


def _announce(url: str, settings: ServerSettings) -> None:
    """Where it is, and what a client has to be told."""
    token = settings.data / "admin.token"
    value = str(token)
    if sys.stdout.isatty() and token.is_file():
        value = f"{token.read_text(encoding='ascii').strip()}  (kept in {token})"
    print(f"Lanza is at {url}")
    print(f"  data     {settings.data}")
    print(f"  admin    {value}")
    print(f"  clients  export HF_ENDPOINT={url}")
    print(f"  or       lanza login {url} && lanza shell", flush=True)
