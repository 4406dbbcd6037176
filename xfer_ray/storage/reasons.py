"""What an object store answered, as the end of a sentence: what was wrong and what to do, nothing secret in it."""

from __future__ import annotations

import re

from xfer_ray.redact import redacted
from xfer_ray.storage import clients

# The first pattern that fits tells; what a store says is matched in its answer, its codes being the same for years.
_REASONS = (
    (r"/latest/api/token|/latest/meta-data|metadata\.google\.internal|metadata/identity|Missing(AccessKeyId|SecretAccessKey)", "{nobody}"),
    (r"NoSuchBucket|ContainerNotFound|bucket does not exist", "there is no bucket {bucket!r} {where}; make it, or mend the URL"),
    (
        r"InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken|InvalidToken|AuthenticationFailed|RequestTimeTooSkewed|UnauthenticatedError",
        "the store does not accept the credentials ({code}); renew them, and look at the clock of this machine",
    ),
    (
        r"PermanentRedirect|AuthorizationHeaderMalformed|IllegalLocationConstraint|status code: 30\d|redirect",
        "the bucket is in another region; set AWS_REGION to the bucket's",
    ),
    (
        r"status code: 403|PermissionDenied",
        "permission denied ({code}); allow these credentials to get, put, list and delete objects of {bucket!r}",
    ),
    (
        r"status code: 501|NotImplemented|NotSupported",
        "the store does not know this call ({code}); give a store that has conditional puts (If-None-Match), or a folder",
    ),
    (r"status code: (429|5\d\d)|SlowDown", "the store kept answering {code} for {seconds:.0f} s; try again later"),
    (r"dns error|kind: Connect|Connection refused", "no answer {where}; check the endpoint, the region and the network"),
    (r"kind: Timeout|timed out|TimedOut", "no answer in time {where}; check the network, and try again"),
    (
        r"HTTP error|error sending request|error decoding response",
        "the connection {where} broke and did not come back; check the network, and try again",
    ),
)


def reason(error: Exception, url: str) -> str:
    """The end of a sentence about an error of obstore."""
    text = f"{type(error).__name__}: {error}"
    scheme, _, rest = url.partition("://")
    told = next((told for pattern, told in _REASONS if re.search(pattern, text)), None)
    if told is None:
        return redacted(" ".join(str(error).split("\n\nDebug source")[0].split()))[:300] + "; mend that, or choose another storage"
    endpoint = redacted(clients.endpoint(scheme))
    return told.format(
        bucket=rest.split("/")[0],
        where=f"at {endpoint}" if endpoint else f"at the usual endpoint of {scheme}://",
        code=_code(text),
        seconds=_elapsed(text),
        nobody=clients.NO_S3_CREDENTIALS
        if scheme == "s3"
        else f"no credentials for {scheme}:// were found; docs/storage.md lists where they may be",
    )


def is_lost(error: Exception) -> bool:
    """Whether an answer was lost on its way, so that nobody knows whether the request was carried out."""
    return (
        "HTTP error" in str(error)
        and "Status {" not in str(error)
        and not re.search("/latest/|metadata|builder error|dns error", str(error))
    )


def is_missing_bucket(error: Exception) -> bool:
    """Whether the bucket itself is what was not found."""
    return bool(re.search("NoSuchBucket|ContainerNotFound", str(error)))


def _code(text: str) -> str:
    """The store's own word for it, else the status."""
    found = re.search(r"<Code>(\w{1,60})</Code>", text) or re.search(r"status code: (\d{3}[\w ]{0,40})", text)
    return found[1] if found else "no reason given"


def _elapsed(text: str) -> float:
    found = re.search(r" in ([\d.]+)(ms|s)\b", text)
    return float(found[1]) / (1000 if found[2] == "ms" else 1) if found else 0.0
