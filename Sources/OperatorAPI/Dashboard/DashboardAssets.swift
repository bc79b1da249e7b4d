// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Crypto
import FoundationEssentials
import HTTPTypes
import Hummingbird
import NIOCore

/// A file of the dashboard, as it was built into the program.
struct DashboardAsset: Sendable {
    var name: String
    var contentType: String
    var bytes: [UInt8]

    /// What browsers fetch.
    static let files = [
        DashboardAsset("clip.js", script, PackageResources.clip_js),
        DashboardAsset("dashboard.css", "text/css; charset=utf-8", PackageResources.dashboard_css),
        DashboardAsset("format.js", script, PackageResources.format_js),
        DashboardAsset("icon.svg", "image/svg+xml", PackageResources.icon_svg),
        DashboardAsset("list.js", script, PackageResources.list_js),
        DashboardAsset("live.js", script, PackageResources.live_js),
    ]

    static let templates = [
        DashboardAsset("clip", template, PackageResources.clip_mustache),
        DashboardAsset("clips", template, PackageResources.clips_mustache),
        DashboardAsset("delivery", template, PackageResources.delivery_mustache),
        DashboardAsset("foot", template, PackageResources.foot_mustache),
        DashboardAsset("head", template, PackageResources.head_mustache),
        DashboardAsset("health", template, PackageResources.health_mustache),
        DashboardAsset("login", template, PackageResources.login_mustache),
        DashboardAsset("problem", template, PackageResources.problem_mustache),
        DashboardAsset("row", template, PackageResources.row_mustache),
    ]

    /// Stands in the files' paths, so that a browser may keep them for ever. One for all: modules import each other.
    static let version: String = {
        var hash = SHA256()
        for file in files { hash.update(data: Data(file.bytes)) }
        return String(Data(hash.finalize()).hexadecimal.prefix(16))
    }()

    static var folder: String { "/dashboard/\(version)" }

    private static let script = "text/javascript; charset=utf-8"
    private static let template = "text/html; charset=utf-8"

    private init(_ name: String, _ contentType: String, _ bytes: [UInt8]) {
        (self.name, self.contentType, self.bytes) = (name, contentType, bytes)
    }

    /// - Parameter version: as the path names it; a file of another version is not kept.
    static func response(_ name: String, version: String) throws -> Response {
        guard let file = files.first(where: { $0.name == name }) else {
            throw Problem.notFound("there is no file \"\(name.prefix(64))\"")
        }
        let isCurrent = version == self.version
        return Response(
            status: .ok,
            headers: [
                .contentType: file.contentType,
                .cacheControl: isCurrent ? "public, max-age=31536000, immutable" : "no-store",
            ],
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: file.bytes)))
    }
}
