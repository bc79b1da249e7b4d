# clipbridge
# SPDX-License-Identifier: Apache-2.0
"""Signs requests with botocore, the signer that AWS's own command line uses.

Reads a JSON array of requests on standard input and writes, as a JSON array in the same order, the URL that botocore
would send, the signature for the Authorization header, the signed headers' names, and a presigned URL.
"""

import base64
import json
import sys
from urllib.parse import quote

from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials
from botocore.utils import percent_encode_sequence

def aws_request(given):
    url = f"{given['endpoint']}/{quote(given['bucket'], safe='')}/{quote(given['key'], safe='/~')}"
    if given["query"]:
        url += "?" + percent_encode_sequence([(item["name"], item.get("value") or "") for item in given["query"]])
    request = AWSRequest(method=given["method"], url=url, data=base64.b64decode(given["body"]))
    request.headers = HTTPHeaders()
    for header in given["headers"]:
        request.headers.add_header(header["name"], header["value"])
    # What add_auth sets from the clock.
    request.context["timestamp"] = given["date"]
    return request


def sign(given):
    credentials = Credentials(given["accessKeyID"], given["secretAccessKey"], given.get("sessionToken"))
    request = aws_request(given)
    auth = S3SigV4Auth(credentials, "s3", given["region"])
    auth._modify_request_before_signing(request)
    canonical_request = auth.canonical_request(request)
    signature = auth.signature(auth.string_to_sign(request, canonical_request), request)

    presigned = aws_request(given | {"body": ""})
    query_auth = S3SigV4QueryAuth(credentials, "s3", given["region"], expires=given["expires"])
    query_auth._modify_request_before_signing(presigned)
    presigned_canonical = query_auth.canonical_request(presigned)
    query_auth._inject_signature_to_request(
        presigned, query_auth.signature(query_auth.string_to_sign(presigned, presigned_canonical), presigned)
    )
    return {
        "url": request.url,
        "canonicalRequest": canonical_request,
        "signedHeaders": auth.signed_headers(auth.headers_to_sign(request)),
        "signature": signature,
        "presignedURL": presigned.url,
    }


json.dump([sign(given) for given in json.load(sys.stdin)], sys.stdout)
