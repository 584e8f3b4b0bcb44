"""One of several processes of a server: `python -m lanza.server.worker`, started by `workers.py`.

It is given the listening socket and a channel by their numbers, its place among the workers, and the settings
on its standard input.
"""

from __future__ import annotations

import pickle
import socket
import sys

from lanza.server.app import application
from lanza.server.colleagues import Colleagues
from lanza.server.folder import DataFolder, hub_of
from lanza.server.logs import log_to_stderr
from lanza.server.metrics import count_together
from lanza.server.process import local, serve


def main() -> None:
    log_to_stderr()
    settings = pickle.load(sys.stdin.buffer)  # noqa: S301 -- our parent's
    listener, channel = (socket.socket(fileno=int(number)) for number in sys.argv[1:3])
    for ours in (listener, channel):
        ours.set_inheritable(False)  # a replica that held them would hide our end from our parent
    count_together(DataFolder(path=settings.data).counters, int(sys.argv[3]))
    colleagues = Colleagues(channel)
    if not settings.endpoints:
        colleagues.listen(lambda endpoint_id: None)  # for the end of our parent, of which it tells too
    app = application(hub_of(settings), settings, local(settings), colleagues)
    serve(app, settings, listener, colleagues.ready)


if __name__ == "__main__":
    main()
