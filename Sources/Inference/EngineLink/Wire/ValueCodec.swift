internal import JSON

// The shared values as JSON objects; member names are the field names.

extension SamplingParameters {
    var json: JSONValue {
        [
            "temperature": .float(temperature), "topK": .int(topK), "topP": .float(topP),
            "minP": .float(minP), "presencePenalty": .float(presencePenalty),
            "frequencyPenalty": .float(frequencyPenalty),
            "repetitionPenalty": .float(repetitionPenalty), "seed": .unsigned(seed),
            "logitBias": .array(
                logitBias.sorted { $0.key < $1.key }
                    .map { .array([.int(Int($0.key)), .float($0.value)]) }
            ),
        ]
    }

    init(_ fields: Fields) throws(ProtocolError) {
        self.init(
            temperature: try fields.float("temperature"),
            topK: try fields.int("topK", WireRange.token),
            topP: try fields.float("topP"),
            minP: try fields.float("minP"),
            presencePenalty: try fields.float("presencePenalty"),
            frequencyPenalty: try fields.float("frequencyPenalty"),
            repetitionPenalty: try fields.float("repetitionPenalty"),
            seed: try fields.unsigned("seed")
        )
        for entry in try fields.array("logitBias") {
            guard let pair = entry.array, pair.count == 2,
                let token = pair[0].int.flatMap({ Int32(exactly: $0) }), let bias = pair[1].double,
                bias.magnitude < 1e9
            else { throw ProtocolError("logitBias") }
            logitBias[token] = Float(bias)
        }
    }
}

extension GenerationRequest {
    var json: JSONValue {
        [
            "prompt": .tokens(prompt),
            "choices": .array(
                choices.map { ["index": .int($0.index), "generated": .tokens($0.generated)] }
            ),
            "sampling": sampling.json, "maxTokens": .int(stop.maxTokens),
            "minTokens": .int(stop.minTokens), "stopTokens": .tokens(stop.stopTokens),
            "ignoreEOS": .bool(stop.ignoreEOS), "logprobs": .optional(logprobs),
            "media": .array(media.map(\.json)), "label": .string(label),
        ]
    }

    /// `pixels`: what came ahead of the request, one for each medium.
    init(_ fields: Fields, pixels: [SharedPixels]) throws(ProtocolError) {
        let media = fields.isPresent("media") ? try fields.array("media") : []
        guard media.count == pixels.count else { throw ProtocolError("media without pixels") }
        var described: [PromptMedia] = []
        for (value, bytes) in zip(media, pixels) {
            described.append(try PromptMedia(Fields(value), pixels: bytes))
        }
        var choices: [ChoiceStart] = []
        for value in try fields.array("choices") {
            let choice = try Fields(value)
            choices.append(
                ChoiceStart(
                    index: try choice.int("index", WireRange.choiceIndex),
                    generated: try choice.tokens("generated")
                )
            )
        }
        self.init(
            prompt: try fields.tokens("prompt"),
            choices: choices,
            sampling: try SamplingParameters(Fields(fields.object["sampling"])),
            stop: StopConditions(
                maxTokens: try fields.int("maxTokens", WireRange.maxTokens),
                minTokens: try fields.int("minTokens", WireRange.token),
                stopTokens: try fields.tokens("stopTokens"),
                ignoreEOS: try fields.bool("ignoreEOS")
            ),
            logprobs: try fields.optionalInt("logprobs", 0...EngineStep.maxTop),
            media: described,
            label: try fields.string("label", WireRange.shortText)
        )
        try checkRanges()
    }
}

extension PromptMedia {
    var json: JSONValue {
        [
            "kind": .string(kind.rawValue), "frames": .int(frames), "width": .int(width),
            "height": .int(height),
            "spans": .array(spans.map { .array([.int($0.lowerBound), .int($0.upperBound)]) }),
            "secondsPerGrid": secondsPerGrid.map { .double($0) } ?? .null,
            "identity": .array(identity.map { .int(Int($0)) }),
        ]
    }

    init(_ fields: Fields, pixels: SharedPixels) throws(ProtocolError) {
        guard let kind = Kind(rawValue: try fields.string("kind", 16)) else {
            throw ProtocolError("kind of a medium")
        }
        var spans: [Range<Int>] = []
        for value in try fields.array("spans") {
            guard let ends = value.array, ends.count == 2, let start = ends[0].int,
                let end = ends[1].int, start >= 0, start < end
            else { throw ProtocolError("spans") }
            spans.append(start..<end)
        }
        var identity: [UInt8] = []
        for value in try fields.array("identity") {
            guard let byte = value.int.flatMap({ UInt8(exactly: $0) }) else {
                throw ProtocolError("identity")
            }
            identity.append(byte)
        }
        self.init(
            kind: kind,
            frames: try fields.int("frames", WireRange.frames),
            width: try fields.int("width", WireRange.side),
            height: try fields.int("height", WireRange.side),
            spans: spans,
            secondsPerGrid: fields.isPresent("secondsPerGrid")
                ? try fields.double("secondsPerGrid", WireRange.secondsPerGrid) : nil,
            identity: identity,
            pixels: pixels
        )
    }
}

