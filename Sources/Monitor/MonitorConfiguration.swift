// clipbridge
// SPDX-License-Identifier: Apache-2.0

public import ClipLifecycle

/// How the monitor works, besides the policy by which clips are led.
public struct MonitorConfiguration: Sendable {
    public var policy: LifecyclePolicy
    /// Receivers outside, by their ids, that are told of changes of status.
    public var notifyTargets: [String]
    /// Names this process in leases.
    public var owner: String
    /// Transfers at a time.
    public var transfersMax: Int
    /// Other actions at a time; a batch of video checks is one.
    public var callsMax: Int
    /// Clips in one list call; Cloudflare states no limit for `id=`, and 100 uids make a URL of 3.4 KiB.
    public var batchMax: Int
    public var lease: Duration
    public var leaseRenewal: Duration
    /// How often leases that ran out are looked for; together with the lease, how long a death may go unnoticed.
    public var rescueInterval: Duration
    /// How often other programs' writes are looked for.
    public var foreignInterval: Duration
    /// How long deliveries are kept.
    public var retention: Duration
    public var housekeepingInterval: Duration
    /// How long a stopping process waits for running actions before it hands them back.
    public var drain: Duration

    public init(
        policy: LifecyclePolicy,
        owner: String,
        notifyTargets: [String] = [],
        transfersMax: Int = 4,
        callsMax: Int = 8,
        batchMax: Int = 100,
        lease: Duration = .seconds(15),
        leaseRenewal: Duration = .seconds(5),
        rescueInterval: Duration = .seconds(2),
        foreignInterval: Duration = .seconds(2),
        retention: Duration = .seconds(30 * 86_400),
        housekeepingInterval: Duration = .seconds(3_600),
        drain: Duration = .seconds(15)
    ) {
        self.policy = policy
        self.notifyTargets = notifyTargets
        self.owner = owner
        self.transfersMax = transfersMax
        self.callsMax = callsMax
        self.batchMax = batchMax
        self.lease = lease
        self.leaseRenewal = leaseRenewal
        self.rescueInterval = rescueInterval
        self.foreignInterval = foreignInterval
        self.retention = retention
        self.housekeepingInterval = housekeepingInterval
        self.drain = drain
    }
}
