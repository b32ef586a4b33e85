// The server's side of the store. All keys are in memory and every answer is computed from the
// whole key; there is no cache of accepted or refused keys that could be keyed too narrowly or
// grow.
//
// What must hold:
// 1. An answer rests on a look at keys.db that began at most `maximumAge` before it was asked for.
// 2. When keys.db cannot be read, every key is refused.
// 3. `connection` may be held while taking `state`, never the other way round.

import CLinux
public import Foundation
import Synchronization

/// The answer to a presented key.
public enum Authentication: Sendable, Equatable {
    /// The key is right, not revoked and not expired.
    case accepted(KeyRecord)
    /// Anything else; why is nobody's business.
    case refused
}

/// Confirms keys for the server, which needs no write rights on keys.db.
///
/// Methods may be called from any thread. A change by another process holds within 100 ms.
public final class KeyStore: Sendable {
    private static let pollInterval = 25
    private static let maximumAge: UInt64 = 60_000_000
    /// Stands in for the digest of ids that do not exist, so that they cost the same.
    private let dummy: [UInt8]
    private let files: StateFiles
    private let peppers: Peppers
    private let connection: Mutex<KeyView?>
    private let state = Mutex(State())
    private let stopped = DispatchSemaphore(value: 0)

    private struct State {
        var rows: [String: KeyRow] = [:]
        /// Monotonic nanoseconds at which the newest look at keys.db began.
        var verifiedAt: UInt64 = 0
        var failure: KeyStoreError?
        var observer: (@Sendable (Set<String>) -> Void)?
    }

    private init(files: StateFiles, peppers: Peppers, view: consuming sending KeyView?)
        throws(KeyStoreError)
    {
        dummy = try KeyFormat.randomBytes(32)
        self.files = files
        self.peppers = peppers
        connection = Mutex(view)
    }

    /// Opens the store for a server: checks files, pepper and database, and starts to follow
    /// changes.
    ///
    /// `toleratesFailure`: whether a store comes back, too, when keys.db cannot be read; ``failure``
    /// says why, and every key is refused until that is mended. A pepper that cannot be used is an error
    /// always.
    /// - Throws: ``KeyStoreError`` whose description names the mend.
    public static func openForServer(
        _ files: StateFiles,
        toleratesFailure: Bool = false
    ) throws(KeyStoreError) -> KeyStore {
        if !toleratesFailure { try files.check() }
        guard let peppers = try Peppers(reading: files) else {
            throw .pepper(
                path: files.pepper,
                problem: "is missing; restore it from your backup of it"
            )
        }
        let store = try KeyStore(files: files, peppers: peppers, view: nil)
        store.refresh(evenIfFresh: true)
        if let failure = store.failure, !toleratesFailure { throw failure }
        store.follow()
        return store
    }

    deinit { stopped.signal() }

    /// Confirms a whole key as the client presented it.
    ///
    /// Takes the same time for an unknown id, a wrong secret, a revoked and an expired key.
    public func authenticate(_ presented: String, now: Date = Date()) -> Authentication {
        guard let id = KeyFormat.id(of: presented), let row = current(id) else { return .refused }
        let known = row.row
        let confirmed = peppers.confirms(
            Array(presented.utf8),
            digest: known?.digest ?? dummy,
            version: known?.pepperVersion ?? peppers.newest
        )
        guard confirmed, let record = known?.record, record.isLive(at: now) else { return .refused }
        return .accepted(record)
    }

    /// The record of a live key; `nil` if it is unknown, revoked or expired, or keys.db is
    /// unreadable.
    public func record(id: String, now: Date = Date()) -> KeyRecord? {
        guard let record = current(id)?.row?.record, record.isLive(at: now) else { return nil }
        return record
    }

    /// Number of keys that are neither revoked nor expired.
    public func liveKeyCount(now: Date = Date()) -> Int {
        state.withLock { $0.rows.values.count { $0.record.isLive(at: now) } }
    }

    /// Why every key is being refused; `nil` while keys.db can be read.
    public var failure: KeyStoreError? { state.withLock { $0.failure } }

    /// Sets what is called with the ids of keys that were created, changed or revoked.
    ///
    /// It runs on the store's thread or on one that authenticates, within 100 ms of the commit, and
    /// must not block. An expiry is no change: ask ``record(id:now:)`` now and then.
    public func onChange(_ observer: @escaping @Sendable (Set<String>) -> Void) {
        state.withLock { $0.observer = observer }
    }

    private struct Found { let row: KeyRow? }

    /// The key's row as of at most `maximumAge` before this call; `nil` if the store cannot tell.
    ///
    /// The age counts from the call's begin: a thread that the machine leaves waiting after its own
    /// look must not refuse a good key for it.
    private func current(_ id: String) -> Found? {
        let asked = tg_monotonic_ns()
        for attempt in 0..<2 {
            let found: (isFresh: Bool, row: Found?) = state.withLock {
                guard $0.failure == nil else { return (true, nil) }
                guard $0.verifiedAt >= asked || asked - $0.verifiedAt <= Self.maximumAge else {
                    return (false, nil)
                }
                return (true, Found(row: $0.rows[id]))
            }
            if found.isFresh || attempt == 1 { return found.row }
            // The store's thread is late: look ourselves.
            refresh(evenIfFresh: false)
        }
        return nil
    }

    private func refresh(evenIfFresh: Bool) {
        let news = connection.withLock {
            view -> (Set<String>, (@Sendable (Set<String>) -> Void)?)? in
            let began = tg_monotonic_ns()
            let isFresh = state.withLock { began &- $0.verifiedAt <= Self.maximumAge / 2 }
            if isFresh, !evenIfFresh { return nil }
            let result = look(&view)
            return state.withLock { state in
                switch result {
                case .failure(let error):
                    state.failure = error
                    return nil
                case .success(let changed):
                    if let view, !changed.isEmpty || state.failure != nil { state.rows = view.rows }
                    state.failure = nil
                    state.verifiedAt = began
                    return (changed, state.observer)
                }
            }
        }
        if let (changed, observer) = news, !changed.isEmpty { observer?(changed) }
    }

    /// One look; a connection that fails, or whose file was replaced, is opened anew once.
    private func look(_ view: inout KeyView?) -> Result<Set<String>, KeyStoreError> {
        do throws(KeyStoreError) {
            if let changed = try view?.refresh() { return .success(changed) }
        } catch {
            // A writer that was killed in mid-commit leaves an index that only a new connection
            // mends.
        }
        let before = state.withLock { $0.rows }
        view = nil
        do throws(KeyStoreError) {
            var fresh = try KeyView(files, peppers: peppers)
            guard try fresh.refresh() != nil else {
                throw .system(path: files.database, action: "read", cause: "it is being replaced")
            }
            let ids = Set(before.keys).union(fresh.rows.keys)
            let changed = ids.filter { before[$0] != fresh.rows[$0] }
            view = fresh
            return .success(changed)
        } catch {
            return .failure(error)
        }
    }

    private func follow() {
        let thread = Thread { [weak self, stopped] in
            tg_set_thread_name("keys")
            var pause = Self.pollInterval
            while stopped.wait(timeout: .now() + .milliseconds(pause)) == .timedOut {
                guard let self else { return }
                refresh(evenIfFresh: true)
                pause = failure == nil ? Self.pollInterval : 10 * Self.pollInterval
            }
        }
        thread.stackSize = 512 * 1024
        thread.start()
    }
}
