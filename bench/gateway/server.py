"""The gateway as a process of its own, for the benchmark: `server.py FOLDER PORT ADDRESS`.

Everything on the way of a request is real: the database with an account, a token, an endpoint and one ready
replica at ADDRESS (`unix:/path`), authentication, metering, uvicorn as `lanza up` runs it. It writes the
token to FOLDER/token.
"""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import Any

import uvicorn
import uvloop

from lanza.auth import accounts, tokens
from lanza.auth.principal import Role
from lanza.auth.tokens import Authenticator
from lanza.database import Database, now
from lanza.endpoints import store
from lanza.endpoints.platform import Instance
from lanza.endpoints.records import Replica
from lanza.endpoints.secrets import Vault
from lanza.endpoints.spec import read_spec
from lanza.endpoints.states import Phase, State
from lanza.gateway.gateway import Gateway
from lanza.gateway.settings import GatewaySettings
from lanza.writes import Protocol

HERE = Instance(
    vendor="lanza", region="local", accelerator="cpu", type="cpu", size="x1", architecture="", cpus=1,
    memory_bytes=2**30,
)  # fmt: skip


def fill(database: Database, address: str) -> str:
    """One endpoint with one replica; gives a token that may call it."""
    spec = read_spec({"name": "subject", "model": {"repository": "bench/subject"}})
    with database.writing() as session:
        owner = accounts.create_user(session, "bench", password=None)
        token = tokens.issue(session, owner, name="load", role=Role.WRITE)[1]
        making = store.Making(spec=spec, instance=HERE, repo_id=1, commit="c" * 40, secrets={})
        endpoint = store.create(session, Vault(b"k" * 32), owner, making, by="bench")
        endpoint.state = State.RUNNING.value
        moment = now()
        replica = Replica(
            id="r1", endpoint_id=endpoint.id, revision=1, platform="local", phase=Phase.READY.value,
            address=address, price_per_hour=0.0, started_at=moment, ready_at=moment, accounted_at=moment,
        )  # fmt: skip
        session.add(replica)
    return token


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    """What is behind the gateway."""
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def main(folder: Path, port: int, address: str) -> None:
    database = Database(f"sqlite:///{folder / 'lanza.db'}")
    database.migrate()
    token = fill(database, address)
    gateway = Gateway(
        nothing,
        database=database,
        authenticator=Authenticator(database),
        settings=GatewaySettings(),
        nudge=lambda: None,
    )
    await gateway.start()
    (folder / "token").write_text(token)
    gc.collect()
    gc.freeze()
    config = uvicorn.Config(
        gateway, port=port, http=Protocol, ws="none", lifespan="off", access_log=False, log_config=None,
        server_header=False, proxy_headers=False, timeout_keep_alive=75,
    )  # fmt: skip
    await uvicorn.Server(config).serve()
    await gateway.close()


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
