"""Every error that a user of Lanza can meet.

The tree, each with its code and status:

    LanzaError                  internal            500
    ├── UsageError              usage               2 (exit)   the command line asked for what cannot be
    ├── ModelError              model               422        this folder cannot be served as asked
    │   ├── UnsafeModel         unsafe_model        422        it holds something that may run code
    │   ├── MissingExtra        missing_extra       422        an optional dependency is not installed
    │   └── ConversionFailed    conversion_failed   422        the export is missing or does not agree
    ├── BadRequest              bad_request         400        the request does not say what it must
    │   ├── InputTooLong        input_too_long      400        more tokens than the model has positions
    │   ├── PushRefused         push_refused        400        a policy refuses what the push brings
    │   ├── Unauthorized        unauthorized        401        no token, or one that is not good
    │   ├── Forbidden           forbidden           403        not with this token, not from this site
    │   │   ├── Gated           gated               403        ask for access to this repository first
    │   │   └── QuotaExceeded   quota_exceeded      403        the namespace has no room for this
    │   ├── NotFound            not_found           404
    │   │   ├── RepoNotFound    repo_not_found      404        missing, or private and not yours
    │   │   ├── RevisionNotFound revision_not_found 404        no such branch, tag or commit
    │   │   └── EntryNotFound   entry_not_found     404        no such file or folder in this revision
    │   ├── MethodNotAllowed    method_not_allowed  405
    │   ├── Conflict            conflict            409        it exists already, or somebody was faster
    │   ├── PreconditionFailed  precondition_failed 412        the branch is no longer where you think
    │   ├── PayloadTooLarge     payload_too_large   413
    │   ├── UnsupportedMedia    unsupported_media   415
    │   └── RangeNotSatisfiable range               416        the file has no such bytes
    ├── Unavailable             unavailable         503        not now: try again
    │   ├── Overloaded          overloaded          429        the queue is full
    │   ├── EngineRestarting    engine_restarting   503        a handler died and is being started again
    │   ├── UpstreamUnavailable upstream            503        the hub behind this one cannot be asked
    │   │   └── UpstreamAway    upstream_away       424        it cannot be reached at all
    │   └── NoRoom              no_room             503        not enough cores or memory are free
    ├── NotYet                  not_yet             501        asked for by its right name, and not built yet
    ├── StorageFull             storage_full        507        the disk has no room left
    ├── DeadlineExceeded        deadline_exceeded   504
    └── EngineFailed            engine_failed       500        the model raised; details are in the log
        └── HandlerError        handler_error       400        the user's handler raised; its message is kept

A message says what to change. Each protocol renders the tree once (``protocols/``).
"""

from __future__ import annotations

from typing import ClassVar


