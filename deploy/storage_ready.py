# clipbridge
# SPDX-License-Identifier: Apache-2.0
"""Makes a bucket on an S3 server that is starting, and ends when the bucket takes objects.

Arguments: endpoint, bucket, access key, secret key, the server's process id. Exit code 1 when the process ends first
or a minute goes by.
"""

import os
import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

SECONDS_MAX = 60


def is_running(pid):
    # A server that died is a zombie until the shell waits for it.
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def try_once(client, bucket):
    try:
        client.create_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("BucketAlreadyExists", "BucketAlreadyOwnedByYou"):
            raise
    # The first object makes it lay out its volumes, which takes seconds.
    client.put_object(Bucket=bucket, Key="ready", Body=b"ready")
    client.delete_object(Bucket=bucket, Key="ready")


def main():
    endpoint, bucket, access_key, secret_key, pid = sys.argv[1:]
    config = Config(
        s3={"addressing_style": "path"}, connect_timeout=2, read_timeout=20, retries={"total_max_attempts": 1}
    )
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="auto",
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=config,
    )
    end = time.monotonic() + SECONDS_MAX
    problem = "it never answered"
    while time.monotonic() < end:
        if not is_running(pid):
            return f"the server ended: {problem}"
        try:
            try_once(client, bucket)
            return None
        except (BotoCoreError, ClientError) as error:
            problem = error
            time.sleep(0.2)
    return f"no answer within {SECONDS_MAX} seconds: {problem}"


sys.exit(main())
