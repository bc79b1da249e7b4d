// swift-tools-version: 6.2
// clipbridge
// SPDX-License-Identifier: Apache-2.0

import PackageDescription

/// Set by deploy/fuzz.sh: the package is then the fuzzer and what it runs, all of it with counters of coverage.
let isFuzzing = Context.environment["CLIPBRIDGE_FUZZ"] != nil

let house: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .treatAllWarnings(as: .error),
]

let strict = house + (isFuzzing ? [.define("FUZZER"), .unsafeFlags(["-sanitize=fuzzer", "-enable-testing"])] : [])

/// For every target but those that wrap C: a pointer anywhere else is a build failure.
let safe: [SwiftSetting] = strict + [.strictMemorySafety()]

let argumentParser = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let concurrencyHelpers = Target.Dependency.product(name: "NIOConcurrencyHelpers", package: "swift-nio")
let configuration = Target.Dependency.product(name: "Configuration", package: "swift-configuration")
let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")
let grdb = Target.Dependency.product(name: "GRDB", package: "GRDB.swift")
let httpTypes = Target.Dependency.product(name: "HTTPTypes", package: "swift-http-types")
let hummingbird = Target.Dependency.product(name: "Hummingbird", package: "hummingbird")
let hummingbirdCore = Target.Dependency.product(name: "HummingbirdCore", package: "hummingbird")
let hummingbirdTesting = Target.Dependency.product(name: "HummingbirdTesting", package: "hummingbird")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let metricsTestKit = Target.Dependency.product(name: "MetricsTestKit", package: "swift-metrics")
let metrics = Target.Dependency.product(name: "Metrics", package: "swift-metrics")
let mustache = Target.Dependency.product(name: "Mustache", package: "swift-mustache")
let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioHTTP1 = Target.Dependency.product(name: "NIOHTTP1", package: "swift-nio")
let nioHTTPTypes = Target.Dependency.product(name: "NIOHTTPTypes", package: "swift-nio-extras")
let nioHTTPTypesHTTP1 = Target.Dependency.product(name: "NIOHTTPTypesHTTP1", package: "swift-nio-extras")
let nioPosix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")
let serviceLifecycle = Target.Dependency.product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
let unixSignals = Target.Dependency.product(name: "UnixSignals", package: "swift-service-lifecycle")
let xmlCoder = Target.Dependency.product(name: "XMLCoder", package: "XMLCoder")

