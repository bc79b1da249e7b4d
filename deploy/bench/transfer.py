# clipbridge
# SPDX-License-Identifier: Apache-2.0
"""Measures one table: every tool in every round, one after the other, each into a bucket of its own.

The results are added to a JSON file, which report.py turns into tables.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

import tools
from processes import processor_seconds

SECONDS_MAX = 3600
HERE = os.path.dirname(os.path.abspath(__file__))


def say(text):
    print(text, file=sys.stderr, flush=True)


def arguments():
    parser = argparse.ArgumentParser()
    for name in ("title", "tools", "base", "endpoint", "server", "access-key", "secret-key"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("source", "folder", "results"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("table", "rounds", "clips"):
        parser.add_argument(f"--{name}", type=int, required=True)
    for name in ("clipbridge", "rclone", "aws", "curl"):
        parser.add_argument(f"--{name}", default="")
    parser.add_argument("--watch", action="append", default=[], metavar="NAME=PID", help="its CPU is counted")
    return parser.parse_args()


class Storage:
    """The S3 server itself, seen without any delay."""

    def __init__(self, options):
        self.client = boto3.client(
            "s3",
            endpoint_url=options.server,
            region_name="us-east-1",
            aws_access_key_id=options.access_key,
            aws_secret_access_key=options.secret_key,
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 5}, read_timeout=120),
        )

    def make(self, bucket):
        self.client.create_bucket(Bucket=bucket)
        # The first object makes the server lay out its volumes, which is no tool's concern.
        self.client.put_object(Bucket=bucket, Key="first", Body=b"first")
        self.client.delete_object(Bucket=bucket, Key="first")

    def remove(self, bucket):
        """With a bucket, SeaweedFS gives its volumes' disk space back at once; with an object, some day."""
        for item in self.client.list_objects_v2(Bucket=bucket).get("Contents", []):
            self.client.delete_object(Bucket=bucket, Key=item["Key"])
        self.client.delete_bucket(Bucket=bucket)

    def size(self, bucket, key):
        return self.client.head_object(Bucket=bucket, Key=key)["ContentLength"]

    def sha256(self, bucket, key):
        digest = hashlib.sha256()
        for chunk in self.client.get_object(Bucket=bucket, Key=key)["Body"].iter_chunks(1 << 20):
            digest.update(chunk)
        return digest.hexdigest()


class Table:
    def __init__(self, options):
        self.options = options
        self.storage = Storage(options)
        self.programs = tools.Programs(options.clipbridge, options.rclone, options.aws, options.curl)
        self.size = os.path.getsize(options.source)
        self.watched = dict(item.split("=") for item in options.watch)
        self.verified = set()
        with open(options.source, "rb") as file:
            # It also brings the file into memory, so that no tool pays for reading it first.
            self.digest = hashlib.file_digest(file, "sha256").hexdigest()

    def place(self, bucket):
        options = self.options
        host = options.base.removeprefix("http://")
        return tools.Place(
            options.base, host, options.source, options.endpoint, options.access_key, options.secret_key, bucket
        )

    def run(self, tool, number):
        bucket = f"bench-{self.options.table}-{number}-{tool}"
        folder = f"{self.options.folder}/run"
        os.mkdir(folder)
        self.storage.make(bucket)
        try:
            pipelines = tools.pipelines(tool, self.programs, self.place(bucket), folder, self.options.clips)
            result = self.measure(pipelines)
            result["error"] = self.problem(tool, bucket, folder, pipelines, result.pop("exit_codes"))
        finally:
            self.storage.remove(bucket)
            shutil.rmtree(folder)
        return {"table": self.options.table, "round": number, "tool": tool, **result}

    def measure(self, pipelines):
        # What the run before left to be written is not this one's.
        os.sync()
        before = {name: processor_seconds(pid) for name, pid in self.watched.items()}
        done = subprocess.run(
            [sys.executable, "-I", "-S", f"{HERE}/measure.py"],
            input=json.dumps({"pipelines": pipelines, "seconds_max": SECONDS_MAX}),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        result = json.loads(done.stdout)
        result["servers_seconds"] = {
            name: round(processor_seconds(pid) - before[name], 2) for name, pid in self.watched.items()
        }
        return result

    def problem(self, tool, bucket, folder, pipelines, exit_codes):
        """Why a run does not count, or None."""
        for pipeline, codes in zip(pipelines, exit_codes):
            if any(codes):
                with open(f"{pipeline['folder']}/errors.txt", encoding="utf-8", errors="replace") as file:
                    return f"exit codes {codes}: {file.read().strip()[-500:]}"
        if tool == "download":
            return self.download_problem(pipelines)
        try:
            return self.object_problem(tool, bucket)
        except (BotoCoreError, ClientError) as error:
            return str(error)

    def download_problem(self, pipelines):
        for pipeline in pipelines:
            with open(f"{pipeline['folder']}/output.txt", encoding="utf-8") as file:
                if int(file.read()) != self.size:
                    return "curl did not get the whole file"
        return None

    def object_problem(self, tool, bucket):
        place = self.place(bucket)
        for clip in range(self.options.clips):
            size = self.storage.size(bucket, place.key(clip))
            if size != self.size:
                return f"object {clip} has {size} bytes and not {self.size}"
            if tool not in self.verified and self.storage.sha256(bucket, place.key(clip)) != self.digest:
                return f"object {clip} does not hold what was sent"
        self.verified.add(tool)
        return None

    def rounds(self):
        names = self.options.tools.split(",")
        for number in range(1, self.options.rounds + 1):
            # Each round begins with another tool, so that none always follows the same one.
            first = (number - 1) % len(names)
            for tool in names[first:] + names[:first]:
                say(f"table {self.options.table}, round {number} of {self.options.rounds}: {tool} …")
                result = self.run(tool, number)
                say(self.sentence(result))
                yield result

    @staticmethod
    def sentence(result):
        if result["error"]:
            return f"  FAILED: {result['error']}"
        cpu = result["user_seconds"] + result["system_seconds"]
        return f"  {result['wall_seconds']:.2f} s, CPU {cpu:.2f} s, {result['peak_bytes'] / (1 << 20):.0f} MiB"

    def round_trip_milliseconds(self):
        """How long a new connection takes to its answer: two round trips, halved; the shortest of five."""
        times = []
        for _ in range(5):
            begin = time.monotonic()
            url = f"{self.options.base}/clip-0.mp4"
            subprocess.run([self.options.curl, "-q", "-s", "--head", "-o", "/dev/null", url], check=True)
            times.append(time.monotonic() - begin)
        return round(min(times) * 500, 1)


def main():
    options = arguments()
    table = Table(options)
    try:
        with open(options.results, encoding="utf-8") as file:
            everything = json.load(file)
    except FileNotFoundError:
        everything = {"tables": [], "runs": []}
    head = {"table": options.table, "title": options.title, "clips": options.clips, "size": table.size}
    head["round_trip_milliseconds"] = table.round_trip_milliseconds()
    everything["tables"].append(head)
    for result in table.rounds():
        everything["runs"].append(result)
        with open(options.results, "w", encoding="utf-8") as file:
            json.dump(everything, file, indent=1)
    return any(run["error"] for run in everything["runs"] if run["table"] == options.table)


sys.exit(main())
