import JSON
import OpenAI
import Testing

@Suite struct MediaPartTests {
    private func conversation(
        _ parts: String,
        _ more: String = "",
        _ change: (inout RequestLimits) -> Void = { _ in }
    )
        throws -> Conversation
    {
        var limits = RequestLimits()
        change(&limits)
        let body = #"{"messages":[{"role":"user","content":[\#(parts)]}]\#(more)}"#
        return try ChatCompletionRequest.decode(JSONValue.parse(body), limits: limits).conversation
    }

    @Test(arguments: [
        (#"{"type":"image_url","image_url":{"url":"http://a/b","detail":"low"}}"#, "image_url.url"),
        (#"{"type":"image_url","image_url":"http://a/b"}"#, "image_url"),
        (#"{"type":"input_image","image_url":"http://a/b","detail":"auto"}"#, "image_url"),
        (#"{"type":"image","image":"http://a/b"}"#, "image"),
        (#"{"type":"image","url":"http://a/b"}"#, "url"),
        (#"{"type":"image","image":{"url":"http://a/b"}}"#, "image.url"),
        (#"{"type":"video_url","video_url":{"url":"http://a/b"}}"#, "video_url.url"),
        (#"{"type":"input_video","video_url":"http://a/b"}"#, "video_url"),
        (#"{"type":"video","video":"http://a/b"}"#, "video"),
    ])
    func `every spelling of a URL is read`(part: String, field: String) throws {
        let media = try conversation(part).media
        #expect(media.count == 1)
        #expect(media.first?.source == .url("http://a/b"))
        #expect(media.first?.kind == (part.contains("video") ? .video : .image))
        #expect(media.first?.param == "messages[0].content[0].\(field)")
    }

    @Test(arguments: [
        #"{"type":"input_image","b64_json":"aGVsbG8="}"#,
        #"{"type":"input_video","b64_json":"aGVsbG8="}"#,
        #"{"type":"image","base64":"aGVsbG8="}"#,
    ])
    func `bytes may come in base64`(part: String) throws {
        #expect(try conversation(part).media.first?.source == .base64("aGVsbG8="))
    }

    @Test(arguments: [
        (#"{"type":"image_url"}"#, "image_url"),
        (#"{"type":"image_url","image_url":7}"#, "image_url"),
        (#"{"type":"image_url","image_url":{"url":7}}"#, "image_url.url"),
        (#"{"type":"image_url","image_url":{"url":""}}"#, "image_url.url"),
        (#"{"type":"input_image"}"#, "image_url"),
        (#"{"type":"input_video","b64_json":[]}"#, "b64_json"),
        (#"{"type":"input_image","b64_json":"aa","image_url":"http://a"}"#, "b64_json"),
        (#"{"type":"video","video":["a","b"]}"#, "video"),
        (#"{"type":"video_url","video_url":{"url":"a","fps":0}}"#, "video_url.fps"),
        (#"{"type":"video_url","video_url":{"url":"a","fps":1e9}}"#, "video_url.fps"),
        (#"{"type":"video_url","video_url":{"url":"a","max_frames":769}}"#, "video_url.max_frames"),
        (#"{"type":"video_url","video_url":{"url":"a","max_pixels":-1}}"#, "video_url.max_pixels"),
        (
            #"{"type":"video_url","video_url":{"url":"a","fps":1,"num_frames":2}}"#,
            "video_url.num_frames"
        ),
        (#"{"type":"video","video":"a","min_pixels":9,"max_pixels":8}"#, "min_pixels"),
        (#"{"type":"input_audio","input_audio":{}}"#, "type"),
        (#"{"type":"file","file":{}}"#, "type"),
    ])
    func `what is wrong is named by its path`(part: String, field: String) {
        #expect {
            try conversation(part)
        } throws: { error in
            let error = error as? APIError
            return error?.status == 400 && error?.param == "messages[0].content[0].\(field)"
        }
    }

    @Test func `a part's wishes go before the request's`() throws {
        let conversation = try conversation(
            #"{"type":"video_url","video_url":{"url":"a","fps":2,"max_pixels":99},"max_frames":8}"#,
            #","mm_processor_kwargs":{"num_frames":5,"max_pixels":7,"min_pixels":3,"do_sample_frames":true}"#
        )
        let wishes = try #require(conversation.media.first).wishes.over(conversation.mediaWishes)
        #expect(wishes.fps == 2 && wishes.frames == nil && wishes.maxFrames == 8)
        #expect(wishes.maxPixels == 99 && wishes.minPixels == 3)
        #expect(conversation.mediaWishes.frames == 5)
    }

    @Test func `media of all messages count together`() throws {
        let part = #"{"type":"image","image":"a"}"#
        let many = Array(repeating: part, count: 3).joined(separator: ",")
        #expect(try conversation(many) { $0.media = 3 }.media.count == 3)
        #expect(throws: APIError.self) { try conversation(many) { $0.media = 2 } }
    }

    @Test func `templates see a list of typed parts, whatever they iterate over`() throws {
        let message = try #require(
            try conversation(#"{"type":"text","text":"x"},{"type":"input_image","b64_json":"aa"}"#)
                .messages.first
        )
        #expect(message.text == "x")
        #expect(
            message.templateValue(keepParts: false)["content"]
                == [["type": "text", "text": "x"], ["type": "image"]]
        )
    }
}
