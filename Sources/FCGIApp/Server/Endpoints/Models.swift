internal import Checkpoints
internal import FoundationEssentials
internal import JSON
internal import OpenAI

// GET /v1/models and /v1/models/{id}: what the key may use, and what has weights.
extension Application {
    func listModels(_ call: Call, _ principal: Principal) {
        let served = models.catalog().filter { $0.hasWeights && principal.mayUse(model: $0.id) }
        let objects = served.map(ModelObject.init)
        var output: [UInt8] = []
        ModelObject.append(list: objects, to: &output)
        call.send(status: 200, output)
    }

    func showModel(_ call: Call, _ principal: Principal, id: String) throws(APIError) {
        let entry = try models.entry(named: id)
        guard principal.mayUse(model: entry.id) else { throw .modelNotAllowed(entry.id) }
        guard entry.hasWeights else { throw .modelNotFound(id) }
        var output: [UInt8] = []
        ModelObject(entry).append(to: &output)
        call.send(status: 200, output)
    }
}

// GET /models: models and data sets on this machine's disk, in the words of `hf cache ls`.
extension Application {
    func listRepositories(_ call: Call, _ principal: Principal) {
        let allowed = models.repositories().filter { principal.mayUse(model: $0.id) }
        let list = allowed.map { repository -> JSONValue in
            [
                "repo_id": .string(repository.id), "repo_type": .string(repository.kind),
                "size_on_disk": .int(repository.bytes),
            ]
        }
        let answer: JSONValue = ["models": .array(list)]
        call.send(status: 200, answer.bytes())
    }
}

extension ModelObject {
    init(_ entry: CatalogEntry) {
        let created = Int(entry.created.timeIntervalSince1970)
        self.init(id: entry.id, created: created, ownedBy: entry.ownedBy)
    }
}
