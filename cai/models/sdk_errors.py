"""What the exceptions of the providers' own SDKs mean; both SDKs are made by one generator."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, Literal

from cai.errors import ModelError, PermanentError, TransientError
from cai.untyped import untyped


@contextmanager
def sdk_errors(
    name: Literal["openai", "anthropic"], url: str, status_error: Callable[[Any, str], ModelError]
) -> Generator[None, None, None]:
    """Turn what an SDK raises inside the block into the `ModelError` that it means.

    Args:
        name: of the SDK's package.
        url: what is asked.
        status_error: what an answer means that is no success: the SDK's ``APIStatusError`` and the
            address.
    """
    from httpx2 import HTTPError

    sdk = untyped(name)
    try:
        yield
    except sdk.APIStatusError as error:
        raise status_error(error, url) from error
    except sdk.APIConnectionError as error:
        timed_out = isinstance(error, sdk.APITimeoutError)
        raise connection_error(error, url, timed_out=timed_out) from error
    except HTTPError as error:
        raise TransientError(f"{url}: {type(error).__name__}: {error}") from error


def connection_error(error: Exception, url: str, *, timed_out: bool) -> ModelError:
    """What an SDK's ``APIConnectionError`` means.

    Args:
        error: as raised.
        url: what was asked.
        timed_out: whether it is the SDK's ``APITimeoutError``.
    """
    from aiohttp import ClientConnectorCertificateError, ClientConnectorError, InvalidURL

    causes = tuple(_causes(error))
    words = str(causes[-1]) or type(causes[-1]).__name__
    if any(isinstance(cause, ClientConnectorCertificateError | InvalidURL) for cause in causes):
        return PermanentError(f"{url} cannot be asked: {words}")
    if timed_out:
        return TransientError(f"{url} did not answer in time ({words})", cause="overload")
    unreachable = any(isinstance(cause, ClientConnectorError) for cause in causes)
    return TransientError(f"{url}: {words}", cause="unreachable" if unreachable else "fault")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
