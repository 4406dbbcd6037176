"""Secrets out of text, before it becomes part of a sentence, a log or a record."""

from __future__ import annotations

import os
import re

MASK = "[secret]"
# Environment variables whose values are secrets, wherever these turn up.
_NAMES = re.compile(r"(SECRET|TOKEN|PASSWORD|PASSWD|API_?KEY|ACCOUNT_KEY|ACCESS_KEY|SAS_KEY|SERVICE_ACCOUNT_KEY)(_ID)?$")
_SHORTEST = 8  # a shorter value would mask ordinary words
_PATTERNS = (
    (re.compile(r"\b(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{12,}\b"), MASK),
    (re.compile(r"\bhf_[A-Za-z0-9]{16,}\b"), MASK),
    (re.compile(r"\b(?:ghp|gho|ghs|github_pat|wandb_v1|xox[abp]|ya29)[_.-][A-Za-z0-9_.-]{16,}"), MASK),
    (re.compile(r"(?<=://)[^/\s@'\"]+@"), f"{MASK}@"),
    (
        re.compile(
            r"(?i)\b((?:x-amz-|x-goog-)(?:signature|credential|security-token)|sig|signature|awsaccesskeyid|access_?key(?:_?id)?|"
            r"secret(?:_?access)?_?key|session_?token|api_?key|password|token)(=|%3D|['\"]?: ?['\"]?)[^&\s<>'\",;]{6,}"
        ),
        rf"\1\2{MASK}",
    ),
    (re.compile(r"(?i)\b(authorization['\"]?: ?['\"]?)[^\n'\"]+"), rf"\1{MASK}"),
    (re.compile(r"(?i)\b(bearer |basic )[A-Za-z0-9+/=_.~-]{12,}"), rf"\1{MASK}"),
    (
        re.compile(
            r"<(AWSAccessKeyId|SignatureProvided|StringToSign|StringToSignBytes|CanonicalRequest|CanonicalRequestBytes)>.*?</\1>", re.S
        ),
        rf"<\1>{MASK}</\1>",
    ),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S), MASK),
)


def redacted(text: str) -> str:
    """A text without what looks like a key, a token, a signature or a password, and without this environment's own.

    "s3://me:pass@bucket" -> "s3://[secret]@bucket"
    """
    for value in sorted(_values(), key=len, reverse=True):
        text = text.replace(value, MASK)
    for pattern, mask in _PATTERNS:
        text = pattern.sub(mask, text)
    return text


def _values() -> set[str]:
    return {value for name, value in os.environ.items() if _NAMES.search(name) and len(value) >= _SHORTEST}
