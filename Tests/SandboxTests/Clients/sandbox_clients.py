#!/usr/bin/env python3
# clipbridge
# SPDX-License-Identifier: Apache-2.0
"""Drives a running sandbox with clients that were not written for it.

Usage: sandbox_clients.py OPENAPI.json

The sandbox's settings (CLOUDFLARE_*, R2_*) come from the environment, as `clipbridge sandbox` prints them. Needs boto3
and openapi-schema-validator from PyPI. Every JSON answer of the Stream API is validated against the OpenAPI file. The
sandbox should run fast, at a speed of 20 or more. One line is written for each check; the exit code is 1 if any failed.
"""

import base64
import hashlib
import http.client
import io
import json
import os
import random
import re
import sys
import time
import traceback
import urllib.error
import urllib.parse
import urllib.request

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.client import Config
from botocore.exceptions import ClientError
from openapi_schema_validator import OAS30Validator, oas30_format_checker

SETTINGS = os.environ
ACCOUNT = SETTINGS["CLOUDFLARE_ACCOUNT_ID"]
TOKEN = SETTINGS["CLOUDFLARE_API_TOKEN"]
API = SETTINGS["CLOUDFLARE_API_BASE"]
ENDPOINT = SETTINGS["R2_ENDPOINT"]
BUCKET = SETTINGS["R2_BUCKET_NAME"]
PUBLIC = SETTINGS["R2_PUBLIC_URL"]
MIB = 1 << 20

with open(sys.argv[1]) as file:
    OPENAPI = json.load(file)

CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def equal(got, wanted, what="value"):
    assert got == wanted, f"{what}: got {got!r}, wanted {wanted!r}"


def wait_for(read, is_done, seconds=30):
    end = time.monotonic() + seconds
    while True:
        value = read()
        if is_done(value):
            return value
        assert time.monotonic() < end, f"still {value!r} after {seconds} s"
        time.sleep(0.02)


# ---------------------------------------------------------------------------------------------------------------- HTTP


