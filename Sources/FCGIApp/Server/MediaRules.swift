internal import Checkpoints
internal import Media
internal import MediaLink
internal import OpenAI
internal import Settings
internal import Vision

/// What is wanted of a part: the model's rules, the request's wishes, the server's bounds.
struct MediaRules {
    let vision: VisionProcessor
    let settings: MediaSettings

    /// The job for one part; `common` holds for all parts of the request.
    func wish(_ part: MediaPart, common: MediaWishes) -> MediaJob.Wish {
        let wishes = part.wishes.over(common)
        switch part.kind {
        case .image:
            var rule = vision.image
            rule.budget = budget(rule.budget, wishes)
            return .image(rule)
        case .video:
            return .video(clip(wishes))
        }
    }

    private func budget(_ budget: PixelBudget, _ wishes: MediaWishes) -> PixelBudget {
        PixelBudget(min: wishes.minPixels ?? budget.min, max: wishes.maxPixels ?? budget.max)
    }

    /// Who asks for a rate or a number of frames gets as many as the model and the server take; else the
    /// model's own sampling holds, with a smaller bound.
    private func clip(_ wishes: MediaWishes) -> VideoRule {
        var rule = vision.video
        rule.budget = budget(rule.budget, wishes)
        rule.minFrames = wishes.minFrames ?? rule.minFrames
        if let frames = wishes.frames {
            rule.frameCount = min(frames, settings.maxFrames)
        } else if let fps = wishes.fps {
            rule.fps = fps
            rule.frameCount = nil
            rule.maxFrames = min(wishes.maxFrames ?? rule.maxFrames, settings.maxFrames)
        } else {
            let usual = wishes.samples == false ? settings.maxFrames : settings.videoFrames
            let most = min(wishes.maxFrames ?? usual, settings.maxFrames)
            if wishes.samples ?? vision.samplesFrames, rule.fps != nil || rule.frameCount != nil {
                rule.frameCount = rule.frameCount.map { min($0, most) }
                rule.maxFrames = min(rule.maxFrames, most)
            } else {
                rule.allFramesUpTo = most
            }
        }
        return rule
    }
}

extension MediaRoom {
    /// The room as the settings describe it.
    convenience init(_ settings: MediaSettings, report: @escaping @Sendable (String) -> Void) {
        var room = MediaRoomSettings()
        room.imageBytes = settings.imageBytes
        room.videoBytes = settings.videoBytes
        room.totalPixelBytes = settings.pixelBytesTotal
        room.fetchesPerCaller = settings.fetch.perKey
        room.fetches = settings.fetch.total
        room.root = settings.root
        room.egress = EgressGuard(
            networks: settings.fetch.networks.compactMap(IPNetwork.init),
            hosts: settings.fetch.hosts,
            allowsHTTP: settings.fetch.http
        )
        room.fetch.connectSeconds = settings.fetch.connectTimeout
        room.fetch.totalSeconds = settings.fetch.timeout
        room.fetch.redirects = settings.fetch.redirects
        room.decoder.executable = settings.executable.isEmpty ? nil : settings.executable
        room.decoder.spares = settings.spares
        room.decoder.most = settings.processes
        room.decoder.threads = settings.threads
        room.decoder.addressSpace = settings.memoryBytes
        room.decoder.outputBytes = settings.pixelBytes
        room.decoder.seconds = settings.decodeTimeout
        room.decoder.orient = settings.orient
        room.decoder.limits.pixels = settings.pixels
        room.decoder.limits.side = settings.side
        room.decoder.limits.chosenFrames = settings.maxFrames
        room.decoder.limits.seconds = settings.videoSeconds
        room.decoder.limits.cpuSeconds = settings.cpuSeconds
        self.init(room, report: report)
    }
}
