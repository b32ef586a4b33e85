extension SettingsTable {
    /// The table of docs/configuration.md; a test compares the two.
    public static var markdown: String {
        let defaults = Settings()
        var lines = ["| setting | variable | unit | default | effect |", "|---|---|---|---|---|"]
        for field in fields {
            let variables = ([field.variable] + field.shortVariables).map { "`\($0)`" }
            let value = field.text(in: defaults)
            lines.append(
                "| `\(field.key)` | \(variables.joined(separator: " ")) | \(field.unit) "
                    + "| \(value.isEmpty ? "–" : "`\(value)`") | \(field.effect) |"
            )
        }
        return lines.joined(separator: "\n") + "\n"
    }
}
