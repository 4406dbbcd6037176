"""What cluster.yaml needs of an AWS account, made once and found again later; fills in the lines marked PREPARED.

    python deploy/prepare_aws.py --region us-west-2 --bucket my-results --ssh-from 203.0.113.7/32

- a bucket (made if there is none: private, encrypted, half-finished uploads removed after a week);
- a security group that lets in ssh from --ssh-from and everything between the machines of the cluster, nothing else;
- a role for the head (starts and ends machines of this cluster, uses the bucket) and one for workers (uses the bucket);
- the images: the newest Ubuntu 24.04, and the newest with NVIDIA's driver;
- the cluster's token in ~/.ray/auth_token, if there is none.

Running it again with another --ssh-from lets in that address instead. Needs boto3 (pip install 'xfer-ray[aws]') and the
usual credentials of somebody who may do all this. Costs nothing by itself.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import os
import re
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from botocore.client import BaseClient

HEAD, WORKER = "xfer-ray-head", "xfer-ray-worker"
GROUP = "xfer-ray"
IMAGES = {
    "image": "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id",
    "gpu-image": "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id",
}
LIFECYCLE = {  # docs/storage.md shows the same, and the policy below
    "Rules": [
        {
            "ID": "unfinished-uploads",
            "Status": "Enabled",
            "Filter": {"Prefix": ""},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
        }
    ]
}
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


def bucket_policy(bucket: str) -> list[dict[str, Any]]:
    """What a sweep does with its storage: list, read, write, delete what it moved; nothing with other buckets."""
    return [
        {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": f"arn:aws:s3:::{bucket}"},
        {
            "Effect": "Allow",
            "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"],
            "Resource": f"arn:aws:s3:::{bucket}/*",
        },
    ]


def machine_policy(worker_role: str, cluster: str) -> list[dict[str, Any]]:
    """What the head does with machines: start some, hand them the workers' role, name and end those of its cluster."""
    ours = {"StringEquals": {"ec2:ResourceTag/ray-cluster-name": cluster}}
    started = {"StringEquals": {"ec2:CreateAction": "RunInstances"}}
    return [
        {"Effect": "Allow", "Action": ["ec2:Describe*", "ec2:RunInstances"], "Resource": "*"},
        {"Effect": "Allow", "Action": ["ec2:TerminateInstances", "ec2:CreateTags"], "Resource": "*", "Condition": ours},
        {"Effect": "Allow", "Action": "ec2:CreateTags", "Resource": "*", "Condition": started},
        {"Effect": "Allow", "Action": "iam:PassRole", "Resource": worker_role},
    ]


def make_role(iam: BaseClient, name: str, statements: list[dict[str, Any]]) -> str:
    """A role with exactly this policy, and the instance profile of the same name that carries it; the role's ARN."""
    try:
        arn: str = iam.get_role(RoleName=name)["Role"]["Arn"]
    except iam.exceptions.NoSuchEntityException:
        arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
    iam.put_role_policy(RoleName=name, PolicyName="xfer-ray", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statements}))
    try:
        profile = iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]
    except iam.exceptions.NoSuchEntityException:
        profile = iam.create_instance_profile(InstanceProfileName=name)["InstanceProfile"]
    if not profile["Roles"]:
        iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
    return arn


def make_group(ec2: BaseClient, ssh_from: str, vpc: str | None) -> str:
    """The security group, with ssh let in from one network alone and everything between its members."""
    if vpc is None:
        found = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
        if not found:
            sys.exit("the region has no default VPC; name one with --vpc")
        vpc = found[0]["VpcId"]
    named = [{"Name": "group-name", "Values": [GROUP]}, {"Name": "vpc-id", "Values": [vpc]}]
    groups = ec2.describe_security_groups(Filters=named)["SecurityGroups"]
    if groups:
        group: str = groups[0]["GroupId"]
        if groups[0]["IpPermissions"]:
            ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=groups[0]["IpPermissions"])
    else:
        group = ec2.create_security_group(GroupName=GROUP, VpcId=vpc, Description="xfer-ray: ssh from one network, all among themselves")[
            "GroupId"
        ]
    kind, key = ("Ipv6Ranges", "CidrIpv6") if ":" in ssh_from else ("IpRanges", "CidrIp")
    ssh = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, kind: [{key: ssh_from}]}
    among = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]}
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[ssh, among])
    return group


