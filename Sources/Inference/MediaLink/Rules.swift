// Size and sampling rules as members of a job.

import JSON
import Vision

extension PatchLayout {
    var members: [(String, JSONValue)] {
        [
            ("patch", .int(patch)), ("merge", .int(merge)), ("temporal_patch", .int(temporalPatch)),
        ]
    }

    init(json: JSONValue) throws(MediaLinkError) {
        self.init(
            patch: try json.count("patch"),
            merge: try json.count("merge"),
            temporalPatch: try json.count("temporal_patch")
        )
    }
}

extension PixelBudget {
    var members: [(String, JSONValue)] { [("min_pixels", .int(min)), ("max_pixels", .int(max))] }

    init(json: JSONValue) throws(MediaLinkError) {
        self.init(min: try json.count("min_pixels"), max: try json.count("max_pixels"))
    }
}

extension Resampling {
    var member: (String, JSONValue) { ("resample", .int(rawValue)) }

    init(json: JSONValue) throws(MediaLinkError) {
        guard let found = Resampling(rawValue: try json.count("resample")) else {
            throw MediaLinkError(member: "resample")
        }
        self = found
    }
}

extension ImageRule {
    var json: JSONValue {
        .object(JSONObject(layout.members + budget.members + [resampling.member]))
    }

    init(json: JSONValue) throws(MediaLinkError) {
        self.init(
            layout: try PatchLayout(json: json),
            budget: try PixelBudget(json: json),
            resampling: try Resampling(json: json)
        )
    }
}

extension VideoRule {
    var json: JSONValue {
        let wishes: [(String, JSONValue)] = [
            ("family", .string(family.rawValue)),
            ("fps", fps.map { .double($0) } ?? .null),
            ("frame_count", frameCount.map { .int($0) } ?? .null),
            ("all_frames_up_to", allFramesUpTo.map { .int($0) } ?? .null),
            ("min_frames", .int(minFrames)), ("max_frames", .int(maxFrames)),
            ("cap_pixels_per_frame", .bool(capPixelsPerFrame)),
            ("max_video_tokens", .int(maxVideoTokens)), resampling.member,
        ]
        return .object(JSONObject(wishes + layout.members + budget.members))
    }

    init(json: JSONValue) throws(MediaLinkError) {
        guard let family = json["family"]?.string.flatMap(VideoFamily.init(rawValue:)) else {
            throw MediaLinkError(member: "family")
        }
        self.init(
            family: family,
            layout: try PatchLayout(json: json),
            budget: try PixelBudget(json: json),
            fps: json["fps"]?.double,
            frameCount: json["frame_count"]?.int,
            allFramesUpTo: json["all_frames_up_to"]?.int,
            minFrames: try json.count("min_frames"),
            maxFrames: try json.count("max_frames"),
            capPixelsPerFrame: json["cap_pixels_per_frame"]?.bool ?? false,
            maxVideoTokens: try json.count("max_video_tokens"),
            resampling: try Resampling(json: json)
        )
    }
}