extension LoadRequest {
    var json: JSONValue {
        [
            "path": .string(path), "modelID": .string(modelID),
            "filesIdentity": .string(filesIdentity), "device": .string(device),
            "dtype": .string(dtype), "quantize": .string(quantize),
            "bnbComputeType": .string(bnbComputeType), "maxSlots": .int(maxSlots),
            "maxContext": .optional(maxContext),
            "kvTokens": .optional(kvTokens), "stepTokens": .int(stepTokens),
            "threads": .optional(threads), "videoPositions": .string(videoPositions),
            "visionCacheBytes": .int(visionCacheBytes),
            "orphanGrace": .int(orphanGrace),
            "idleTimeout": .optional(idleTimeout.map(WireRange.clampSeconds)),
        ]
    }

    init(_ fields: Fields) throws(ProtocolError) {
        self.init(
            path: try fields.string("path", WireRange.path),
            modelID: try fields.string("modelID", WireRange.shortText),
            filesIdentity: try fields.string("filesIdentity", WireRange.shortText),
            device: try fields.string("device", 64),
            dtype: try fields.string("dtype", 64),
            quantize: try fields.string("quantize", 64),
            bnbComputeType: try fields.string("bnbComputeType", 64),
            maxSlots: try fields.int("maxSlots", 1...65_535),
            maxContext: try fields.optionalInt("maxContext", WireRange.maxTokens),
            kvTokens: try fields.optionalInt("kvTokens", 1...WireRange.count.upperBound),
            stepTokens: try fields.int("stepTokens", 1...1_048_576),
            threads: try fields.optionalInt("threads", 1...4096),
            videoPositions: try fields.string("videoPositions", 64),
            visionCacheBytes: try fields.int("visionCacheBytes", WireRange.count),
            orphanGrace: try fields.int("orphanGrace", WireRange.seconds),
            idleTimeout: try fields.optionalInt("idleTimeout", WireRange.seconds)
        )
    }
}

extension LoadedModel {
    var json: JSONValue {
        [
            "modelID": .string(modelID), "revision": .string(revision),
            "vocabularySize": .int(vocabularySize), "contextLength": .int(contextLength),
            "slots": .int(slots), "kvTokens": .int(kvTokens), "dtype": .string(dtype),
            "weights": .string(weights),
            "device": .string(device), "residentBytes": .int(residentBytes),
            "loadSeconds": .double(loadSeconds), "busID": .string(busID),
        ]
    }

    init(_ fields: Fields) throws(ProtocolError) {
        self.init(
            modelID: try fields.string("modelID", WireRange.shortText),
            revision: try fields.string("revision", WireRange.shortText),
            vocabularySize: try fields.int("vocabularySize", 1...WireRange.token.upperBound),
            contextLength: try fields.int("contextLength", WireRange.maxTokens),
            slots: try fields.int("slots", 1...65_535),
            kvTokens: try fields.int("kvTokens", 1...WireRange.count.upperBound),
            dtype: try fields.string("dtype", 64),
            weights: try fields.string("weights", 64),
            device: try fields.string("device", 64),
            residentBytes: try fields.int("residentBytes", 0...Int.max),
            loadSeconds: try fields.double("loadSeconds", 0...1e9),
            busID: fields.isPresent("busID") ? try fields.string("busID", 64) : ""
        )
    }
}

extension EngineStats {
    var json: JSONValue {
        [
            "slots": .int(slots), "usedSlots": .int(usedSlots), "kvTokens": .int(kvTokens),
            "usedTokens": .int(usedTokens), "residentBytes": .int(residentBytes),
            "steps": .unsigned(steps), "preempted": .int(preempted),
            "allocatedBytes": .int(allocatedBytes), "reservedBytes": .int(reservedBytes),
        ]
    }

    init(_ fields: Fields) throws(ProtocolError) {
        self.init(
            slots: try fields.int("slots", 0...65_535),
            usedSlots: try fields.int("usedSlots", 0...65_535),
            kvTokens: try fields.int("kvTokens", WireRange.count),
            usedTokens: try fields.int("usedTokens", WireRange.count),
            residentBytes: try fields.int("residentBytes", 0...Int.max),
            steps: try fields.unsigned("steps"),
            preempted: try fields.int("preempted", WireRange.count),
            allocatedBytes: try fields.optionalInt("allocatedBytes", 0...Int.max) ?? 0,
            reservedBytes: try fields.optionalInt("reservedBytes", 0...Int.max) ?? 0
        )
    }
}