def make_bucket(s3: BaseClient, bucket: str, region: str) -> None:
    """A private bucket, if there is none of this name; one that is there stays as it is."""
    try:
        s3.head_bucket(Bucket=bucket)
        return
    except s3.exceptions.ClientError as error:
        if error.response["Error"]["Code"] not in ("404", "NoSuchBucket"):
            sys.exit(f"the bucket {bucket} cannot be used: {error}")
    where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    s3.create_bucket(Bucket=bucket, **where)
    closed = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=closed)
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration=LIFECYCLE)


def allow_spot(iam: BaseClient) -> None:
    """The account's own role for spot machines, which the first request ever would need."""
    try:
        iam.create_service_linked_role(AWSServiceName="spot.amazonaws.com")
    except iam.exceptions.ClientError as error:
        if error.response["Error"]["Code"] not in ("InvalidInput", "InvalidInputException", "EntityAlreadyExists"):
            raise


def make_token(file: Path) -> None:
    """A token that only this user can read, if there is none."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not file.exists():
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
            opened.write(secrets.token_hex(32))
    file.chmod(0o600)


def fill_in(file: Path, values: dict[str, str]) -> None:
    """Put the values into the lines marked with their names.

    `ImageId: ami-not-prepared # PREPARED image` -> `ImageId: ami-0123 # PREPARED image`
    """
    text = file.read_text()
    for name, value in values.items():
        text, count = re.subn(rf"(?m)^(\s*\w+: \[?)[^\s\]]+(\]?\s+# PREPARED {name})$", rf"\g<1>{value}\g<2>", text)
        if not count:
            sys.exit(f"{file} has no line marked '# PREPARED {name}'; nothing was written")
    file.write_text(text)


def network(text: str) -> str:
    """An address or network that may come in by ssh; the whole world may not."""
    try:
        found = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no network; give your address like 203.0.113.7/32") from None
    if found.num_addresses > 2 ** (found.max_prefixlen - 8):
        raise argparse.ArgumentTypeError(f"{text} is far too wide; give your own address, such as https://checkip.amazonaws.com shows")
    return str(found)


def main() -> None:
    """Make everything, then say what was filled in."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--region", required=True)
    parser.add_argument("--bucket", required=True, help="where results go: --storage s3://BUCKET/...")
    parser.add_argument("--ssh-from", required=True, type=network, help="your address, as https://checkip.amazonaws.com shows it, with /32")
    parser.add_argument("--vpc", help="where the machines stand (default: the region's default VPC)")
    parser.add_argument("--image", help="the image of head and CPU workers (default: the newest Ubuntu 24.04)")
    parser.add_argument("--gpu-image", help="the image of GPU workers (default: the newest Deep Learning Base AMI on it)")
    parser.add_argument("--file", type=Path, default=Path("cluster.yaml"))
    asked = parser.parse_args()
    import boto3

    session = boto3.Session(region_name=asked.region)
    iam, ec2, s3, ssm = (session.client(name) for name in ("iam", "ec2", "s3", "ssm"))
    make_bucket(s3, asked.bucket, asked.region)
    worker = make_role(iam, WORKER, bucket_policy(asked.bucket))
    make_role(iam, HEAD, bucket_policy(asked.bucket) + machine_policy(worker, "xfer-ray"))
    allow_spot(iam)
    given = {"image": asked.image, "gpu-image": asked.gpu_image}
    images = {name: given[name] or ssm.get_parameter(Name=parameter)["Parameter"]["Value"] for name, parameter in IMAGES.items()}
    make_token(Path.home() / ".ray" / "auth_token")
    values = {"region": asked.region, "group": make_group(ec2, asked.ssh_from, asked.vpc), **images}
    fill_in(asked.file, values)
    for name, value in values.items():
        print(f"{name}: {value}")
    print(f"ssh from {asked.ssh_from} alone; next: ray up {asked.file}")


if __name__ == "__main__":
    main()