let package = Package(
    name: "clipbridge",
    platforms: [.macOS(.v15)],
    products: [
        .executable(name: "clipbridge", targets: ["clipbridge"]),
        .executable(name: "clipbridge-simulate", targets: ["simulate"]),
    ],
    dependencies: [
        .package(url: "https://github.com/CoreOffice/XMLCoder.git", from: "0.18.2"),
        .package(url: "https://github.com/apple/swift-argument-parser.git", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-configuration.git", from: "1.4.0", traits: []),
        .package(url: "https://github.com/apple/swift-crypto.git", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-http-types.git", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log.git", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-metrics.git", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-nio.git", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-extras.git", from: "1.35.2"),
        .package(url: "https://github.com/groue/GRDB.swift.git", from: "7.10.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird.git", from: "2.28.1", traits: []),
        .package(url: "https://github.com/hummingbird-project/swift-mustache.git", from: "2.1.1"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle.git", from: "2.13.0"),
    ],
    targets: [
        .systemLibrary(name: "CCurl", pkgConfig: "libcurl", providers: [.apt(["libcurl4-openssl-dev"])]),
        .systemLibrary(name: "CPostgres", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),
        .target(name: "ClipLifecycle", swiftSettings: safe),
        .target(name: "OutboundHTTP", dependencies: [httpTypes], swiftSettings: safe),
        .target(
            name: "CurlTransport",
            dependencies: ["CCurl", "OutboundHTTP", concurrencyHelpers, crypto, httpTypes, logging],
            swiftSettings: strict
        ),
        .target(name: "ClipStore", dependencies: ["ClipLifecycle", concurrencyHelpers], swiftSettings: safe),
        .target(
            name: "SQLiteClipStore",
            dependencies: ["ClipLifecycle", "ClipStore", concurrencyHelpers, grdb],
            swiftSettings: safe
        ),
        .target(
            name: "PostgresClipStore",
            dependencies: ["CPostgres", "ClipLifecycle", "ClipStore", concurrencyHelpers, logging],
            swiftSettings: strict
        ),
        .target(
            name: "WebhookReceiver",
            dependencies: [
                "ClipLifecycle", "CloudflareStream", concurrencyHelpers, crypto, httpTypes, hummingbird,
                hummingbirdCore,
                logging, metrics, nioCore, nioHTTP1, nioHTTPTypes, nioHTTPTypesHTTP1,
            ],
            swiftSettings: safe
        ),
        .target(
            name: "Monitor",
            dependencies: ["ClipLifecycle", "ClipStore", concurrencyHelpers, logging, metrics, serviceLifecycle],
            swiftSettings: safe
        ),
        .target(
            name: "CloudflareStream",
            dependencies: ["ClipLifecycle", "OutboundHTTP", concurrencyHelpers, httpTypes, logging, metrics],
            swiftSettings: safe
        ),
        .target(
            name: "ObjectStorage",
            dependencies: ["ClipLifecycle", "OutboundHTTP", crypto, httpTypes, logging, xmlCoder],
            swiftSettings: safe
        ),
        .target(
            name: "Pipeline",
            dependencies: [
                "ClipLifecycle", "CloudflareStream", "ObjectStorage", "OutboundHTTP", concurrencyHelpers, crypto,
                httpTypes, logging, metrics,
            ],
            swiftSettings: safe
        ),
        .target(
            name: "OutgoingWebhooks",
            dependencies: [
                "ClipLifecycle", "ClipStore", "CloudflareStream", "OutboundHTTP", concurrencyHelpers, crypto, httpTypes,
                logging, metrics, serviceLifecycle,
            ],
            swiftSettings: safe
        ),
        .target(
            name: "OperatorAPI",
            dependencies: [
                "ClipLifecycle", "ClipStore", concurrencyHelpers, crypto, httpTypes, hummingbird, logging, metrics,
                mustache, nioCore, serviceLifecycle,
            ],
            // Into the program itself, which stays one file.
            resources: [.embedInCode("Dashboard/Assets")],
            swiftSettings: safe
        ),
        .target(
            name: "Sandbox",
            dependencies: [
                "ClipLifecycle", "ObjectStorage", "OutboundHTTP", concurrencyHelpers, crypto,
                httpTypes, hummingbird, hummingbirdCore, logging, nioCore, nioHTTP1, nioHTTPTypesHTTP1, nioPosix,
                serviceLifecycle, xmlCoder,
                .product(name: "NIOHTTPTypes", package: "swift-nio-extras"),
                .product(name: "_NIOFileSystem", package: "swift-nio"),
            ],
            swiftSettings: safe
        ),
        .target(
            name: "BridgeTesting",
            dependencies: ["ClipLifecycle", "ClipStore", "OutboundHTTP", concurrencyHelpers, httpTypes, logging],
            swiftSettings: safe
        ),
        .executableTarget(
            name: "clipbridge",
            dependencies: [
                "ClipLifecycle", "ClipStore", "CloudflareStream", "CurlTransport", "Monitor", "ObjectStorage",
                "OperatorAPI", "OutboundHTTP", "OutgoingWebhooks", "Pipeline", "PostgresClipStore", "SQLiteClipStore",
                "Sandbox",
                "WebhookReceiver", argumentParser, concurrencyHelpers, configuration, crypto, httpTypes, hummingbird,
                logging, metrics,
                nioCore, nioPosix, serviceLifecycle, unixSignals,
            ],
            swiftSettings: safe
        ),
        // A peer of deploy/bench.sh ingest; no product, and no part of the program.
        .executableTarget(
            name: "bench-echo", dependencies: [hummingbird, logging, nioCore], path: "deploy/bench/echo",
            swiftSettings: safe),
        .target(name: "CTaskHooks"),
        .executableTarget(
            name: "simulate",
            dependencies: [
                "BridgeTesting", "CTaskHooks", "ClipLifecycle", "ClipStore", "CloudflareStream", "Monitor",
                "ObjectStorage", "OutboundHTTP", "Pipeline", "SQLiteClipStore", "Sandbox", "WebhookReceiver",
                argumentParser, concurrencyHelpers, httpTypes, hummingbird, logging, nioCore,
            ],
            swiftSettings: safe
        ),
        .testTarget(name: "ClipLifecycleTests", dependencies: ["ClipLifecycle"], swiftSettings: safe),
        .testTarget(
            name: "ClipStoreTests",
            dependencies: ["BridgeTesting", "ClipLifecycle", "ClipStore"],
            swiftSettings: safe
        ),
        .testTarget(
            name: "SQLiteClipStoreTests",
            dependencies: [
                "BridgeTesting", "ClipLifecycle", "ClipStore", "SQLiteClipStore", concurrencyHelpers, crypto, grdb,
                .product(name: "GRDBSQLite", package: "GRDB.swift"),
            ],
            swiftSettings: safe
        ),
        .testTarget(
            name: "PostgresClipStoreTests",
            dependencies: [
                "BridgeTesting", "ClipLifecycle", "ClipStore", "PostgresClipStore", concurrencyHelpers, logging,
            ],
            swiftSettings: safe
        ),
        .testTarget(
            name: "WebhookReceiverTests",
            dependencies: [
                "ClipLifecycle", "WebhookReceiver", concurrencyHelpers, httpTypes, hummingbird, logging, metrics,
                metricsTestKit, nioCore, nioPosix, serviceLifecycle,
            ],
            swiftSettings: safe
        ),
        .testTarget(
            name: "MonitorTests",
            dependencies: [
                "BridgeTesting", "ClipLifecycle", "ClipStore", "Monitor", "SQLiteClipStore", concurrencyHelpers, grdb,
                logging,
                serviceLifecycle,
            ],
            swiftSettings: safe
        ),
        .testTarget(
            name: "PipelineTests",
            dependencies: [
                "BridgeTesting", "ClipLifecycle", "CloudflareStream", "CurlTransport", "ObjectStorage", "OutboundHTTP",
                "Pipeline", "Sandbox", concurrencyHelpers, httpTypes, logging, nioCore, nioPosix,
            ],
            swiftSettings: safe
        ),
        .testTarget(
            name: "CurlTransportTests",
            dependencies: [
                "CurlTransport", "OutboundHTTP", concurrencyHelpers, crypto, httpTypes, hummingbird, logging,
                nioCore, nioPosix,
            ],
            swiftSettings: safe
        ),
        .testTarget(
            name: "CloudflareStreamTests",
            dependencies: [
                "BridgeTesting", "ClipLifecycle", "CloudflareStream", "OutboundHTTP", concurrencyHelpers, httpTypes,
                logging, metrics,
                metricsTestKit,
            ],
            swiftSettings: safe
        ),
        .testTarget(
            name: "ObjectStorageTests",
            dependencies: ["BridgeTesting", "ClipLifecycle", "ObjectStorage", "OutboundHTTP", crypto, httpTypes],
            exclude: ["Botocore"],
            swiftSettings: safe
        ),
        .testTarget(
            name: "SandboxTests",
            dependencies: [
                "ClipLifecycle", "CurlTransport", "ObjectStorage", "OutboundHTTP", "Sandbox", concurrencyHelpers,
                crypto, httpTypes, logging, nioCore, nioPosix,
                serviceLifecycle,
            ],
            exclude: ["Clients"],
            swiftSettings: safe
        ),
        .testTarget(
            name: "OutgoingWebhooksTests",
            dependencies: [
                "BridgeTesting", "ClipLifecycle", "ClipStore", "OutboundHTTP", "OutgoingWebhooks", concurrencyHelpers,
                httpTypes, logging, serviceLifecycle,
            ],
            swiftSettings: safe
        ),
        .testTarget(
            name: "OperatorAPITests",
            dependencies: [
                "BridgeTesting", "ClipLifecycle", "ClipStore", "Monitor", "OperatorAPI", httpTypes, hummingbird,
                hummingbirdTesting, logging, metrics, concurrencyHelpers, nioCore, serviceLifecycle,
            ],
            swiftSettings: safe
        ),
        .testTarget(name: "SimulationTests", dependencies: ["simulate"], swiftSettings: safe),
        .testTarget(
            name: "FuzzTests",
            dependencies: [
                "ClipLifecycle", "CloudflareStream", "ObjectStorage", "OperatorAPI", "OutboundHTTP",
                "OutgoingWebhooks", "Sandbox", "WebhookReceiver", "clipbridge", crypto, httpTypes, hummingbird, nioCore,
            ],
            swiftSettings: safe
        ),
        .testTarget(name: "TidyTests", swiftSettings: safe),
        .testTarget(
            name: "IntegrationTests",
            dependencies: [
                "BridgeTesting", "ClipLifecycle", "ClipStore", "CloudflareStream", "CurlTransport", "Monitor",
                "ObjectStorage", "OutboundHTTP", "Pipeline", "SQLiteClipStore", "Sandbox", "WebhookReceiver",
                "clipbridge", concurrencyHelpers, crypto, httpTypes, hummingbird, logging, nioCore,
            ],
            exclude: ["Browser", "Receivers"],
            swiftSettings: safe
        ),
    ]
)

if isFuzzing {
    // The settings are part of the program, and nothing but a test can import that: the fuzzer has their files itself.
    let settings = ["Database", "OutgoingSettings", "RawSettings", "SettingDefinition", "SettingValues", "Settings"]
    package.products = []
    package.targets.removeAll { $0.type == .test || $0.name == "clipbridge" }
    package.targets += [
        .systemLibrary(name: "CFuzzer"),
        .executableTarget(
            name: "Fuzzer",
            dependencies: [
                "CFuzzer", "ClipLifecycle", "ClipStore", "CloudflareStream", "ObjectStorage", "OperatorAPI",
                "OutboundHTTP", "OutgoingWebhooks", "Pipeline", "PostgresClipStore", "SQLiteClipStore",
                "WebhookReceiver", configuration, crypto, httpTypes, hummingbird, logging, nioCore,
            ],
            path: ".",
            exclude: [".ci", "LICENSE", "README.md", "deploy", "fixtures"],
            sources: ["Sources/Fuzzer", "Tests/FuzzTests/Targets"]
                + settings.map { "Sources/clipbridge/Settings/\($0).swift" },
            swiftSettings: strict,
            linkerSettings: [.unsafeFlags(["-sanitize=fuzzer", "-use-ld=lld"])]
        ),
    ]
}
