// clipbridge
// SPDX-License-Identifier: Apache-2.0

extension MetricFamily {
    /// Every metric that parts of the bridge count, time or set, for what is shown of it before its first event.
    package static let counted: [MetricFamily] = [
        MetricFamily("clipbridge_webhooks_total", .counter, "Requests to the webhook's path, by what became of them."),
        MetricFamily(
            "clipbridge_webhook_commit_seconds", .histogram,
            "From handing a delivery to the store until it was durable."),
        MetricFamily(
            "clipbridge_signals_total", .counter, "Signals that were decided, by the status that they asked for."),
        MetricFamily("clipbridge_signal_lag_seconds", .histogram, "From storing a signal until it was decided."),
        MetricFamily("clipbridge_actions_total", .counter, "Actions that ended, by how they ended."),
        MetricFamily("clipbridge_action_seconds", .histogram, "How long actions ran."),
        MetricFamily("clipbridge_transfer_bytes_total", .counter, "Bytes moved from the MP4 host and to R2."),
        MetricFamily(
            "clipbridge_redownloaded_bytes_total", .counter,
            "Bytes that had been fetched before and had to be fetched again."),
        MetricFamily(
            "clipbridge_cloudflare_requests_total", .counter,
            "Calls of Cloudflare's API, by HTTP status or by why there was none."),
        MetricFamily(
            "clipbridge_cloudflare_budget_remaining", .gauge, "Calls of Cloudflare's API that could be made at once."),
        MetricFamily(
            "clipbridge_last_webhook_timestamp_seconds", .gauge,
            "When a webhook was last stored, since the Unix epoch, in seconds."),
        MetricFamily(
            "clipbridge_webhook_subscribed", .gauge, "Whether the account's webhook subscription is this bridge's."),
        MetricFamily(
            "clipbridge_notifications_total", .counter, "Outgoing webhooks that were sent, by what became of them."),
        MetricFamily(
            "clipbridge_notifications_pending", .gauge,
            "Outgoing webhooks that wait for their receiver, in the store."),
        MetricFamily(
            "clipbridge_foreign_rows", .gauge, "Rows of the clips table whose status or uid is none of ours."),
    ]
}
