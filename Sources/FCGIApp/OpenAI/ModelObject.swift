/// A model as GET /v1/models shows it.
public struct ModelObject: Sendable, Equatable {
    /// The id; may contain `/`.
    public var id: String
    /// Unix time of the model's files, in seconds.
    public var created: Int
    /// `user`, or `huggingface` for the Hugging Face cache.
    public var ownedBy: String

    /// Creates an entry.
    public init(id: String, created: Int, ownedBy: String) {
        self.id = id
        self.created = created
        self.ownedBy = ownedBy
    }

    /// Appends one model, the answer to GET /v1/models/{id}.
    public func append(to output: inout [UInt8]) {
        output.append(literal: "{\"id\":")
        output.append(json: id)
        output.append(literal: ",\"object\":\"model\",\"created\":")
        output.append(json: created)
        output.append(literal: ",\"owned_by\":")
        output.append(json: ownedBy)
        output.append(literal: "}")
    }

    /// Appends the list, the answer to GET /v1/models.
    public static func append(list models: [ModelObject], to output: inout [UInt8]) {
        output.append(literal: "{\"object\":\"list\",\"data\":")
        output.append(array: models) { $1.append(to: &$0) }
        output.append(literal: "}")
    }
}
