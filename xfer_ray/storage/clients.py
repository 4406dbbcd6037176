"""Who speaks to an object store: clients of obstore, with the credentials that the usual providers give.

Credentials come from the environment, a profile or the machine's role, never from a sweep, an option or a URL. obstore reads
the environment and asks the machine for its role; profiles are read by boto3, an extra.
"""

from __future__ import annotations

import importlib.util
import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from obstore.store import AzureStore, GCSStore, S3Store

from xfer_ray.errors import SetupError, StorageError, demand

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Config, S3CredentialProvider

Client: TypeAlias = S3Store | GCSStore | AzureStore
PATIENCE = "XFER_RAY_STORAGE_SECONDS"  # how long a store may be out of reach before a command gives up
_OWN_S3 = (  # where one of these is set, obstore finds the credentials without a profile
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_SKIP_SIGNATURE",
)
_OWN_GS = ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_PATH", "GOOGLE_SERVICE_ACCOUNT_KEY")


def client(url: str, *, patient: bool) -> Client:
    """The client for a url that was checked."""
    scheme, _, rest = url.partition("://")
    bucket, _, prefix = rest.partition("/")
    options = _client_options(scheme, patient=patient)
    retries = _retries(patient=patient)
    if scheme == "gs":
        _demand_google()
        return GCSStore(bucket, prefix=prefix or None, client_options=options, retry_config=retries)
    if scheme == "az":
        _demand_azure()
        return AzureStore(bucket, prefix=prefix or None, client_options=options, retry_config=retries)
    provider = _provider()
    config: S3Config = {"disable_bulk_delete": True}  # one file at a time is removed, and not every store knows the other call
    return S3Store(bucket, prefix=prefix or None, config=config, client_options=options, retry_config=retries, credential_provider=provider)


def patience(*, patient: bool) -> float:
    """Seconds for which a store may be busy or out of reach."""
    text = os.environ.get(PATIENCE, "180")
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    demand(0 < seconds <= 280, f"{PATIENCE}={text!r} is not a number of seconds; give one above 0, at most 280")
    return seconds if patient else min(seconds, 6.0)


def endpoint(scheme: str) -> str:
    """Where the store is reached, as far as the environment says so."""
    names = {
        "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
        "gs": ("GOOGLE_BASE_URL",),
        "az": ("AZURE_STORAGE_ENDPOINT",),
    }
    return next((os.environ[name] for name in names[scheme] if os.environ.get(name)), "")


def _retries(*, patient: bool) -> RetryConfig:
    """Back-off within a bounded time, below the five minutes for which a signed request is good."""
    return {
        "max_retries": 30 if patient else 4,
        "retry_timeout": timedelta(seconds=patience(patient=patient)),
        "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=10 if patient else 1), "base": 2},
    }


def _client_options(scheme: str, *, patient: bool) -> ClientConfig:
    options: ClientConfig = {
        "connect_timeout": timedelta(seconds=5 if patient else 3),
        "timeout": timedelta(seconds=patience(patient=True) * 2 / 3 if patient else 10),  # leaves time for another try
    }
    if endpoint(scheme).startswith("http://"):  # whoever writes http:// into the endpoint means it
        options["allow_http"] = True
    return options


def _provider() -> S3CredentialProvider | None:
    """A profile's credentials where a profile is what there is; None: obstore looks for them."""
    if any(os.environ.get(name) for name in _OWN_S3):
        return None
    if not _has_profile():
        if os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
            raise StorageError(NO_S3_CREDENTIALS)
        return None
    if importlib.util.find_spec("boto3") is None:
        raise SetupError("credentials in an AWS profile are read by boto3, which is not installed; run: pip install 'xfer-ray[aws]'")
    import boto3
    from botocore.exceptions import BotoCoreError
    from obstore.auth.boto3 import Boto3CredentialProvider

    try:
        return Boto3CredentialProvider(boto3.Session())
    except (BotoCoreError, ValueError) as error:
        raise StorageError(f"the AWS profile gives no credentials ({type(error).__name__}); {NO_S3_CREDENTIALS}") from None


NO_S3_CREDENTIALS = (
    "no credentials for s3:// were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, "
    "or run on a machine whose role may use the bucket"
)


def _has_profile() -> bool:
    files = {"AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials", "AWS_CONFIG_FILE": "~/.aws/config"}
    return bool(os.environ.get("AWS_PROFILE")) or any(Path(os.environ.get(k, v)).expanduser().is_file() for k, v in files.items())


def _demand_google() -> None:
    """Refuse to look for a machine's role where the environment says that there is none."""
    adc = Path("~/.config/gcloud/application_default_credentials.json").expanduser()
    if os.environ.get("NO_GCE_CHECK", "").lower() == "true" and not adc.is_file() and not any(os.environ.get(name) for name in _OWN_GS):
        raise StorageError(
            "no credentials for gs:// were found; set GOOGLE_APPLICATION_CREDENTIALS to a key file, run `gcloud auth application-default "
            "login`, or run on a machine whose service account may use the bucket"
        )


def _demand_azure() -> None:
    if not (os.environ.get("AZURE_STORAGE_ACCOUNT_NAME") or os.environ.get("AZURE_STORAGE_USE_EMULATOR")):
        raise StorageError(
            "az:// needs to know the account; set AZURE_STORAGE_ACCOUNT_NAME, and AZURE_STORAGE_ACCOUNT_KEY or another credential"
        )
