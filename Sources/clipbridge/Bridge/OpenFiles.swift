// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Glibc

/// How many files and connections this process may have open.
enum OpenFiles {
    /// Raises the limit as far as a process may by itself: what shells and service managers set is often 1,024, for the
    /// sake of programs that use `select`.
    /// - Returns: the limit in force; nil when there is no telling.
    static func raiseLimit() -> Int? {
        let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        var limit = rlimit()
        guard unsafe getrlimit(resource, &limit) == 0 else { return nil }
        var wanted = limit
        wanted.rlim_cur = limit.rlim_max
        if unsafe setrlimit(resource, &wanted) == 0 { limit = wanted }
        return Int(clamping: limit.rlim_cur)
    }
}
