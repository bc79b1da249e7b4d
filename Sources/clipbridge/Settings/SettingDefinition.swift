// clipbridge
// SPDX-License-Identifier: Apache-2.0

/// A setting's name, default and meaning; the one table that the settings, `config` and the flags are made of.
struct SettingDefinition: Sendable {
    static let anyText = "a text"

    var name: SettingName
    /// As it would be written; nil for none.
    var preset: String?
    var isSecret = false
    var meaning: String
    /// What a value has to look like, for the message that refuses one.
    var accepts = Self.anyText
}

/// The settings, by the names of their environment variables.
enum SettingName: String, CaseIterable, Sendable {
    case cloudflareAccountID = "CLOUDFLARE_ACCOUNT_ID"
    case cloudflareAPIToken = "CLOUDFLARE_API_TOKEN"
    case cloudflareWebhookSecret = "CLOUDFLARE_WEBHOOK_SECRET"
    case cloudflareAPIBase = "CLOUDFLARE_API_BASE"
    case r2AccountID = "R2_ACCOUNT_ID"
    case r2AccessKeyID = "R2_ACCESS_KEY_ID"
    case r2SecretAccessKey = "R2_SECRET_ACCESS_KEY"
    case r2BucketName = "R2_BUCKET_NAME"
    case r2PublicURL = "R2_PUBLIC_URL"
    case r2Endpoint = "R2_ENDPOINT"
    case r2Region = "R2_REGION"
    case databaseURL = "DATABASE_URL"
    case host = "CLIPBRIDGE_HOST"
    case port = "CLIPBRIDGE_PORT"
    case publicURL = "CLIPBRIDGE_PUBLIC_URL"
    case adminToken = "CLIPBRIDGE_ADMIN_TOKEN"
    case spoolDirectory = "CLIPBRIDGE_SPOOL_DIR"
    case spoolBytesMax = "CLIPBRIDGE_SPOOL_MAX_BYTES"
    case r2Key = "CLIPBRIDGE_R2_KEY"
    case transfersMax = "CLIPBRIDGE_MAX_TRANSFERS"
    case partSize = "CLIPBRIDGE_PART_SIZE"
    case partConcurrency = "CLIPBRIDGE_PART_CONCURRENCY"
    case bandwidth = "CLIPBRIDGE_BANDWIDTH"
    case downloadHosts = "CLIPBRIDGE_DOWNLOAD_HOSTS"
    case autoMP4 = "CLIPBRIDGE_AUTO_MP4"
    case unknownClips = "CLIPBRIDGE_UNKNOWN_CLIPS"
    case webhookTolerance = "CLIPBRIDGE_WEBHOOK_TOLERANCE"
    case pollMin = "CLIPBRIDGE_POLL_MIN"
    case pollMax = "CLIPBRIDGE_POLL_MAX"
    case mp4Deadline = "CLIPBRIDGE_MP4_DEADLINE"
    case encodeDeadline = "CLIPBRIDGE_ENCODE_DEADLINE"
    case uploadDeadline = "CLIPBRIDGE_UPLOAD_DEADLINE"
    case clipsTable = "CLIPBRIDGE_CLIPS_TABLE"
    case uidColumn = "CLIPBRIDGE_UID_COLUMN"
    case retention = "CLIPBRIDGE_RETENTION"
    case notifyURLs = "CLIPBRIDGE_NOTIFY_URLS"
    case notifySecret = "CLIPBRIDGE_NOTIFY_SECRET"
    case forwardURLs = "CLIPBRIDGE_FORWARD_URLS"
    case notifyHosts = "CLIPBRIDGE_NOTIFY_HOSTS"
    case logLevel = "CLIPBRIDGE_LOG_LEVEL"
    case logFormat = "CLIPBRIDGE_LOG_FORMAT"

    var isSecret: Bool { definition.isSecret }

    /// Secrets and the database's URL may stand in a file, named by this variable.
    var fileName: String? { isSecret ? "\(rawValue)_FILE" : nil }
}

extension SettingName {
    static let definitions: [SettingDefinition] = allCases.map(\.definition)

    private static let durationWords = "seconds, or a number with ms, s, m, h or d"
    private static let positiveDurationWords = "\(durationWords), above 0"
    private static let targetWords =
        "at most 16 https URLs without user and fragment, comma-separated; http for hosts in CLIPBRIDGE_NOTIFY_HOSTS"
    private static let sizeWords = "bytes, or a number with KiB, MiB, GiB, k, M or G"

