"""Send a publication to the hub, with the hub's own client.

The client sends only what has changed: a push that was stopped, or is made again, goes on from what
the hub has. Its token comes from the environment (``HF_TOKEN``) or from ``hf auth login``, and goes
nowhere but to the hub.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from json import JSONDecodeError
from typing import Any

from cai.errors import CaiError
from cai.publishing.publication import Publication
from cai.redaction import note_secret
from cai.untyped import untyped

NO_TOKEN = "there is no hub token: log in with `hf auth login`, or set HF_TOKEN"

INVALID_CARD = "Invalid metadata in README.md"
"""How the client begins to say what the hub does not take of a card, such as its license."""

BY_STATUS = {
    401: "the hub does not take the token; log in again with `hf auth login`, or set HF_TOKEN",
    403: "the token has no right to write there; take one with write access, or another name",
    404: "the hub has no such place; check the name of the user or the organization",
    413: "the hub takes no files of this size",
    429: "the hub has had too many requests from you; the same command goes on later",
}
"""What a refusal means, and what to do."""


@dataclass(frozen=True)
class Target:
    """Where a publication goes.

    Args:
        repository: ``USER/NAME``.
        is_public: whether all the world may read it.
    """

    repository: str
    is_public: bool = False

    def __post_init__(self) -> None:
        """Check the name as the hub does.

        Raises:
            CaiError: it is none.
        """
        hub = untyped("huggingface_hub.utils")
        try:
            hub.validate_repo_id(self.repository)
        except hub.HFValidationError as error:
            raise CaiError(f"{self.repository!r} is no name on the hub: {error}") from error
        if self.repository.count("/") != 1:
            raise CaiError(f"{self.repository!r} is no name on the hub: write USER/NAME")

    @property
    def visibility(self) -> str:
        """For people."""
        return "public" if self.is_public else "private"


def push(publication: Publication, target: Target, api: Any = None) -> str:
    """Make the repository if it is not there, and commit the files that have changed.

    Args:
        publication: what to send.
        target: where to.
        api: a `huggingface_hub.HfApi`; None for one of the environment.

    Returns:
        The address of the commit; of the last one if nothing has changed.

    Raises:
        CaiError: there is no token or no right, the repository is readable for more or fewer people
            than asked for, the hub cannot be reached or refuses.
    """
    hub = untyped("huggingface_hub")
    api = api or hub.HfApi()
    token = api.token or hub.get_token()
    if not token:
        raise CaiError(NO_TOKEN)
    note_secret(token)
    with _told(target, api.endpoint):
        _prepare(publication, target, api)
        commit = api.create_commit(
            target.repository,
            [
                hub.CommitOperationAdd(path_in_repo=one.path, path_or_fileobj=str(one.file))
                for one in publication.files
            ],
            repo_type=publication.kind,
            commit_message=f"{publication.what} of the run {publication.run}",
        )
    return str(commit.commit_url)


def _prepare(publication: Publication, target: Target, api: Any) -> None:
    """Make the repository; one that is there must be as private or as public as asked for."""
    errors = untyped("huggingface_hub.errors")
    try:
        info = api.repo_info(target.repository, repo_type=publication.kind)
    except errors.RepositoryNotFoundError:
        api.create_repo(target.repository, repo_type=publication.kind, private=not target.is_public)
        return
    if bool(info.private) == target.is_public:
        here = "private" if info.private else "public"
        advice = "leave --public out" if info.private else "give --public"
        raise CaiError(
            f"{target.repository} is there and {here}, not {target.visibility}; {advice}, change "
            "it in its settings on the hub, or take another name"
        )


@contextmanager
def _told(target: Target, endpoint: str) -> Generator[None]:
    """Tell the client's errors by what to do about them."""
    errors, http = untyped("huggingface_hub.errors"), untyped("httpx2")
    try:
        yield
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        meant = BY_STATUS.get(status, "the hub has failed; the same command goes on later")
        said = error.server_message or str(error).splitlines()[0]
        raise CaiError(f"{target.repository}: {meant} (status {status}: {said})") from error
    except errors.OfflineModeIsEnabled as error:
        raise CaiError("HF_HUB_OFFLINE is set, so nothing can be sent; unset it") from error
    except http.HTTPError as error:
        raise CaiError(
            f"{endpoint} cannot be reached ({error}); check the network, the same command goes on"
        ) from error
    except (RuntimeError, OSError) as error:
        # The client's word for a file whose transfer has failed, by LFS or by Xet.
        raise CaiError(
            f"{target.repository}: {error} ({error.__cause__ or type(error).__name__}); what has "
            "been sent is kept, the same command goes on"
        ) from error
    except JSONDecodeError as error:
        raise CaiError(f"{endpoint} does not answer as the hub does; check HF_ENDPOINT") from error
    except ValueError as error:
        if not str(error).startswith(INVALID_CARD):
            raise
        raise CaiError(f"{target.repository}: {error}") from error
