"""cluster.yaml against a cloud of our own: what is asked of AWS, by the real `ray up` and the real node provider."""

import json
import re
import shutil
import stat
import subprocess
import sys

import pytest
import yaml
from cloud import IMAGE, REGION, ROOT, Cloud

pytestmark = pytest.mark.timeout(600)
NETWORK = "203.0.113.7/32"
CREATE = """
import json, sys, yaml
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler._private.commands import _bootstrap_config
config = _bootstrap_config(yaml.safe_load(open(sys.argv[1])))
provider = AWSNodeProvider(config["provider"], config["cluster_name"])
tags = {"ray-node-type": "worker", "ray-user-node-type": sys.argv[2]}
created = provider.create_node(config["available_node_types"][sys.argv[2]]["node_config"], tags, 1)
print(json.dumps({"ids": list(created), "resources": config["available_node_types"][sys.argv[2]]["resources"]}))
"""


@pytest.fixture
def cloud(tmp_path):
    made = Cloud(tmp_path)
    shutil.copy(ROOT / "cluster.yaml", tmp_path / "cluster.yaml")
    yield made
    made.close()


def prepare(cloud, *more, network=NETWORK):
    given = ["--image", IMAGE, "--gpu-image", IMAGE, "--bucket", "my-results", "--region", REGION, "--ssh-from", network]
    return cloud.run(sys.executable, str(ROOT / "deploy" / "prepare_aws.py"), *given, "--file", str(cloud.folder / "cluster.yaml"), *more)


def up(cloud):
    return cloud.run("ray", "up", "-y", str(cloud.folder / "cluster.yaml"))


def flat(fields, start):
    """The values of AWS's numbered fields, `start.N.rest` -> value."""
    return {key.removeprefix(start): value for key, value in fields.items() if key.startswith(start)}


def nothing_left_this_machine(cloud):
    reached = set(cloud.connected.read_text().split())
    return reached == {"127.0.0.1"}


def test_an_unprepared_file_starts_nothing(cloud):
    (cloud.home / ".ray").mkdir()
    (cloud.home / ".ray" / "auth_token").write_text("secret")
    done = up(cloud)
    assert done.returncode != 0
    assert "SecurityGroupIds" in done.stdout + done.stderr
    assert not cloud.requests("RunInstances")
    assert not cloud.requests("CreateSecurityGroup"), "Ray must not make a group of its own: it would be open"
    assert nothing_left_this_machine(cloud)


def test_ray_up_asks_for_a_closed_head_on_demand_with_its_role(cloud):
    assert prepare(cloud).returncode == 0
    done = up(cloud)
    assert done.returncode == 0, done.stdout + done.stderr
    (asked,) = cloud.requests("RunInstances")
    assert asked["InstanceType"] == "m7i.large"
    assert asked["ImageId"] == IMAGE
    assert asked["IamInstanceProfile.Name"] == "xfer-ray-head"
    assert not [key for key in asked if key.startswith("InstanceMarketOptions")]
    assert asked["MetadataOptions.HttpTokens"] == "required"
    assert asked["MetadataOptions.HttpPutResponseHopLimit"] == "1"
    assert asked["BlockDeviceMapping.1.Ebs.Encrypted"] == "true"
    assert asked["BlockDeviceMapping.1.Ebs.VolumeSize"] == "200"
    groups = cloud.client("ec2").describe_security_groups(GroupIds=[asked["SecurityGroupId.1"]])["SecurityGroups"]
    assert groups[0]["GroupName"] == "xfer-ray"
    assert not cloud.requests("CreateRole")[2:], "Ray makes no role beside ours"
    assert nothing_left_this_machine(cloud)


def test_ray_up_mounts_the_token_and_starts_ray_with_it(cloud):
    prepare(cloud)
    up(cloud)
    sent = [words[-2:] for words in cloud.commands("rsync")]
    token = [source for source, target in sent if target.endswith(":~/.ray/auth_token")]
    assert token == [str(cloud.home / ".ray" / "auth_token")]
    assert stat.S_IMODE((cloud.home / ".ray" / "auth_token").stat().st_mode) == 0o600
    started = [words[-1] for words in cloud.commands("ssh") if "ray start" in words[-1]]
    assert len(started) == 1
    assert "RAY_AUTH_MODE=token" in started[0]
    secret = (cloud.home / ".ray" / "auth_token").read_text()
    assert len(secret) == 64
    assert secret not in cloud.log.read_text(), "the token travels as a file, never as an argument"
    users = {word for words in cloud.commands("ssh") for word in words if re.match(r"\w+@", word)}
    assert len(users) == 1
    assert users.pop().startswith("ubuntu@")


