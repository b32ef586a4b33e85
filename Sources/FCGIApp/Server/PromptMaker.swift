internal import Checkpoints
internal import Foundation
internal import KeyStore
internal import Media
internal import MediaLink
internal import OpenAI
internal import Settings

/// From a conversation to the engine's prompt: media are fetched and decoded, the template is rendered, and
/// the placeholders are written out.
///
/// Blocks while media are fetched and decoded. Safe from any thread.
struct PromptMaker: Sendable {
    let settings: Settings
    let room: MediaRoom
    /// Hears of templates that fail.
    let faults: ModelFaults

    /// Who asks, as far as sources of media depend on it.
    struct Caller: Sendable {
        /// Shares the bounds of fetches.
        let name: String
        /// The sources that may be named.
        let permissions: Set<MediaPermission>
        /// The operator's command that grants another one.
        var grant: @Sendable (MediaPermission) -> String = { _ in "" }
    }

    /// The prompt of a conversation.
    /// - Throws: 400 with the field at fault, 403 for a source of media that the caller may not name, 503
    ///   where there is no room to decode now.
    func prompt(_ conversation: Conversation, _ model: ServedModel, _ caller: Caller)
        throws(APIError) -> PreparedPrompt
    {
        let parts = conversation.media
        let start = monotonicSeconds()
        var prepared: [PreparedMedia] = []
        if let part = parts.first, model.vision != nil, model.template.isFallback {
            throw .unsupportedValue(
                part.param,
                "the model has no chat template, which images and video need."
            )
        }
        if let vision = model.vision {
            if let fault = vision.videoRefusal, let part = parts.first(where: { $0.kind == .video })
            {
                throw .unsupportedValue(
                    part.param,
                    "the model's processor files allow no video: \(fault)."
                )
            }
            room.warm()
            let rules = MediaRules(vision: vision, settings: settings.media)
            prepared = try prepare(parts, rules, common: conversation.mediaWishes, caller)
        } else if let part = parts.first {
            throw .unsupportedValue(
                part.param,
                "the model '\(APIError.quote(model.id))' takes text only, no images or video."
            )
        }
        let mediaSeconds = monotonicSeconds() - start
        let prompt = try render(conversation, model)
        guard let vision = model.vision else {
            return PreparedPrompt(text: prompt.text, ids: prompt.ids, media: [])
        }
        let placement = MediaPlacement(vision: vision, tokenizer: model.tokenizer)
        var placed = try placement.place(prompt, zip(parts, prepared).map { ($0.kind, $1) })
        placed.mediaSeconds = mediaSeconds
        return placed
    }

    private func render(_ conversation: Conversation, _ model: ServedModel) throws(APIError)
        -> PromptTemplate.Prompt
    {
        do throws(ModelFault) {
            return try model.template.prompt(
                conversation,
                clock: templateClock(),
                seconds: settings.limits.templateTimeout
            )
        } catch {
            faults.note(error, model: model.id, path: model.path, identity: model.identity)
            throw error.error
        }
    }

    private func prepare(
        _ parts: [MediaPart],
        _ rules: MediaRules,
        common: MediaWishes,
        _ caller: Caller
    ) throws(APIError) -> [PreparedMedia] {
        let orders = parts.map { part in
            MediaOrder(MediaSource(part.source), rules.wish(part, common: common))
        }
        do throws(MediaRoom.Failure) {
            return try room.prepare(orders, caller: caller.name, permissions: caller.permissions)
        } catch {
            throw Self.error(error.error, of: parts[error.place], caller)
        }
    }

    private static func error(_ error: MediaError, of part: MediaPart, _ caller: Caller)
        -> APIError
    {
        switch error {
        case .refused(let failure): .invalidMedia(part, failure.message)
        case .forbidden(let permission):
            .mediaSourceForbidden(
                permission.rawValue,
                param: part.param,
                command: caller.grant(permission)
            )
        case .busy: .serverOverloaded(retryAfter: 1)
        }
    }
}

extension MediaSource {
    init(_ source: MediaPart.Source) {
        switch source {
        case .url(let text): self = .url(text)
        case .base64(let text): self = .base64(text)
        }
    }
}

extension PromptMaker.Caller {
    init(_ principal: Principal) {
        name = principal.owner
        var permissions: Set<MediaPermission> = []
        if principal.has(.mediaURL) { permissions.insert(.url) }
        if principal.has(.mediaFile) { permissions.insert(.file) }
        self.permissions = permissions
        grant = { permission in
            principal.commandGranting(permission == .url ? .mediaURL : .mediaFile)
        }
    }
}
