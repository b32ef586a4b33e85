import ArgumentParser
import Foundation
import KeyStore

/// Spellings of amounts and scopes on the command line.
enum Quantity {
    /// `100000/day` or `100000`.
    static func perDay(_ text: String) throws -> Int {
        let digits = text.hasSuffix("/day") ? text.dropLast(4) : text[...]
        guard let amount = whole(digits) else {
            throw ValidationError(
                "'\(text)' is no daily budget; write a number of tokens: 100000/day"
            )
        }
        return amount
    }

    /// `90d`, `12h`, `30m`, `8w` in seconds; `nil` for `never`.
    static func lifetime(_ text: String) throws -> TimeInterval? {
        if text == "never" { return nil }
        let units: [Character: Int] = ["m": 60, "h": 3600, "d": 86_400, "w": 604_800]
        guard let unit = text.last.flatMap({ units[$0] }), let count = whole(text.dropLast()),
            count > 0
        else {
            throw ValidationError("'\(text)' is no lifetime; write 90d, 12h, 30m, 8w or never")
        }
        let product = count.multipliedReportingOverflow(by: unit)
        guard !product.overflow else { throw ValidationError("'\(text)' is too long a lifetime") }
        return TimeInterval(product.partialValue)
    }

    /// A whole number, or `nil` for `none`.
    static func limit(_ text: String, _ option: String) throws -> Int? {
        if text == "none" { return nil }
        guard let amount = whole(text[...]) else {
            throw ValidationError("\(option) takes a whole number or none, not '\(text)'")
        }
        return amount
    }

    /// `infer,admin`.
    static func scopes(_ text: String) throws -> Set<Scope> {
        var scopes: Set<Scope> = []
        for word in text.split(separator: ",", omittingEmptySubsequences: false) {
            guard let scope = Scope(rawValue: String(word)) else {
                let known = Scope.allCases.map(\.rawValue).joined(separator: ", ")
                throw ValidationError("unknown scope '\(word)'; there are: \(known)")
            }
            scopes.insert(scope)
        }
        return scopes
    }

    /// Globs of models, each option's separated by commas.
    static func globs(_ options: [String]) -> [String] {
        options.flatMap { $0.split(separator: ",").map(String.init) }
    }

    private static func whole(_ digits: Substring) -> Int? {
        guard digits.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) })
        else {
            return nil
        }
        return Int(digits)
    }
}