def test_only_the_named_network_may_knock_and_another_run_changes_it(cloud):
    prepare(cloud)
    for network in (NETWORK, "198.51.100.0/24", "2001:db8::/64"):
        assert prepare(cloud, network=network).returncode == 0
        (group,) = cloud.client("ec2").describe_security_groups(Filters=[{"Name": "group-name", "Values": ["xfer-ray"]}])["SecurityGroups"]
        outside = [
            (rule.get("FromPort"), rule.get("ToPort"), [*rule["IpRanges"], *rule["Ipv6Ranges"]])
            for rule in group["IpPermissions"]
            if rule["IpRanges"] or rule["Ipv6Ranges"]
        ]
        assert outside == [(22, 22, [{"CidrIpv6" if ":" in network else "CidrIp": network}])]
        inside = [pair["GroupId"] for rule in group["IpPermissions"] for pair in rule["UserIdGroupPairs"]]
        assert inside == [group["GroupId"]]


@pytest.mark.parametrize("network", ["0.0.0.0/0", "::/0", "0.0.0.0/1", "everywhere"])
def test_the_whole_world_is_refused(cloud, network):
    done = prepare(cloud, network=network)
    assert done.returncode == 2
    assert "give your" in done.stderr
    assert not cloud.requests("CreateSecurityGroup")


def test_a_worker_is_a_spot_machine_with_the_role_for_the_bucket_alone(cloud):
    prepare(cloud)
    for kind, machine, gpus in (("l4", "g6.xlarge", 1), ("a10g", "g5.xlarge", 1), ("l40s", "g6e.xlarge", 1), ("cpu", "m7i.xlarge", 0)):
        done = cloud.run(sys.executable, "-c", CREATE, str(cloud.folder / "cluster.yaml"), kind)
        assert done.returncode == 0, done.stderr
        made = json.loads(done.stdout.strip().splitlines()[-1])
        assert len(made["ids"]) == 1
        assert made["resources"].get("GPU", 0) == gpus
        asked = cloud.requests("RunInstances")[-1]
        assert asked["InstanceType"] == machine
        assert flat(asked, "InstanceMarketOptions.") == {
            "MarketType": "spot",
            "SpotOptions.SpotInstanceType": "one-time",
            "SpotOptions.InstanceInterruptionBehavior": "terminate",
        }
        assert asked["IamInstanceProfile.Name"] == "xfer-ray-worker"
        assert asked["MetadataOptions.HttpTokens"] == "required"
        assert asked["BlockDeviceMapping.1.Ebs.Encrypted"] == "true"
    assert nothing_left_this_machine(cloud)


def test_the_roles_reach_the_bucket_and_the_head_hands_on_only_the_workers_role(cloud):
    prepare(cloud)
    assert prepare(cloud).returncode == 0, "a second time finds what is there"
    iam = cloud.client("iam")
    allowed = {}
    for name in ("xfer-ray-head", "xfer-ray-worker"):
        (role,) = iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]["Roles"]
        assert role["RoleName"] == name
        assert not iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
        statements = iam.get_role_policy(RoleName=name, PolicyName="xfer-ray")["PolicyDocument"]["Statement"]
        allowed[name] = [(action, each["Resource"]) for each in statements for action in _listed(each["Action"])]
    assert {resource for _, resource in allowed["xfer-ray-worker"]} == {"arn:aws:s3:::my-results", "arn:aws:s3:::my-results/*"}
    worker = iam.get_role(RoleName="xfer-ray-worker")["Role"]["Arn"]
    assert ("iam:PassRole", worker) in allowed["xfer-ray-head"]
    assert not [action for action, resource in allowed["xfer-ray-head"] if resource == "*" and not action.startswith("ec2:")]
    bucket = cloud.client("s3").get_public_access_block(Bucket="my-results")["PublicAccessBlockConfiguration"]
    assert all(bucket.values())
    rules = cloud.client("s3").get_bucket_lifecycle_configuration(Bucket="my-results")["Rules"]
    assert rules[0]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}


def test_a_bucket_and_a_token_that_are_there_stay_as_they_are(cloud):
    cloud.client("s3").create_bucket(Bucket="my-results", CreateBucketConfiguration={"LocationConstraint": REGION})
    token = cloud.home / ".ray" / "auth_token"
    token.parent.mkdir()
    token.write_text("already here")
    token.chmod(0o644)
    assert prepare(cloud).returncode == 0
    assert token.read_text() == "already here"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    with pytest.raises(Exception, match="public access block"):
        cloud.client("s3").get_public_access_block(Bucket="my-results")


def test_what_is_prepared_stays_readable_for_ray(cloud):
    before = yaml.safe_load((cloud.folder / "cluster.yaml").read_text())
    prepare(cloud)
    after = yaml.safe_load((cloud.folder / "cluster.yaml").read_text())
    changed = {
        kind for kind in after["available_node_types"] if after["available_node_types"][kind] != before["available_node_types"][kind]
    }
    assert changed == set(after["available_node_types"])
    assert "not-prepared" not in json.dumps(after)
    lines = subprocess.run(
        ["diff", "-U0", ROOT / "cluster.yaml", cloud.folder / "cluster.yaml"], capture_output=True, text=True
    ).stdout.splitlines()
    assert all("# PREPARED" in line for line in lines if line[0] in "+-" and line[:3] not in ("+++", "---"))


def _listed(found):
    return found if isinstance(found, list) else [found]
