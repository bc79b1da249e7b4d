# clipbridge
# SPDX-License-Identifier: Apache-2.0
"""The contract's rules of a status' movement, written a second time and apart from the program's."""

STATUSES = (
    "uploading", "queued", "processing", "stream_ready", "waitformp4", "mp4_processing", "mp4downloading",
    "r2_uploading", "complete", "error",
)
ORDER = {status: number for number, status in enumerate(STATUSES, 1)}
# Whoever is outside may set a finished clip to error; what Cloudflare or the pipeline says comes too late.
OUTSIDE = ("operator", "external")


def may_follow(status, following):
    """Of two different statuses, neither a retry."""
    if status == "error":
        return False
    return following == "error" or (status, following) == ("mp4_processing", "waitformp4") or (
        ORDER[following] > ORDER[status])


def decision(status, failed_from, source, kind, requested):
    """What has to become of a signal: outcome, reason, the status before and the one after."""
    if kind == "retry":
        if status is None:
            return "rejected", "unknown_clip", None, None
        if status != "error":
            return "rejected", "backward", status, status
        back = "r2_uploading" if failed_from == "complete" else failed_from or "uploading"
        return "applied", None, status, back
    if status is None:
        creates = source in ("webhook", "operator", "external")
        return ("applied", None, None, requested) if creates else ("rejected", "unknown_clip", None, None)
    if requested == status:
        return "merged", None, status, status
    if status == "error":
        return "rejected", "terminal", status, status
    if status == "complete" and source not in OUTSIDE:
        return "rejected", "terminal", status, status
    if may_follow(status, requested):
        return "applied", None, status, requested
    return "rejected", "backward", status, status
