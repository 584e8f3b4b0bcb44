"""nginx with the same files, and with those answers beside them that `hf download` asks for.

The model: a repository is three things, which never change here: what `revision` and `tree` answer, as JSON
in files, and the files themselves with the headers that clients need, the commit and the content's hash. So
the unmodified client takes nginx for a Hub. It does nothing else: no rights, no history, no pushes.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from hub.data import Made
from hub.ours import USER
from processes import ServerFailed, free_port, last_words, listens, stop

PATIENCE: Final = 10.0
PROGRAM: Final = "nginx"

CONFIGURATION: Final = """\
{user}daemon off;
pid {work}/nginx.pid;
worker_processes auto;
events {{ worker_connections 512; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  etag off;
  default_type application/octet-stream;
  client_body_temp_path {work}/body;
  proxy_temp_path {work}/proxy;
  fastcgi_temp_path {work}/fastcgi;
  uwsgi_temp_path {work}/uwsgi;
  scgi_temp_path {work}/scgi;
  map_hash_max_size 16384;
  map_hash_bucket_size 256;
  map $uri $tag {{
{tags}
  }}
  server {{
    listen 127.0.0.1:{port};
{locations}
  }}
}}
"""

LOCATIONS: Final = """\
    location = /api/models/{repo}/revision/main {{
      alias {answers}/info.json;
      default_type application/json;
    }}
    location = /api/models/{repo}/tree/{commit} {{
      alias {answers}/tree.json;
      default_type application/json;
    }}
    location ^~ /{repo}/resolve/{commit}/ {{
      alias {folder}/;
      add_header X-Repo-Commit {commit};
      add_header ETag $tag;
    }}
"""


def repo_of(made: Made) -> str:
    return f"{USER}/{made.case.name}"


def commit_of(made: Made) -> str:
    """A name for the state of a case's files, of the form that a commit has."""
    return hashlib.sha1("".join(made.digests.values()).encode(), usedforsecurity=False).hexdigest()


def file_url(url: str, made: Made, name: str) -> str:
    return f"{url}/{repo_of(made)}/resolve/{commit_of(made)}/{name}"


def configuration(cases: Sequence[Made], work: Path, port: int) -> str:
    """nginx's configuration, for answers that lie in `work`, by case."""
    tags = [
        f"    /{repo_of(made)}/resolve/{commit_of(made)}/{name} '\"{digest}\"';"
        for made in cases
        for name, digest in made.digests.items()
    ]
    locations = [
        LOCATIONS.format(
            repo=repo_of(made), commit=commit_of(made), answers=work / made.case.name, folder=made.folder
        )
        for made in cases
    ]
    return CONFIGURATION.format(
        user="user root;\n" if os.geteuid() == 0 else "",  # whose files its workers are to read
        work=work,
        port=port,
        tags="\n".join(tags),
        locations="".join(locations),
    )


def answers(made: Made) -> dict[str, Any]:
    """What `revision` and `tree` answer."""
    commit = commit_of(made)
    tree = [
        {
            "type": "file",
            "path": name,
            "size": made.case.size,
            "oid": commit,
            "lfs": {"oid": digest, "size": made.case.size, "pointerSize": 134},
        }
        for name, digest in made.digests.items()
    ]
    siblings = [{"rfilename": name} for name in made.digests]
    info = {"id": repo_of(made), "sha": commit, "private": False, "tags": [], "siblings": siblings}
    return {"info.json": info, "tree.json": tree}


@contextmanager
def nginx(cases: Sequence[Made], work: Path) -> Iterator[str]:
    """Serve the cases; gives the URL. ServerFailed when it does not come up."""
    work.mkdir(parents=True, exist_ok=True)
    for made in cases:
        folder = work / made.case.name
        folder.mkdir(exist_ok=True)
        for name, content in answers(made).items():
            (folder / name).write_text(json.dumps(content))
    port = free_port()
    settings, log = work / "nginx.conf", work / "nginx.log"
    settings.write_text(configuration(cases, work, port))
    command = [PROGRAM, "-p", str(work), "-c", str(settings), "-e", str(log)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        _wait(process, port, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        stop(process)


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        if listens(port):
            return
        time.sleep(0.02)
    raise ServerFailed(f"nginx did not come up: {last_words(log) if log.exists() else 'it said nothing'}")