class LanzaError(Exception):
    """The root: ``code`` is stable, ``status`` is HTTP's, the text tells what to do next."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1
    retry_after: float | None = None

    @property
    def message(self) -> str:
        return str(self)


class UsageError(LanzaError):
    """The command line asked for something that cannot be."""

    code = "usage"
    exit_code = 2


class ModelError(LanzaError):
    """This folder cannot be served as asked."""

    code = "model"
    status = 422
    exit_code = 2


class UnsafeModel(ModelError):
    """The folder holds something that may run code when loaded."""

    code = "unsafe_model"


class MissingExtra(ModelError):
    """An optional dependency is not installed."""

    code = "missing_extra"


class ConversionFailed(ModelError):
    """The model could not be exported, or its export does not agree with it."""

    code = "conversion_failed"


class BadRequest(LanzaError):
    """The request does not say what it must."""

    code = "bad_request"
    status = 400


class InputTooLong(BadRequest):
    """The input has more tokens than the model has positions."""

    code = "input_too_long"

    def __init__(
        self,
        *,
        tokens: int,
        limit: int,
        what: str = "inputs",
        instead: str = 'send "parameters": {"truncation": true} to cut its end off',
    ) -> None:
        super().__init__(
            f"`{what}` has {tokens} tokens and this model takes at most {limit}: shorten it, or {instead}."
        )


class PushRefused(BadRequest):
    """A policy of the server or the namespace refuses what the push brings."""

    code = "push_refused"


class Unauthorized(BadRequest):
    """No token was sent, or one that is unknown, expired or revoked."""

    code = "unauthorized"
    status = 401


class Forbidden(BadRequest):
    """The token may not do this, or a browser calls from a page of another site."""

    code = "forbidden"
    status = 403


class Gated(Forbidden):
    """The repository is gated, and its owner has not let this user in."""

    code = "gated"


class QuotaExceeded(Forbidden):
    """The namespace has no room for this."""

    code = "quota_exceeded"


class NotFound(BadRequest):
    """There is nothing at this address."""

    code = "not_found"
    status = 404


class RepoNotFound(NotFound):
    """There is no such repository, or it is private and the token does not reach it."""

    code = "repo_not_found"


class RevisionNotFound(NotFound):
    """The repository has no such branch, tag or commit."""

    code = "revision_not_found"


class EntryNotFound(NotFound):
    """The revision has no such file or folder. `commit` is the one that was looked at."""

    code = "entry_not_found"

    def __init__(self, message: str, *, commit: str | None = None) -> None:
        super().__init__(message)
        self.commit = commit


class MethodNotAllowed(BadRequest):
    """This address does not take this method."""

    code = "method_not_allowed"
    status = 405


class Conflict(BadRequest):
    """It exists already, or somebody else was faster. `url` is where the thing that exists lives."""

    code = "conflict"
    status = 409

    def __init__(self, message: str, *, url: str | None = None) -> None:
        super().__init__(message)
        self.url = url


class PreconditionFailed(BadRequest):
    """The branch is no longer where the client thinks."""

    code = "precondition_failed"
    status = 412


class PayloadTooLarge(BadRequest):
    """The body is over the limit."""

    code = "payload_too_large"
    status = 413


class UnsupportedMedia(BadRequest):
    """The body is of a kind that this task cannot read."""

    code = "unsupported_media"
    status = 415


class RangeNotSatisfiable(BadRequest):
    """The file has no such bytes. `size` is what it has."""

    code = "range"
    status = 416

    def __init__(self, message: str, *, size: int) -> None:
        super().__init__(message)
        self.size = size


class Unavailable(LanzaError):
    """Not now: loading, draining or restarting. Try again."""

    code = "unavailable"
    status = 503

    def __init__(self, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Overloaded(Unavailable):
    """The queue is full."""

    code = "overloaded"
    status = 429


class EngineRestarting(Unavailable):
    """The process that runs the handler died and is being started again."""

    code = "engine_restarting"


class UpstreamUnavailable(Unavailable):
    """The hub behind this one cannot be asked."""

    code = "upstream"


class UpstreamAway(UpstreamUnavailable):
    """It cannot even be reached. Clients repeat what got a 503, for more than a minute: not what got this."""

    code = "upstream_away"
    status = 424

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.retry_after = None


class NoRoom(Unavailable):
    """Not enough cores or memory are free for one more replica."""

    code = "no_room"


class NotYet(LanzaError):
    """What was asked for has its place here, and is not built yet."""

    code = "not_yet"
    status = 501


class StorageFull(LanzaError):
    """The disk has no room left. Nothing of the request was kept."""

    code = "storage_full"
    status = 507


class DeadlineExceeded(LanzaError):
    """The answer was not ready by the request's deadline."""

    code = "deadline_exceeded"
    status = 504


class EngineFailed(LanzaError):
    """The model raised. The client gets a request id; the log has the rest."""

    code = "engine_failed"


class HandlerError(EngineFailed):
    """The user's own handler raised: its message is the user's and reaches the caller."""

    code = "handler_error"
    status = 400
