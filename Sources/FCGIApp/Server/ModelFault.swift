internal import Foundation
internal import Logging
internal import OpenAI
internal import Synchronization
internal import Text

/// Why a model cannot be used: what its client hears, and what the operator reads.
struct ModelFault: Error {
    /// The client's answer.
    let error: APIError
    /// File and reason for the log, never text of a request; nil where the request is at fault.
    let cause: String?
}

extension ModelFault {
    /// What a template did, without a word of what it was given: its own messages may quote that.
    static func cause(of error: TemplateError) -> String {
        switch error.kind {
        case .syntax, .limit: return error.message
        case .runtime, .raised, .security:
            // The line stands at the end.
            let words = error.message.split(separator: " ").suffix(2)
            guard words.first == "(line", let last = words.last, last.hasSuffix(")"),
                let line = Int(last.dropLast())
            else { return "it fails on some messages" }
            return "it fails on some messages (line \(line))"
        }
    }
}

/// Tells the log of faulty models: a fault once a minute, until files or cause change.
final class ModelFaults: Sendable {
    private struct Told {
        var identity: String
        var cause: String
        var time: Double
    }

    private let told = Mutex<[String: Told]>([:])
    private let log: Logger?

    /// `log`: nil where nobody reads it.
    init(log: Logger?) { self.log = log }

    /// The latest fault of a model; nil where there was none.
    func cause(of model: String) -> String? { told.withLock { $0[model]?.cause } }

    /// Notes a fault of a model whose files have this identity.
    func note(_ fault: ModelFault, model: String, path: String, identity: String) {
        guard let cause = fault.cause else { return }
        let now = monotonicSeconds()
        let isNew = told.withLock { told in
            if let last = told[model], last.identity == identity, last.cause == cause,
                now - last.time < 60
            {
                return false
            }
            // Ids come from the catalogue: there are not many.
            told[model] = Told(identity: identity, cause: cause, time: now)
            return true
        }
        guard isNew else { return }
        log?.warning(
            "model cannot be used",
            metadata: ["model": "\(model)", "path": "\(path)", "cause": "\(cause.prefix(400))"]
        )
    }
}