    var definition: SettingDefinition {
        switch self {
        case .cloudflareAccountID:
            SettingDefinition(name: self, meaning: "Cloudflare account")
        case .cloudflareAPIToken:
            SettingDefinition(name: self, isSecret: true, meaning: "API token with Stream Read and Write")
        case .cloudflareWebhookSecret:
            SettingDefinition(
                name: self, isSecret: true,
                meaning: "secrets of the webhook subscription, comma-separated, newest first")
        case .cloudflareAPIBase:
            SettingDefinition(
                name: self, preset: "https://api.cloudflare.com/client/v4", meaning: "base URL of Cloudflare's API",
                accepts: "an http or https URL")
        case .r2AccountID:
            SettingDefinition(name: self, meaning: "account of the bucket; CLOUDFLARE_ACCOUNT_ID if not set")
        case .r2AccessKeyID:
            SettingDefinition(name: self, isSecret: true, meaning: "R2 access key id")
        case .r2SecretAccessKey:
            SettingDefinition(name: self, isSecret: true, meaning: "R2 secret access key")
        case .r2BucketName:
            SettingDefinition(
                name: self, meaning: "name of the bucket that the MP4s go to",
                accepts: "3 to 63 lower-case letters, digits, hyphens and full stops")
        case .r2PublicURL:
            SettingDefinition(
                name: self, meaning: "public base URL of the bucket, for r2_public_url", accepts: "an http or https URL"
            )
        case .r2Endpoint:
            SettingDefinition(
                name: self, preset: "https://<account>.r2.cloudflarestorage.com",
                meaning: "any S3 endpoint; path style is used", accepts: "an http or https URL")
        case .r2Region:
            SettingDefinition(name: self, preset: "auto", meaning: "region that requests are signed for")
        case .databaseURL:
            SettingDefinition(
                name: self, preset: "sqlite:clipbridge.sqlite", isSecret: true, meaning: "where clips are kept",
                accepts: "sqlite:PATH or postgres://…")
        case .host:
            SettingDefinition(name: self, preset: "127.0.0.1", meaning: "address to listen on")
        case .port:
            SettingDefinition(
                name: self, preset: "8787", meaning: "port to listen on; 0 takes a free one",
                accepts: "a number from 0 to 65535")
        case .publicURL:
            SettingDefinition(
                name: self, meaning: "this bridge's URL as Cloudflare sees it", accepts: "an http or https URL")
        case .adminToken:
            SettingDefinition(name: self, isSecret: true, meaning: "token of the operator API")
        case .spoolDirectory:
            SettingDefinition(
                name: self, preset: "clipbridge-spool", meaning: "folder for MP4s between download and put")
        case .spoolBytesMax:
            SettingDefinition(
                name: self, preset: "20GiB", meaning: "how full the spool may get", accepts: Self.sizeWords)
        case .r2Key:
            SettingDefinition(
                name: self, preset: "videos/{uid}.mp4", meaning: "object key; {uid} stands for the clip's uid",
                accepts: "a key of at most 1,024 bytes with {uid} in it")
        case .transfersMax:
            SettingDefinition(
                name: self, preset: "4", meaning: "transfers at a time", accepts: "a number from 1 to 256")
        case .partSize:
            SettingDefinition(
                name: self, preset: "16MiB", meaning: "size of a part; a larger file goes in parts",
                accepts: "\(Self.sizeWords), from 5MiB to 5GiB less 5MiB")
        case .partConcurrency:
            SettingDefinition(
                name: self, preset: "3", meaning: "parts of one file at a time", accepts: "a number from 1 to 64")
        case .bandwidth:
            SettingDefinition(
                name: self, meaning: "global limit DOWN:UP in bytes per second", accepts: "DOWN:UP, for example 50M:20M"
            )
        case .downloadHosts:
            SettingDefinition(
                name: self, preset: "*.cloudflarestream.com,*.videodelivery.net",
                meaning: "hosts that MP4s may come from",
                accepts: "hosts, *.domains and host:port, comma-separated")
        case .autoMP4:
            SettingDefinition(
                name: self, preset: "true", meaning: "ask for the MP4 without an operator", accepts: "true or false")
        case .unknownClips:
            SettingDefinition(
                name: self, preset: "create", meaning: "what a delivery for an unknown clip does",
                accepts: "create or reject")
        case .webhookTolerance:
            SettingDefinition(
                name: self, preset: "300", meaning: "accepted distance of a signature's time",
                accepts: Self.durationWords)
        case .pollMin:
            SettingDefinition(
                name: self, preset: "2s", meaning: "shortest time between two inquiries",
                accepts: Self.positiveDurationWords)
        case .pollMax:
            SettingDefinition(
                name: self, preset: "60s", meaning: "longest time between two inquiries",
                accepts: Self.positiveDurationWords)
        case .mp4Deadline:
            SettingDefinition(
                name: self, preset: "60m", meaning: "limit for an MP4 that was asked for",
                accepts: Self.positiveDurationWords)
        case .encodeDeadline:
            SettingDefinition(
                name: self, preset: "24h", meaning: "limit for queued and processing",
                accepts: Self.positiveDurationWords)
        case .uploadDeadline:
            SettingDefinition(
                name: self, preset: "24h", meaning: "limit for the upload to Cloudflare",
                accepts: Self.positiveDurationWords)
        case .clipsTable:
            SettingDefinition(
                name: self, preset: "clips", meaning: "table of the clips", accepts: "a table's name as written in SQL")
        case .uidColumn:
            SettingDefinition(
                name: self, preset: "cloudflare_uid", meaning: "its column with the uid",
                accepts: "a column's name as written in SQL, other than status and processing_details")
        case .retention:
            SettingDefinition(
                name: self, preset: "30d", meaning: "how long deliveries are kept", accepts: Self.durationWords)
        case .notifyURLs:
            SettingDefinition(
                name: self, isSecret: true, meaning: "URLs that are told of changes of status",
                accepts: Self.targetWords)
        case .notifySecret:
            SettingDefinition(
                name: self, isSecret: true,
                meaning: "secrets that outgoing webhooks are signed with, comma-separated, newest first",
                accepts: "whsec_ and 24 to 64 bytes in Base64, comma-separated")
        case .forwardURLs:
            SettingDefinition(
                name: self, isSecret: true, meaning: "URLs that Cloudflare's deliveries are passed on to",
                accepts: Self.targetWords)
        case .notifyHosts:
            SettingDefinition(
                name: self, meaning: "hosts of these URLs that may be private or loopback or speak plain HTTP",
                accepts: "hosts and host:port, comma-separated")
        case .logLevel:
            SettingDefinition(
                name: self, preset: "info", meaning: "least level that is logged",
                accepts: "trace, debug, info, notice, warning, error or critical")
        case .logFormat:
            SettingDefinition(
                name: self, meaning: "text or json; text on a terminal if not set", accepts: "text or json")
        }
    }
}
