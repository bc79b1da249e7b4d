// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import CloudflareStream
import Foundation
import Testing

struct StreamVideoTests {
    private func video(_ name: String) throws -> StreamVideo {
        try video(bytes: Fixture.json("stream/\(name).json"))
    }

    private func video(json: String) throws -> StreamVideo {
        try video(bytes: Data(json.utf8))
    }

    private func video(bytes: Data) throws -> StreamVideo {
        try #require(JSONValue(json: Array(bytes)).flatMap(StreamVideo.init(json:)))
    }

    @Test(arguments: [
        ("pendingupload", ClipStatus.uploading), ("downloading", .uploading), ("queued", .queued),
        ("inprogress", .processing), ("ready", .streamReady), ("ready-pct-39", .streamReady),
        ("ready-nulls", .streamReady), ("ready-private", .streamReady), ("ready-recording", .streamReady),
        ("error-errorreason", .error), ("error-errreason", .error), ("mp4-inprogress", .mp4Processing),
        ("mp4-ready", .mp4Downloading), ("mp4-ready-token-url", .mp4Downloading), ("mp4-error", .waitForMP4),
    ])
    func payloadAsksForItsStatus(name: String, status: ClipStatus) throws {
        #expect(try video(name).observation.status == status)
    }

    @Test(arguments: ["unknown-state", "live-inprogress"])
    func stateThatMovesNothingAsksForNoStatus(name: String) throws {
        let video = try video(name)
        #expect(video.observation.status == nil)
        #expect(video.observation.details[.cloudflareStatus] != nil)
    }

