"""`lanza shell --intercept`: answer for the addresses that clients have built in, with this server.

Some clients cannot be told another address: their libraries hold `api.endpoints.huggingface.cloud` or
`api-inference.huggingface.co` as a constant. So, in that one shell and when it is asked for, they are given
an HTTPS proxy on this machine and a certificate authority that this proxy alone has the key of. What goes to
one of the hosts in `hosts.py` is answered by the server in use; every other connection is passed on unread.
"""

from __future__ import annotations

from lanza.cli.intercept.session import intercepting

__all__ = ["intercepting"]
