# clipbridge
# SPDX-License-Identifier: Apache-2.0
"""What is compared: for each tool, the programs that carry one clip or several from their URLs to S3."""

import dataclasses
import os


@dataclasses.dataclass
class Place:
    """Where clips come from and go to, as the tools see it."""

    base: str
    host: str
    source: str
    endpoint: str
    access_key: str
    secret_key: str
    bucket: str = ""

    def url(self, clip):
        return f"{self.base}/clip-{clip}.mp4"

    def key(self, clip):
        return f"clip-{clip}.mp4"


@dataclasses.dataclass
class Programs:
    clipbridge: str
    rclone: str
    aws: str
    curl: str


def environment(folder, **more):
    """The same few variables for everyone: no proxy, no configuration and no credentials of the machine's user."""
    return {"PATH": os.environ["PATH"], "HOME": folder, "TMPDIR": folder, "LANG": "C.UTF-8", **more}


def clipbridge(programs, place, folder, clip):
    return {
        "commands": [[programs.clipbridge, "transfer", place.url(clip), place.key(clip), "--json"]],
        "environment": environment(
            folder,
            R2_ENDPOINT=place.endpoint,
            R2_ACCESS_KEY_ID=place.access_key,
            R2_SECRET_ACCESS_KEY=place.secret_key,
            R2_BUCKET_NAME=place.bucket,
            R2_REGION="us-east-1",
            CLIPBRIDGE_SPOOL_DIR=f"{folder}/spool",
            CLIPBRIDGE_DOWNLOAD_HOSTS=place.host,
        ),
        "folder": folder,
    }


def rclone_environment(place, folder):
    return environment(
        folder,
        RCLONE_CONFIG=f"{folder}/rclone.conf",
        RCLONE_CONFIG_BENCH_TYPE="s3",
        RCLONE_CONFIG_BENCH_PROVIDER="Other",
        RCLONE_CONFIG_BENCH_ENDPOINT=place.endpoint,
        RCLONE_CONFIG_BENCH_ACCESS_KEY_ID=place.access_key,
        RCLONE_CONFIG_BENCH_SECRET_ACCESS_KEY=place.secret_key,
    )


def rclone(programs, place, folder, clip):
    return {
        "commands": [[programs.rclone, "copyurl", place.url(clip), f"bench:{place.bucket}/{place.key(clip)}"]],
        "environment": rclone_environment(place, folder),
        "folder": folder,
    }


def rclone_list(programs, place, folder, clips):
    """One process for all the clips; rclone carries four at once by default."""
    with open(f"{folder}/urls.csv", "w", encoding="utf-8") as file:
        file.writelines(f"{place.url(clip)},{place.key(clip)}\n" for clip in range(clips))
    return {
        "commands": [[programs.rclone, "copyurl", "--urls", f"{folder}/urls.csv", f"bench:{place.bucket}"]],
        "environment": rclone_environment(place, folder),
        "folder": folder,
    }


def aws(programs, place, folder, clip):
    put = [programs.aws, "s3", "cp", "-", f"s3://{place.bucket}/{place.key(clip)}"]
    return {
        "commands": [
            [programs.curl, "-q", "-s", "--fail", place.url(clip)],
            [*put, "--endpoint-url", place.endpoint],
        ],
        "environment": environment(
            folder,
            AWS_ACCESS_KEY_ID=place.access_key,
            AWS_SECRET_ACCESS_KEY=place.secret_key,
            AWS_DEFAULT_REGION="us-east-1",
            AWS_EC2_METADATA_DISABLED="true",
        ),
        "folder": folder,
    }


def download(programs, place, folder, clip):
    return {
        "commands": [
            [programs.curl, "-q", "-sS", "--fail", "-o", "/dev/null", "-w", "%{size_download}", place.url(clip)],
        ],
        "environment": environment(folder),
        "folder": folder,
    }


def upload(programs, place, folder, clip):
    """One PUT with an unsigned payload, since curl does not hash a file that it uploads."""
    sign = ["--aws-sigv4", "aws:amz:us-east-1:s3", "--user", f"{place.access_key}:{place.secret_key}"]
    target = f"{place.endpoint}/{place.bucket}/{place.key(clip)}"
    return {
        "commands": [[programs.curl, "-q", "-sS", "--fail", *sign, "--upload-file", place.source, target]],
        "environment": environment(folder),
        "folder": folder,
    }


# By the names of `--tools`: what a table calls it, and its pipeline for one clip.
TOOLS = {
    "clipbridge": ("`clipbridge transfer`", clipbridge),
    "rclone": ("`rclone copyurl`", rclone),
    "aws": ("`curl \\| aws s3 cp -`", aws),
    "download": ("`curl`, download alone", download),
    "upload": ("`curl -T`, upload alone", upload),
}


def pipelines(tool, programs, place, folder, clips):
    if tool == "rclone-urls":
        return [rclone_list(programs, place, folder, clips)]
    made = []
    for clip in range(clips):
        own = f"{folder}/{clip}"
        os.mkdir(own)
        made.append(TOOLS[tool][1](programs, place, own, clip))
    return made


def label(tool):
    return "`rclone copyurl --urls`, one process" if tool == "rclone-urls" else TOOLS[tool][0]