    @Test func detailsOfAReadyVideoAreTaken() throws {
        let details = try video("ready").observation.details
        let base = "https://customer-m033z5x00ks6nunl.cloudflarestream.com/\(uid)"
        #expect(
            details == [
                "cloudflare_status": "ready", "thumbnail_url": .string("\(base)/thumbnails/thumbnail.jpg"),
                "hls_url": .string("\(base)/manifest/video.m3u8"), "dash_url": .string("\(base)/manifest/video.mpd"),
                "duration": 62.5, "name": "Harbour at dawn",
            ]
        )
    }

    @Test func percentageIsThatOfTheStageOnly() throws {
        #expect(try video("inprogress").observation.percent == 47.5)
        #expect(try video("mp4-inprogress").observation.percent == 35.5)
        #expect(try video("ready-pct-39").observation.percent == nil)
        #expect(try video("ready-pct-39").pctComplete == 39)
        #expect(try video("queued").observation.percent == nil)
    }

    @Test(arguments: [
        (#""45""#, 45.0), (#""39.000000""#, 39), ("12.5", 12.5), (#""""#, nil), ("null", nil), (#""nan""#, nil),
        (#""soon""#, nil), ("[1]", nil), ("true", nil),
    ])
    func percentageMayBeAStringOrANumber(text: String, expected: Double?) throws {
        let video = try video(json: #"{"uid":"a","status":{"state":"inprogress","pctComplete":\#(text)}}"#)
        #expect(video.pctComplete == expected)
        #expect(video.state == .inProgress)
    }

    @Test func unknownDurationIsNoDetail() throws {
        let video = try video("queued")
        #expect(video.durationSeconds == nil)
        #expect(video.observation.details[.duration] == nil)
    }

    @Test func wholeDurationIsAWholeNumber() throws {
        #expect(try video(json: #"{"uid":"a","duration":60.0}"#).observation.details[.duration] == .integer(60))
    }

    @Test func bothSpellingsOfAReasonAreRead() throws {
        let first = try video("error-errorreason").observation.details
        #expect(first[.errorCode] == "ERR_NON_VIDEO")
        #expect(first[.errorMessage]?.stringValue?.contains("upload one that is") == true)
        let second = try video("error-errreason").observation.details
        #expect(second[.errorCode] == "ERR_MALFORMED_VIDEO")
        #expect(second[.errorMessage]?.stringValue?.contains("deemed to be corrupted") == true)
    }

    @Test func emptyReasonIsNone() throws {
        let video = try video("ready")
        #expect(video.errorReasonCode == nil && video.errorReasonText == nil)
    }

    @Test func errorWithoutAReasonStillSaysWhatToDo() throws {
        let details = try video(json: #"{"uid":"a","status":{"state":"error"}}"#).observation.details
        #expect(details[.errorCode] == nil)
        #expect(details[.errorMessage]?.stringValue?.contains("gave no reason") == true)
    }

    @Test func failedVideoIsFailedWhateverItsMP4Says() throws {
        let video = try video(
            json:
                #"{"uid":"a","status":{"state":"error"},"downloads":{"default":{"status":"ready"}}}"#
        )
        #expect(video.observation.status == .error)
    }

    @Test func furtherOfStateAndMP4Counts() throws {
        let ahead = try video(
            json:
                #"{"uid":"a","status":{"state":"inprogress","pctComplete":"9"},"downloads":{"status":"ready"}}"#
        )
        #expect(ahead.observation.status == .mp4Downloading)
        #expect(ahead.observation.percent == nil)
        let alone = try video(json: #"{"uid":"a","downloads":{"status":"inprogress","percentComplete":"7"}}"#)
        #expect(alone.observation.status == .mp4Processing)
        #expect(alone.observation.percent == 7)
        let odd = try video(
            json: #"{"uid":"a","status":{"state":"ready"},"downloads":{"default":{"status":"paused"}}}"#
        )
        #expect(odd.observation.status == .streamReady)
    }

    @Test func urlWithATokenIsNeverADetail() throws {
        let video = try video("mp4-ready-token-url")
        #expect(video.requireSignedURLs)
        let details = video.observation.details
        for key in [DetailKey.thumbnailURL, .hlsURL, .dashURL, .mp4DownloadURL] { #expect(details[key] == nil) }
        #expect(details[.mp4Status] == "ready")
    }

    @Test(arguments: [
        ("https://h.example/UID/downloads/default.mp4", true), ("http://127.0.0.1:1/UID/x", true),
        ("https://h.example/UID", true), ("HTTPS://h.example/UID", true), ("https://h.example/UID/x?time=1", false),
        ("https://h.example/UID/x#a", false), ("https://h.example/UIDx/y", false),
        ("https://h.example/eyJ.a.b/y", false),
        ("https://UID/x", false), ("https://u:p@h.example/UID/x", false), ("https:///UID/x", false),
        ("ftp://h.example/UID/x", false), ("//h.example/UID", false), ("/UID/x", false), ("", false),
        ("https://h.example/UID/\u{7}", false), ("https://h.example/UID/é", false),
        ("https://h.example/a b/UID", false),
    ])
    func plainURLHasTheUidInItsPathAndNoQuery(text: String, isPlain: Bool) {
        #expect(StreamURL.isPlain(text.replacing("UID", with: uid.rawValue), of: uid) == isPlain)
    }

    @Test func objectWithNothingButAUidIsRead() throws {
        let video = try video(json: #"{"uid":"a"}"#)
        #expect(video == StreamVideo(uid: ClipUID("a")!))
        #expect(video.observation == Observation(status: nil))
    }

    @Test(arguments: ["null", "7", #""x""#, "[]", "true", "{}", "[{}]", "-1e400"])
    func memberOfAnyWrongTypeIsReadAsAbsent(value: String) throws {
        let members = [
            "status", "readyToStream", "requireSignedURLs", "playback", "duration", "size", "meta", "created",
            "downloads",
        ]
        for member in members {
            let json = #"{"uid":"a","\#(member)":\#(value)}"#
            let video = try? video(json: json)
            // A number beyond all bounds is refused by the JSON parser itself.
            #expect(video != nil || value == "-1e400", "\(json)")
        }
    }

    @Test func textsFromOutsideAreBounded() throws {
        let long = String(repeating: "x", count: 5_000)
        let details = try video(
            json:
                #"{"uid":"a","status":{"state":"error","errorReasonCode":"\#(long)","#
                + #""errorReasonText":"a\u0000\u202e\#(long)"}}"#
        ).observation.details
        #expect(details[.errorCode]?.stringValue?.count == 64)
        #expect(details[.errorMessage]?.stringValue?.count ?? 0 < 900)
        #expect(
            details[.errorMessage]?.stringValue?.unicodeScalars.contains { $0.value < 0x20 || $0.value == 0x202E }
                == false
        )
    }

    @Test(arguments: [
        (
            #"{"default":{"status":"ready","percentComplete":100,"url":"u"}}"#,
            StreamDownload(status: "ready", percentComplete: 100, url: "u")
        ),
        (#"{"status":"inprogress","percentComplete":3}"#, StreamDownload(status: "inprogress", percentComplete: 3)),
        ("{}", nil), (#"{"audio":{"status":"ready","percentComplete":100}}"#, nil),
        (#"{"default":{"status":"new word"}}"#, StreamDownload(status: "new word")),
        (#"{"default":null}"#, nil),
    ])
    func downloadsAreReadInEveryShape(json: String, expected: StreamDownload?) throws {
        #expect(JSONValue(json: Array(json.utf8)).flatMap(StreamDownloads.init(json:))?.video == expected)
    }
}
