import Foundation
import JSON
import KeyStore

/// Records as people and programs read them; they hold neither key nor digest.
enum RecordText {
    static func json(_ record: KeyRecord, now: Date) -> JSONValue {
        func number(_ value: Int?) -> JSONValue { value.map(JSONValue.int) ?? .null }
        func moment(_ value: Date?) -> JSONValue { value.map { .string(time($0)) } ?? .null }
        return .object(
            JSONObject([
                ("id", .string(record.id)),
                ("name", .string(record.name)),
                ("owner", .string(record.owner)),
                ("state", .string(state(record, now: now))),
                ("scopes", .array(scopes(record).map(JSONValue.string))),
                ("models", .array(record.models.map(JSONValue.string))),
                ("rpm", number(record.rpm)),
                ("tpm", number(record.tpm)),
                ("max_parallel", number(record.maxParallel)),
                ("budget_per_day", number(record.budgetPerDay)),
                ("weight", .int(record.weight)),
                ("created", moment(record.created)),
                ("expires", moment(record.expires)),
                ("revoked_at", moment(record.revokedAt)),
                ("revoked_reason", record.revokedReason.map(JSONValue.string) ?? .null),
            ])
        )
    }

    /// A table with a line of headings.
    static func table(_ records: [KeyRecord], now: Date) -> String {
        var lines = [["ID", "NAME", "OWNER", "STATE", "SCOPES", "CREATED", "EXPIRES"]]
        for record in records {
            lines.append([
                record.id, record.name, record.owner, state(record, now: now),
                scopes(record).joined(separator: ","), time(record.created),
                record.expires.map(time) ?? "never",
            ])
        }
        let widths = lines[0].indices.map { column in lines.map { $0[column].count }.max() ?? 0 }
        return lines.map { line in
            let cells = zip(line, widths).map { cell, width in
                cell + String(repeating: " ", count: width - cell.count)
            }
            return String(cells.joined(separator: "  ").reversed().drop { $0 == " " }.reversed())
        }.joined(separator: "\n") + "\n"
    }

    /// One setting a line.
    static func page(_ record: KeyRecord, now: Date) -> String {
        var text = ""
        for (name, value) in json(record, now: now).object?.members.map({ $0 }) ?? [] {
            let shown =
                switch value {
                case .null: "-"
                case .array(let items):
                    items.isEmpty ? "all" : items.compactMap(\.string).joined(separator: ", ")
                default: value.string ?? value.text()
                }
            text += name + String(repeating: " ", count: max(1, 16 - name.count)) + shown + "\n"
        }
        return text
    }

    static func state(_ record: KeyRecord, now: Date) -> String {
        if record.revokedAt != nil { return "revoked" }
        return record.isLive(at: now) ? "live" : "expired"
    }

    static func time(_ date: Date) -> String { date.formatted(.iso8601) }

    private static func scopes(_ record: KeyRecord) -> [String] {
        record.scopes.map(\.rawValue).sorted()
    }
}