def fetch(url, method="GET", body=None, headers=None):
    """(status, header fields, body) of one exchange; an error status is an answer."""
    request = urllib.request.Request(url, data=body, method=method, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def schema_of(method, path, status):
    """The schema that the OpenAPI file gives an answer of this path, which begins behind the account."""
    parts = path.split("?")[0].strip("/").split("/")
    for template, operations in OPENAPI["paths"].items():
        wanted = template.strip("/").split("/")[2:]
        if len(wanted) != len(parts) or method.lower() not in operations:
            continue
        literal = sum(not name.startswith("{") for name in wanted)
        if all(name == part or name.startswith("{") for name, part in zip(wanted, parts)):
            yield literal, operations[method.lower()]["responses"]["200" if status == 200 else "4XX"]


def validate(method, path, status, body):
    found = sorted(schema_of(method, path, status), key=lambda item: item[0])
    if not found:
        return
    content = found[-1][1].get("content")
    if content is None:
        return
    schema = {"allOf": [content["application/json"]["schema"]], "components": OPENAPI["components"]}
    errors = list(OAS30Validator(schema, format_checker=oas30_format_checker).iter_errors(body))
    assert not errors, f"{method} {path} is not as described: {errors[0].message} at {list(errors[0].absolute_path)}"


def stream(method, path, body=None, token=TOKEN, account=ACCOUNT):
    """(status, decoded body) of a call below /accounts/{account}/, validated."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    status, fields, answer = fetch(f"{API}/accounts/{account}/{path}", method, data, headers)
    if not answer:
        return status, None
    equal(fields["Content-Type"].split(";")[0], "application/json", "content type")
    decoded = json.loads(answer)
    validate(method, path, status, decoded)
    equal(decoded["success"], status == 200, "success")
    return status, decoded


def good(method, path, body=None):
    status, decoded = stream(method, path, body)
    equal(status, 200, f"status of {method} {path}: {decoded}")
    return decoded["result"] if decoded else None


def refused(method, path, body=None, **options):
    status, decoded = stream(method, path, body, **options)
    assert status >= 400, f"{method} {path} was not refused"
    assert decoded["errors"], "no error in the envelope"
    return status


def ready_video(size="100kB", **members):
    video = good("POST", "stream/copy", {"url": f"sample:{size}", **members})
    return wait_for(lambda: good("GET", f"stream/{video['uid']}"), lambda v: v["status"]["state"] == "ready")


def ready_mp4(uid):
    good("POST", f"stream/{uid}/downloads")
    read = lambda: good("GET", f"stream/{uid}/downloads")["default"]
    return wait_for(read, lambda download: download["status"] == "ready")["url"]


# -------------------------------------------------------------------------------------------------------------- Stream


@check
def a_video_goes_through_its_states():
    video = good("POST", "stream/copy", {"url": "sample:1MB", "meta": {"name": "states"}, "creator": "me"})
    equal(video["status"]["state"], "downloading")
    equal(video["readyToStream"], False)
    seen, percents = [], []

    def look():
        now = good("GET", f"stream/{video['uid']}")
        state = now["status"]["state"]
        if not seen or seen[-1] != state:
            seen.append(state)
        if state == "inprogress":
            percents.append(now["status"]["pctComplete"])
        return now

    done = wait_for(look, lambda now: now["status"]["state"] == "ready")
    order = ["downloading", "queued", "inprogress", "ready"]
    assert [order.index(state) for state in seen] == sorted(order.index(state) for state in seen), seen
    assert all(re.fullmatch(r"\d+\.\d{6}", percent) for percent in percents), percents
    equal(percents, sorted(percents, key=float), "percentages")
    equal(done["readyToStream"], True)
    equal(done["size"], 1_000_000)
    equal(done["meta"]["name"], "states")
    assert done["duration"] > 0 and done["preview"] and done["thumbnail"]
    assert None not in done.values(), "nulls are left out"


@check
def lists_filter_and_page():
    names = [f"list-{number}" for number in range(3)]
    uids = [
        good("POST", "stream/copy", {"url": "sample:1kB", "meta": {"name": name}, "creator": "lister"})["uid"]
        for name in names
    ]
    found = good("GET", "stream?creator=lister")
    equal({video["uid"] for video in found}, set(uids))
    equal([video["created"] for video in found], sorted((v["created"] for v in found), reverse=True), "newest first")
    equal(len(good("GET", "stream?creator=lister&limit=2")), 2)
    equal({v["uid"] for v in good("GET", f"stream?id={uids[0]},{uids[2]}")}, {uids[0], uids[2]})
    equal([v["uid"] for v in good("GET", f"stream?id={uids[1]}")], [uids[1]])
    equal([v["uid"] for v in good("GET", "stream?name=list-1")], [uids[1]])
    equal(len(good("GET", "stream?search=LIST-")), 3)
    equal(len(good("GET", "stream?creator=lister&before=2001-01-01T00:00:00Z")), 0)
    equal(len(good("GET", "stream?creator=lister&after=2001-01-01T00:00:00Z&asc=true")), 3)
    status, envelope = stream("GET", "stream?creator=lister&limit=1&include_counts=true")
    equal((status, envelope["total"]), (200, 3))
    wait_for(lambda: good("GET", "stream?creator=lister&status=ready"), lambda videos: len(videos) == 3)
    equal(refused("GET", "stream?limit=0"), 400)
    equal(refused("GET", "stream?after=yesterday"), 400)


@check
def videos_are_edited_and_deleted():
    uid = good("POST", "stream/copy", {"url": "sample:1kB"})["uid"]
    edited = good("POST", f"stream/{uid}", {"meta": {"name": "new"}, "requireSignedURLs": True, "allowedOrigins": ["a.b"]})
    equal((edited["meta"], edited["requireSignedURLs"], edited["allowedOrigins"]), ({"name": "new"}, True, ["a.b"]))
    equal(refused("POST", f"stream/{uid}", {"meta": 3}), 400)
    equal(stream("DELETE", f"stream/{uid}")[0], 200)
    equal(refused("GET", f"stream/{uid}"), 404)
    equal(refused("DELETE", f"stream/{uid}"), 404)
    equal(refused("POST", f"stream/{uid}", {}), 404)


@check
def bad_calls_are_refused_in_the_envelope():
    equal(refused("GET", "stream", token=None), 401)
    equal(refused("GET", "stream", token="wrong"), 401)
    equal(refused("GET", "stream", account="0" * 32), 403)
    equal(refused("GET", "stream/" + "0" * 32), 404)
    equal(refused("GET", "streams"), 404)
    equal(refused("PUT", "stream"), 405)
    equal(refused("POST", "stream/copy", {}), 400)
    equal(refused("POST", "stream/copy", {"url": "ftp://example.com/a.mp4"}), 400)
    equal(refused("POST", "stream/copy", [1]), 400)
    good("GET", "stream/storage-usage")


@check
def failures_of_encoding_show_their_code():
    video = good("POST", "stream/copy", {"url": "sample:1kB", "meta": {"sandbox_error": "ERR_MALFORMED_VIDEO"}})
    read = lambda: good("GET", f"stream/{video['uid']}")
    failed = wait_for(read, lambda now: now["status"]["state"] == "error")
    equal(failed["status"]["errorReasonCode"], "ERR_MALFORMED_VIDEO")
    equal(failed["readyToStream"], False)
    assert refused("POST", f"stream/{video['uid']}/downloads") in range(400, 500)
    gone = good("POST", "stream/copy", {"url": f"{ENDPOINT}/public/there-is-nothing"})
    read = lambda: good("GET", f"stream/{gone['uid']}")
    failed = wait_for(read, lambda now: now["status"]["state"] == "error")
    equal(failed["status"]["errorReasonCode"], "ERR_FETCH_ORIGIN_ERROR")


@check
def an_mp4_is_made_and_downloaded():
    uid = good("POST", "stream/copy", {"url": "sample:300kB"})["uid"]
    equal(good("GET", f"stream/{uid}/downloads"), {})
    assert refused("POST", f"stream/{uid}/downloads") in range(400, 500)
    wait_for(lambda: good("GET", f"stream/{uid}"), lambda video: video["status"]["state"] == "ready")
    first = good("POST", f"stream/{uid}/downloads/default")["default"]
    equal(first["status"], "inprogress")
    equal(fetch(first["url"])[0], 424)
    read = lambda: good("GET", f"stream/{uid}/downloads")["default"]
    done = wait_for(read, lambda download: download["status"] == "ready")
    equal(done["percentComplete"], 100)
    status, headers, whole = fetch(done["url"])
    equal((status, len(whole), headers["Content-Type"]), (200, 300_000, "video/mp4"))
    equal(headers["Accept-Ranges"], "bytes")
    equal(whole[4:8], b"ftyp")
    tag = headers["ETag"]
    status, headers, part = fetch(done["url"], headers={"Range": "bytes=1000-1999"})
    equal((status, part, headers["Content-Range"]), (206, whole[1000:2000], "bytes 1000-1999/300000"))
    equal(fetch(done["url"], headers={"Range": "bytes=299990-", "If-Range": tag})[2], whole[-10:])
    equal(fetch(done["url"], headers={"Range": "bytes=299990-", "If-Range": '"other"'})[0], 200)
    equal(fetch(done["url"], headers={"Range": "bytes=-5"})[2], whole[-5:])
    status, headers, _ = fetch(done["url"], headers={"Range": "bytes=300000-"})
    equal((status, headers["Content-Range"]), (416, "bytes */300000"))
    status, headers, body = fetch(done["url"], method="HEAD")
    equal((status, headers["Content-Length"], body), (200, "300000", b""))
    equal(fetch(done["url"].replace(uid, "0" * 32))[0], 404)
    _, headers, _ = fetch(done["url"] + "?filename=my-clip")
    equal(headers["Content-Disposition"], 'attachment; filename="my-clip.mp4"')
    equal(good("DELETE", f"stream/{uid}/downloads/default"), "ok")
    equal(good("GET", f"stream/{uid}/downloads"), {})
    equal(fetch(done["url"])[0], 424)
    assert refused("POST", f"stream/{uid}/downloads/audio") in range(400, 500)


@check
def mp4s_fail_as_told():
    uid = ready_video(meta={"sandbox_mp4": "error_once"})["uid"]
    good("POST", f"stream/{uid}/downloads")
    read = lambda: good("GET", f"stream/{uid}/downloads")["default"]
    wait_for(read, lambda download: download["status"] == "error")
    fetch(ready_mp4(uid))
    uid = ready_video(meta={"sandbox_mp4": "never"})["uid"]
    good("POST", f"stream/{uid}/downloads")
    wait_for(read_never := lambda: good("GET", f"stream/{uid}/downloads")["default"], lambda d: d["percentComplete"] >= 99)
    equal(read_never()["status"], "inprogress")


@check
def private_videos_need_a_token():
    uid = ready_video(requireSignedURLs=True)["uid"]
    url = ready_mp4(uid)
    equal(fetch(url)[0], 401)
    viewing = good("POST", f"stream/{uid}/token")["token"]
    equal(fetch(url.replace(uid, viewing))[0], 403)
    token = good("POST", f"stream/{uid}/token", {"downloadable": True, "exp": int(time.time()) + 60})["token"]
    equal(fetch(url.replace(uid, token))[0], 200)
    equal(fetch(url.replace(uid, token + "x"))[0], 401)
    equal(refused("POST", f"stream/{uid}/token", {"exp": int(time.time()) + 25 * 3600}), 400)
    equal(refused("POST", f"stream/{uid}/token", {"exp": int(time.time()) - 1}), 400)


@check
def the_webhook_subscription_keeps_and_changes_its_secret():
    first = good("PUT", "stream/webhook", {"notificationUrl": "http://127.0.0.1:9/a"})
    equal((first["notificationUrl"], first["notification_url"]), ("http://127.0.0.1:9/a",) * 2)
    assert re.fullmatch("[0-9a-f]{32}", first["secret"])
    equal(good("PUT", "stream/webhook", {"notification_url": "http://127.0.0.1:9/a"})["secret"], first["secret"])
    second = good("PUT", "stream/webhook", {"notificationUrl": "http://127.0.0.1:9/b"})
    assert second["secret"] != first["secret"]
    equal(good("GET", "stream/webhook"), second)
    equal(good("DELETE", "stream/webhook"), "ok")
    equal(refused("GET", "stream/webhook"), 404)
    equal(refused("PUT", "stream/webhook", {"notificationUrl": "nowhere"}), 400)


@check
def direct_uploads_take_a_form_or_a_body():
    equal(refused("POST", "stream/direct_upload", {}), 400)
    for body, kind in [
        (b"\x00" * 70_000 + b"\r\n--almost", "application/octet-stream"),
        (b"\x01" * 70_000 + b"\r\n--almost", "multipart/form-data"),
    ]:
        made = good("POST", "stream/direct_upload", {"maxDurationSeconds": 60, "meta": {"name": "direct"}})
        equal(good("GET", f"stream/{made['uid']}")["status"]["state"], "pendingupload")
        sent, headers = body, {"Content-Type": kind}
        if kind.startswith("multipart"):
            mark = "a-lmost"
            headers["Content-Type"] += f"; boundary={mark}"
            part = '--{0}\r\nContent-Disposition: form-data; name="x"\r\n\r\ny\r\n--{0}\r\nContent-Disposition: form-data; '
            part += 'name="file"; filename="a.mp4"\r\nContent-Type: video/mp4\r\n\r\n'
            sent = part.format(mark).encode() + body + f"\r\n--{mark}--\r\n".encode()
        equal(fetch(made["uploadURL"], "POST", sent, headers)[0], 200)
        assert fetch(made["uploadURL"], "POST", sent, headers)[0] in range(400, 500)
        wait_for(lambda: good("GET", f"stream/{made['uid']}"), lambda video: video["status"]["state"] == "ready")
        equal(fetch(ready_mp4(made["uid"]))[2], body)


@check
def a_video_is_copied_from_a_url():
    body = random.Random(5).randbytes(200_000)
    s3().put_object(Bucket=BUCKET, Key="source.mp4", Body=body)
    video = good("POST", "stream/copy", {"url": f"{PUBLIC}/source.mp4"})
    wait_for(lambda: good("GET", f"stream/{video['uid']}"), lambda now: now["status"]["state"] == "ready")
    equal(fetch(ready_mp4(video["uid"]))[2], body)


# ------------------------------------------------------------------------------------------------------------------ S3


def s3(**options):
    config = {"signature_version": "s3v4", "retries": {"max_attempts": 1}, **options.pop("config", {})}
    return boto3.client(
        "s3",
        endpoint_url=ENDPOINT,
        aws_access_key_id=options.pop("key", SETTINGS["R2_ACCESS_KEY_ID"]),
        aws_secret_access_key=options.pop("secret", SETTINGS["R2_SECRET_ACCESS_KEY"]),
        region_name=options.pop("region", "auto"),
        config=Config(**config),
    )


WHEN_REQUIRED = {"request_checksum_calculation": "when_required", "response_checksum_validation": "when_required"}


def fails(code, status, call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        equal(error.response["Error"]["Code"], code, "error code")
        equal(error.response["ResponseMetadata"]["HTTPStatusCode"], status, "status")
        return
    raise AssertionError(f"no {code}")


@check
def objects_come_back_as_they_were_put():
    for client in (s3(), s3(config=WHEN_REQUIRED), s3(region="us-east-1")):
        body = os.urandom(100_000)
        put = client.put_object(
            Bucket=BUCKET, Key="a/b c/ü+&?.mp4", Body=body, ContentType="video/mp4", CacheControl="max-age=5",
            ContentDisposition="inline", Metadata={"uid": "abc", "note": "two words"})
        equal(put["ETag"], f'"{hashlib.md5(body).hexdigest()}"')
        got = client.get_object(Bucket=BUCKET, Key="a/b c/ü+&?.mp4")
        equal(got["Body"].read(), body)
        equal((got["ContentType"], got["CacheControl"], got["ContentDisposition"]), ("video/mp4", "max-age=5", "inline"))
        equal(got["Metadata"], {"uid": "abc", "note": "two words"})
        head = client.head_object(Bucket=BUCKET, Key="a/b c/ü+&?.mp4")
        equal((head["ContentLength"], head["ETag"]), (100_000, put["ETag"]))
        part = client.get_object(Bucket=BUCKET, Key="a/b c/ü+&?.mp4", Range="bytes=10-19")
        equal((part["Body"].read(), part["ContentRange"]), (body[10:20], "bytes 10-19/100000"))
        client.delete_object(Bucket=BUCKET, Key="a/b c/ü+&?.mp4")
        client.delete_object(Bucket=BUCKET, Key="a/b c/ü+&?.mp4")
        fails("NoSuchKey", 404, client.get_object, Bucket=BUCKET, Key="a/b c/ü+&?.mp4")
        fails("404", 404, client.head_object, Bucket=BUCKET, Key="a/b c/ü+&?.mp4")
    status, _, body = fetch(f"{PUBLIC}/no/such/key")
    equal(status, 404)


@check
def any_key_is_a_key():
    client = s3()
    keys = ["x/../y", "..", "a//b", "folder/", "é", "e\u0301", "per%25cent", "plus+and space", "tab\tand\nline", "<&\">'"]
    # urllib3 takes dots out of a path before it is sent, so these two never arrive as they were signed.
    keys = [key for key in keys if ".." not in key]
    for key in keys:
        client.put_object(Bucket=BUCKET, Key=key, Body=key.encode())
    for key in keys:
        equal(client.get_object(Bucket=BUCKET, Key=key)["Body"].read(), key.encode(), key)
    listed = {item["Key"] for item in client.list_objects_v2(Bucket=BUCKET)["Contents"]}
    assert set(keys) <= listed, set(keys) - listed
    answer = client.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": key} for key in keys]})
    equal({item["Key"] for item in answer["Deleted"]}, set(keys))
    listed = {item["Key"] for item in client.list_objects_v2(Bucket=BUCKET).get("Contents", [])}
    assert not listed & set(keys)


@check
def lists_are_paged_and_grouped():
    client = s3()
    keys = [f"p/{folder}/{number}" for folder in "ab" for number in range(3)] + ["p/c"]
    for key in keys:
        client.put_object(Bucket=BUCKET, Key=key, Body=b"1")
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix="p/", PaginationConfig={"PageSize": 2})
    equal([item["Key"] for page in pages for item in page["Contents"]], keys)
    pages = client.get_paginator("list_objects").paginate(Bucket=BUCKET, Prefix="p/", PaginationConfig={"PageSize": 2})
    equal([item["Key"] for page in pages for item in page["Contents"]], keys)
    for name in ("list_objects_v2", "list_objects"):
        pages = client.get_paginator(name).paginate(
            Bucket=BUCKET, Prefix="p/", Delimiter="/", PaginationConfig={"PageSize": 1})
        groups, plain = [], []
        for page in pages:
            groups += [item["Prefix"] for item in page.get("CommonPrefixes", [])]
            plain += [item["Key"] for item in page.get("Contents", [])]
        equal((groups, plain), (["p/a/", "p/b/"], ["p/c"]), name)
    after = client.list_objects_v2(Bucket=BUCKET, Prefix="p/", StartAfter="p/b/1")
    equal([item["Key"] for item in after["Contents"]], ["p/b/2", "p/c"])
    equal(after["KeyCount"], 2)
    equal(client.list_objects_v2(Bucket=BUCKET, Prefix="none/")["KeyCount"], 0)
    assert BUCKET in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]
    client.head_bucket(Bucket=BUCKET)
    client.get_bucket_location(Bucket=BUCKET)


@check
def s3transfer_puts_and_gets_in_parts():
    body = random.Random(1).randbytes(30 * MIB + 12345)
    for client in (s3(), s3(config=WHEN_REQUIRED)):
        client.upload_fileobj(
            io.BytesIO(body), BUCKET, "big.mp4", ExtraArgs={"ContentType": "video/mp4", "Metadata": {"a": "b"}},
            Config=TransferConfig(multipart_threshold=8 * MIB, multipart_chunksize=8 * MIB))
        got = io.BytesIO()
        client.download_fileobj(BUCKET, "big.mp4", got)
        assert got.getvalue() == body, "other bytes came back"
        head = client.head_object(Bucket=BUCKET, Key="big.mp4")
        digests = b"".join(hashlib.md5(body[at : at + 8 * MIB]).digest() for at in range(0, len(body), 8 * MIB))
        equal(head["ETag"], f'"{hashlib.md5(digests).hexdigest()}-4"')
        equal((head["ContentType"], head["Metadata"]), ("video/mp4", {"a": "b"}))
        equal(client.get_object(Bucket=BUCKET, Key="big.mp4", Range="bytes=8388600-8388615")["Body"].read(), body[8388600:8388616])
        client.copy({"Bucket": BUCKET, "Key": "big.mp4"}, BUCKET, "copy.mp4")
        equal(client.head_object(Bucket=BUCKET, Key="copy.mp4")["ContentLength"], len(body))
        client.delete_object(Bucket=BUCKET, Key="copy.mp4")
    equal(fetch(f"{PUBLIC}/big.mp4")[2] == body, True)


@check
def parts_follow_r2s_rules():
    client = s3()
    start = lambda key: client.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]

    def part(upload, number, size, key):
        answer = client.upload_part(Bucket=BUCKET, Key=key, UploadId=upload, PartNumber=number, Body=bytes(size))
        return {"PartNumber": number, "ETag": answer["ETag"]}

    complete = lambda key, upload, parts, **more: client.complete_multipart_upload(
        Bucket=BUCKET, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}, **more)

    upload = start("unequal")
    parts = [part(upload, 1, 6 * MIB, "unequal"), part(upload, 2, 5 * MIB, "unequal"), part(upload, 3, 10, "unequal")]
    fails("InvalidPart", 400, complete, key="unequal", upload=upload, parts=parts)
    parts[1] = part(upload, 2, 6 * MIB, "unequal")
    wrong = [parts[0], {"PartNumber": 2, "ETag": '"00000000000000000000000000000000"'}]
    fails("InvalidPart", 400, complete, key="unequal", upload=upload, parts=wrong)
    listed = client.list_parts(Bucket=BUCKET, Key="unequal", UploadId=upload)
    equal([(item["PartNumber"], item["Size"]) for item in listed["Parts"]], [(1, 6 * MIB), (2, 6 * MIB), (3, 10)])
    pages = client.get_paginator("list_parts").paginate(
        Bucket=BUCKET, Key="unequal", UploadId=upload, PaginationConfig={"PageSize": 1})
    equal([item["PartNumber"] for page in pages for item in page["Parts"]], [1, 2, 3])
    found = client.list_multipart_uploads(Bucket=BUCKET)["Uploads"]
    assert ("unequal", upload) in [(item["Key"], item["UploadId"]) for item in found]
    # R2 puts the parts in order itself.
    complete("unequal", upload, [parts[1], parts[2], parts[0]])
    equal(client.head_object(Bucket=BUCKET, Key="unequal")["ContentLength"], 12 * MIB + 10)
    fails("NoSuchUpload", 404, complete, key="unequal", upload=upload, parts=parts)
    client.abort_multipart_upload(Bucket=BUCKET, Key="unequal", UploadId=upload)

    upload = start("small")
    parts = [part(upload, 1, 1000, "small"), part(upload, 2, 1000, "small")]
    fails("EntityTooSmall", 400, complete, key="small", upload=upload, parts=parts)
    client.abort_multipart_upload(Bucket=BUCKET, Key="small", UploadId=upload)
    client.abort_multipart_upload(Bucket=BUCKET, Key="small", UploadId=upload)
    fails("NoSuchUpload", 404, client.list_parts, Bucket=BUCKET, Key="small", UploadId=upload)
    fails("NoSuchUpload", 404, part, upload=upload, number=1, size=1, key="small")
    fails("InvalidArgument", 400, part, upload=start("number"), number=10001, size=1, key="number")

    upload = start("unequal")
    parts = [part(upload, 1, 10, "unequal")]
    fails("PreconditionFailed", 412, complete, key="unequal", upload=upload, parts=parts, IfNoneMatch="*")
    fails("NoSuchUpload", 404, complete, key="unequal", upload=upload, parts=parts)


@check
def conditions_hold():
    client = s3()
    client.delete_object(Bucket=BUCKET, Key="once")
    tag = client.put_object(Bucket=BUCKET, Key="once", Body=b"1", IfNoneMatch="*")["ETag"]
    fails("PreconditionFailed", 412, client.put_object, Bucket=BUCKET, Key="once", Body=b"2", IfNoneMatch="*")
    fails("PreconditionFailed", 412, client.put_object, Bucket=BUCKET, Key="once", Body=b"2", IfMatch='"other"')
    client.put_object(Bucket=BUCKET, Key="once", Body=b"2", IfMatch=tag)
    fails("PreconditionFailed", 412, client.get_object, Bucket=BUCKET, Key="once", IfMatch=tag)
    now = client.head_object(Bucket=BUCKET, Key="once")
    fails("304", 304, client.get_object, Bucket=BUCKET, Key="once", IfNoneMatch=now["ETag"])
    fails("304", 304, client.get_object, Bucket=BUCKET, Key="once", IfModifiedSince=now["LastModified"])
    fails("InvalidRange", 416, client.get_object, Bucket=BUCKET, Key="once", Range="bytes=5-6")


@check
def bad_requests_are_refused_in_xml():
    fails("SignatureDoesNotMatch", 403, s3(secret="wrong").list_objects_v2, Bucket=BUCKET)
    fails("InvalidAccessKeyId", 403, s3(key="wrong").list_objects_v2, Bucket=BUCKET)
    fails("InvalidRegionName", 400, s3(region="mars-north-1").list_objects_v2, Bucket=BUCKET)
    fails("NoSuchBucket", 404, s3().list_objects_v2, Bucket="there-is-none")
    fails("NoSuchBucket", 404, s3().put_object, Bucket="there-is-none", Key="a", Body=b"")
    fails("InvalidBucketName", 400, s3().create_bucket, Bucket="CAPITALS")
    fails("BadDigest", 400, s3().put_object, Bucket=BUCKET, Key="a", Body=b"a", ContentMD5="1B2M2Y8AsgTpgAmY7PhCfg==")
    fails("InvalidDigest", 400, s3().put_object, Bucket=BUCKET, Key="a", Body=b"a", ContentMD5="AA==")
    fails("NotImplemented", 501, s3().get_bucket_acl, Bucket=BUCKET)
    fails("BadDigest", 400, s3().put_object, Bucket=BUCKET, Key="a", Body=b"a", ChecksumCRC32="AAAAAA==")
    status, headers, body = fetch(f"{ENDPOINT}/{BUCKET}/a")
    equal((status, headers["Content-Type"]), (403, "application/xml"))
    assert b"<Error><Code>AccessDenied</Code><Message>" in body, body


@check
def presigned_urls_work_until_they_expire():
    client = s3()
    params = {"Bucket": BUCKET, "Key": "signed/a b.txt"}
    put = client.generate_presigned_url("put_object", Params=params, ExpiresIn=60)
    equal(fetch(put, "PUT", b"hello")[0], 200)
    get = client.generate_presigned_url("get_object", Params=params, ExpiresIn=60)
    equal(fetch(get)[2], b"hello")
    equal(fetch(get.replace("a%20b", "a%20c"))[0], 403)
    equal(fetch(get + "&more=1")[0], 403)
    short = client.generate_presigned_url("get_object", Params=params, ExpiresIn=1)
    wait_for(lambda: fetch(short)[0], lambda status: status == 400)
    with_type = {**params, "ResponseContentType": "text/css"}
    equal(fetch(client.generate_presigned_url("get_object", Params=with_type))[1]["Content-Type"], "text/css")


@check
def streaming_signatures_and_unknown_lengths_are_refused():
    url = urllib.parse.urlsplit(ENDPOINT)

    def send(prepare, headers, body):
        from botocore.auth import S3SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials

        request = AWSRequest("PUT", f"{ENDPOINT}/{BUCKET}/stream", headers=headers)
        request.context["payload_signing_enabled"] = False
        keys = Credentials(SETTINGS["R2_ACCESS_KEY_ID"], SETTINGS["R2_SECRET_ACCESS_KEY"])
        auth = S3SigV4Auth(keys, "s3", "auto")
        auth.payload = lambda request: headers["X-Amz-Content-SHA256"]
        auth.add_auth(request)
        connection = http.client.HTTPConnection(url.hostname, url.port, timeout=10)
        connection.putrequest("PUT", f"/{BUCKET}/stream")
        for name, value in request.headers.items():
            connection.putheader(name, value)
        prepare(connection)
        connection.endheaders()
        connection.send(body)
        response = connection.getresponse()
        return response.status, response.read()

    status, body = send(
        lambda connection: connection.putheader("Content-Length", "1"),
        {"X-Amz-Content-SHA256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER"}, b"1")
    equal(status, 501)
    assert b"<Code>NotImplemented</Code>" in body
    chunked = lambda connection: connection.putheader("Transfer-Encoding", "chunked")
    status, body = send(chunked, {"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}, b"1\r\na\r\n0\r\n\r\n")
    equal(status, 411)
    assert b"<Code>MissingContentLength</Code>" in body
    digest = hashlib.sha256(b"other").hexdigest()
    length = lambda connection: connection.putheader("Content-Length", "1")
    status, body = send(length, {"X-Amz-Content-SHA256": digest}, b"1")
    equal(status, 400)
    assert b"<Code>XAmzContentSHA256Mismatch</Code>" in body


@check
def buckets_come_and_go():
    client = s3()
    client.create_bucket(Bucket="another-bucket")
    fails("BucketAlreadyOwnedByYou", 409, client.create_bucket, Bucket="another-bucket")
    client.put_object(Bucket="another-bucket", Key="a", Body=b"1")
    client.copy_object(Bucket=BUCKET, Key="copied", CopySource={"Bucket": "another-bucket", "Key": "a"})
    equal(client.get_object(Bucket=BUCKET, Key="copied")["Body"].read(), b"1")
    fails("BucketNotEmpty", 409, client.delete_bucket, Bucket="another-bucket")
    client.delete_object(Bucket="another-bucket", Key="a")
    client.delete_bucket(Bucket="another-bucket")
    fails("404", 404, client.head_bucket, Bucket="another-bucket")


def main():
    failures = 0
    for function in CHECKS:
        name = function.__name__.replace("_", " ")
        try:
            function()
            print(f"ok      {name}", flush=True)
        except Exception:
            failures += 1
            print(f"FAILED  {name}\n{traceback.format_exc()}", flush=True)
    print(f"{len(CHECKS) - failures} of {len(CHECKS)} checks passed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
