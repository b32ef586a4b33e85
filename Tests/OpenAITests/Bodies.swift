import JSON
import OpenAI
import Testing

/// Decodes a chat request from JSON text.
func chat(_ text: String) throws -> ChatCompletionRequest {
    try ChatCompletionRequest.decode(JSONValue.parse(text))
}

/// Decodes a chat request of one message and more members.
func chat(with members: String) throws -> ChatCompletionRequest {
    try chat("{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\(members)}")
}

/// Decodes a completions request from JSON text.
func completion(_ text: String) throws -> CompletionRequest {
    try CompletionRequest.decode(JSONValue.parse(text))
}

/// The error that `body` ends with; nil where it succeeds.
func refusal(_ body: () throws -> some Any) throws -> APIError? {
    do {
        _ = try body()
        return nil
    } catch let error as APIError {
        return error
    }
}
