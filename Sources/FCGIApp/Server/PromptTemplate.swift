internal import Checkpoints
internal import Foundation
internal import JSON
internal import OpenAI
internal import Text

/// Turns a conversation into the model's tokens: chat template, then tokeniser.
///
/// Text of the client that spells a special token stays plain text.
struct PromptTemplate: Sendable {
    /// The rendered prompt and its ids.
    struct Prompt: Sendable {
        let text: String
        let ids: [Int32]
    }

    private let tokenizer: Tokenizer
    private let templates: ChatTemplates
    /// Where the template is from, for the log.
    private let file: String

    /// Finds and reads the model's templates; a model without one gets ChatML or plain lines.
    /// - Throws: 500 `template_error` where a template cannot be read.
    init(of configuration: ModelConfiguration, tokenizer: Tokenizer) throws(ModelFault) {
        file = Self.file(of: configuration)
        self.tokenizer = tokenizer
        do throws(TemplateError) {
            if let metadata = configuration.ggufMetadata {
                func word(_ name: String) -> String? {
                    metadata.int("tokenizer.ggml.\(name)_token_id").flatMap(Int32.init(exactly:))
                        .flatMap(tokenizer.token)
                }
                var specials: [String: String] = [:]
                for (name, key) in [
                    ("bos_token", "bos"), ("eos_token", "eos"), ("unk_token", "unknown"),
                    ("pad_token", "padding"),
                ] {
                    specials[name] = word(key)
                }
                templates = try ChatTemplates(
                    source: metadata.chatTemplate,
                    specialTokens: specials,
                    hasToken: { tokenizer.id(of: $0) != nil }
                )
            } else {
                templates = try ChatTemplates(
                    folder: configuration.path,
                    hasToken: { tokenizer.id(of: $0) != nil }
                )
            }
        } catch {
            throw ModelFault(
                error: .templateError("The model's chat template cannot be read."),
                cause: "\(file): chat template: \(ModelFault.cause(of: error))"
            )
        }
    }

    /// The base name of the file that the template is in.
    private static func file(of configuration: ModelConfiguration) -> String {
        if let path = configuration.ggufPath { return URL(fileURLWithPath: path).lastPathComponent }
        let names = ["chat_template.jinja", "chat_template.json", "tokenizer_config.json"]
        return names.first {
            FileManager.default.fileExists(atPath: "\(configuration.path)/\($0)")
        } ?? "-"
    }

    /// Whether the model has no template of its own, so that media have no place.
    var isFallback: Bool { templates.isFallback }

    /// Renders and tokenises.
    ///
    /// `clock`: what `strftime_now` tells. `seconds`: how long the template may run.
    /// - Throws: 400 where the template refuses the conversation, 500 where it fails.
    func prompt(_ conversation: Conversation, clock: Date, seconds: Double) throws(ModelFault)
        -> Prompt
    {
        var request = ChatTemplates.Request(
            messages: conversation.messages.map {
                $0.templateValue(keepParts: templates.iteratesContent)
            }
        )
        request.tools = conversation.tools
        request.keywords = conversation.templateKeywords
        if let effort = conversation.reasoningEffort {
            request.keywords["reasoning_effort"] = .string(effort)
        }
        request.continueFinalMessage = conversation.continueFinalMessage
        request.addGenerationPrompt =
            conversation.addGenerationPrompt ?? !conversation.continueFinalMessage
        request.clock = clock.timeIntervalSince1970
        request.limits.seconds = seconds
        let rendered: RenderedPrompt
        do throws(TemplateError) {
            rendered = try templates.render(request)
        } catch {
            if error.kind == .raised {
                let answer = APIError.invalidValue(
                    "messages",
                    "the model's chat template refuses them: \(APIError.quote(error.message))"
                )
                throw ModelFault(error: answer, cause: nil)
            }
            let message =
                error.kind == .limit
                ? "The model's chat template took too long or grew too large."
                : "The model's chat template failed on these messages."
            throw ModelFault(
                error: .templateError(message),
                cause: "\(file): chat template: \(ModelFault.cause(of: error))"
            )
        }
        let segments = rendered.segments.map {
            Tokenizer.Segment($0.text, parseSpecial: $0.trusted)
        }
        return Prompt(text: rendered.text, ids: tokenizer.encode(segments, addSpecialTokens: false))
    }
}
