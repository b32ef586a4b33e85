internal import CLinux
public import Foundation

/// Seconds of the monotonic clock.
func monotonicSeconds() -> Double { Double(tg_monotonic_ns()) / 1e9 }

/// The time that templates tell; `TORCHGATE_FIXED_TIME` (ISO 8601) fixes it, for tests.
public func templateClock() -> Date {
    let fixed = ProcessInfo.processInfo.environment["TORCHGATE_FIXED_TIME"]
    guard let fixed else { return Date() }
    let formatter = ISO8601DateFormatter()
    return formatter.date(from: fixed) ?? formatter.date(from: "\(fixed)Z") ?? Date()
}
