internal import CFCGI
internal import Glibc

/// What a client sent through nginx, read before the handler runs.
public struct FastCGIRequest: Sendable {
    /// How the body came in.
    public enum Body: Sendable, Equatable {
        /// All of it is in `body`.
        case complete
        /// It is longer than allowed; what came is dropped.
        case tooLarge
        /// Its announced length never came, or is no number.
        case truncated
        /// The bodies that are in hand leave no room for it; it was not read.
        case noRoom
    }

    /// CGI parameters; of equal names the first counts.
    public let parameters: [String: String]
    /// The body, empty unless `bodyState` is `complete`.
    public internal(set) var body: [UInt8]
    /// How the body came in.
    public let bodyState: Body

    /// A parameter that is there and not empty.
    public func param(_ name: String) -> String? {
        guard let value = parameters[name], !value.isEmpty else { return nil }
        return value
    }

    /// Reads parameters and body; nil where the parameters are more than allowed.
    ///
    /// `withBody`: false leaves the body where it is, and says `truncated` if there is one. A body that is
    /// complete has been taken from `budget`.
    init?(
        _ request: UnsafeMutablePointer<FCGX_Request>,
        settings: FastCGISettings,
        budget: BodyBudget,
        withBody: Bool
    ) {
        var parameters: [String: String] = [:]
        var bytes = 0
        var next = request.pointee.envp
        while let entry = next?.pointee {
            let text = UnsafeBufferPointer(start: entry, count: strlen(entry))
            bytes += text.count + 1
            guard bytes <= settings.maxParameterBytes else { return nil }
            if let sign = text.firstIndex(of: CChar(UInt8(ascii: "="))) {
                let name = String(
                    decoding: text[..<sign].lazy.map(UInt8.init(bitPattern:)),
                    as: UTF8.self
                )
                if parameters[name] == nil {
                    let value = text[(sign + 1)...].lazy.map(UInt8.init(bitPattern:))
                    parameters[name] = String(decoding: value, as: UTF8.self)
                }
            }
            next = next?.advanced(by: 1)
        }
        self.parameters = parameters
        let announced = parameters["CONTENT_LENGTH"].map { $0.isEmpty ? 0 : Int($0) } ?? 0
        if announced == 0 {
            (body, bodyState) = ([], .complete)
        } else if let announced, announced > 0, withBody {
            if announced <= settings.maxBodyBytes, !budget.take(announced) {
                (body, bodyState) = ([], .noRoom)
                return
            }
            let limit = settings.maxBodyBytes
            (body, bodyState) = Self.readBody(request, announced: announced, limit: limit)
            if announced <= limit, bodyState != .complete { budget.give(announced) }
        } else {
            (body, bodyState) = ([], .truncated)
        }
    }

    private static func readBody(
        _ request: UnsafeMutablePointer<FCGX_Request>,
        announced: Int,
        limit: Int
    ) -> ([UInt8], Body) {
        guard announced <= limit else {
            drain(request)
            return ([], .tooLarge)
        }
        var count = 0
        let body = [UInt8](unsafeUninitializedCapacity: announced) { buffer, filled in
            while count < announced, let base = buffer.baseAddress {
                let piece = Int32(min(announced - count, 1 << 30))
                let got = (base + count).withMemoryRebound(to: CChar.self, capacity: Int(piece)) {
                    FCGX_GetStr($0, piece, request.pointee.in)
                }
                guard got > 0 else { break }
                count += Int(got)
            }
            filled = count
        }
        guard count == announced, FCGX_GetError(request.pointee.in) == 0 else {
            return ([], .truncated)
        }
        return (body, .complete)
    }

    /// Reads a bounded part of a body that is not wanted, so that nginx can read our answer.
    ///
    /// True where that was the end of it.
    @discardableResult
    static func drain(_ request: UnsafeMutablePointer<FCGX_Request>) -> Bool {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 1 << 16) { buffer in
            for _ in 0..<32
            where FCGX_GetStr(buffer.baseAddress, Int32(buffer.count), request.pointee.in)
                < buffer.count
            {
                return FCGX_GetError(request.pointee.in) == 0
            }
            return false
        }
    }
}
