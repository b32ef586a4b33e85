import JSON

/// Tools of a request.
///
/// Their definitions go to the chat template as they came; calls in the answer stay part of its
/// text, and a choice that would force a call is refused.
enum Tools {
    /// The definitions, checked for their shape; empty where there are none.
    static func definitions(_ fields: Fields, _ limits: RequestLimits) throws(APIError)
        -> [JSONValue]
    {
        try fields.refuse(
            ["functions", "function_call"],
            because: "use 'tools' and 'tool_choice'."
        )
        let elements = try fields.array("tools", maxCount: limits.tools) ?? []
        for (place, element) in elements.enumerated() {
            let path = "\(fields.param("tools"))[\(place)]"
            guard case .object(let object) = element else {
                throw .invalidType(path, expected: "an object", got: element)
            }
            try check(Fields(object, at: path))
        }
        return elements
    }

    private static func check(_ tool: Fields) throws(APIError) {
        guard let kind = try tool.string("type") else { throw .missing(tool.param("type")) }
        guard kind == "function" else {
            throw .unsupportedValue(tool.param("type"), "only 'function' tools are known.")
        }
        guard let object = try tool.object("function") else {
            throw .missing(tool.param("function"))
        }
        let function = Fields(object, at: tool.param("function"))
        guard let name = try function.string("name") else { throw .missing(function.param("name")) }
        guard isName(name) else {
            throw function.invalid("name", "must match [A-Za-z0-9._-]{1,64}.")
        }
        _ = try function.string("description")
        _ = try function.object("parameters")
        _ = try function.bool("strict")
    }

    private static func isName(_ text: String) -> Bool {
        text.utf8.count <= 64 && GenerationOptions.isSessionID(text)
    }

    /// Whether the template gets to see the tools: unless `tool_choice` is `none`.
    static func areOffered(_ fields: Fields, tools: [JSONValue]) throws(APIError) -> Bool {
        let offered: Bool
        switch fields.value("tool_choice") {
        case nil, .string("auto")?: offered = true
        case .string("none")?: offered = false
        case .string("required")?, .object?:
            throw .unsupportedValue("tool_choice", "only 'auto' and 'none' are served yet.")
        case .string(let text)?:
            throw fields.invalid("tool_choice", "'\(APIError.quote(text))' is not a choice.")
        case let other?: throw fields.wrongType("tool_choice", "a string or an object", other)
        }
        _ = try fields.bool("parallel_tool_calls")
        return offered && !tools.isEmpty
    }
}
