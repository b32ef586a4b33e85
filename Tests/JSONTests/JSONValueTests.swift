import JSON
import Testing

struct JSONValueTests {
    @Test func `a document keeps the order of its members and the text of its numbers`() throws {
        let text = #"{"b":[1,2.50,-0,1e3],"a":{"x":null,"y":[true,false]},"":"é"}"#
        #expect(try JSONValue.parse(text).text() == text)
    }

    @Test func `strings are unescaped and escaped again`() throws {
        let value = try JSONValue.parse(#""\u00e9\ud83d\ude00\n\"\\\/\u0001""#)
        #expect(value.string == "é😀\n\"\\/\u{1}")
        #expect(value.text() == #""é😀\n\"\\/\u0001""#)
    }

    @Test func `half a surrogate pair reads as a replacement character`() throws {
        #expect(try JSONValue.parse(#""\ud83d""#).string == "\u{FFFD}")
        #expect(try JSONValue.parse(#""\ud83dx""#).string == "\u{FFFD}x")
        #expect(try JSONValue.parse(#""\ude00""#).string == "\u{FFFD}")
    }

    @Test func `whole numbers are whole however they are spelled`() throws {
        #expect(try JSONValue.parse("2e3").int == 2000)
        #expect(try JSONValue.parse("2.0").int == 2)
        #expect(try JSONValue.parse("2.5").int == nil)
        #expect(try JSONValue.parse("1e400").int == nil)
        #expect(try JSONValue.parse("1e400").double == .infinity)
        #expect(try JSONValue.parse("99999999999999999999").int == nil)
    }

    @Test(arguments: [
        "", " ", "[", "]", "{", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,}", "[1,]", "[1 2]",
        "01", "1.", ".5",
        "+1", "-", "1e", "NaN", "Infinity", "-Infinity", "nul", "truex", "\"", "\"\\", "\"\\x\"",
        "\"\\u12\"",
        "\"\u{1}\"", "1 2", "{1:2}", "{\"a\":1 \"b\":2}", "'a'", "// x\n1", "{\"a\":1,\"a\":2}",
    ])
    func `what is no JSON is refused`(text: String) {
        #expect(throws: JSONError.self) { try JSONValue.parse(text) }
    }

    @Test func `invalid UTF-8 is refused`() {
        for bytes in [
            [0x22, 0xFF, 0x22], [0x22, 0xC0, 0x80, 0x22], [0x22, 0xED, 0xA0, 0x80, 0x22],
        ] as [[UInt8]] {
            #expect(throws: JSONError.self) { try JSONValue.parse(bytes) }
        }
    }

    @Test func `a document cut anywhere is refused`() throws {
        let whole = Array(#"{"a":[1,{"b":"c\n"}],"d":-1.5e3,"e":null}"#.utf8)
        for count in 0..<whole.count {
            #expect(throws: JSONError.self) { try JSONValue.parse(whole[..<count]) }
        }
    }

    @Test func `a million brackets cost an error and no stack`() {
        #expect(throws: JSONError.self) {
            try JSONValue.parse(String(repeating: "[", count: 1_000_000))
        }
        let nested = String(repeating: "{\"a\":", count: 1_000_000)
        #expect(throws: JSONError.self) { try JSONValue.parse(nested) }
    }

    @Test func `depth is counted exactly`() throws {
        var limits = JSONLimits()
        limits.depth = 3
        #expect(try JSONValue.parse("[[[1]]]", limits: limits).text() == "[[[1]]]")
        #expect(throws: JSONError.self) { try JSONValue.parse("[[[[1]]]]", limits: limits) }
    }

    @Test func `large objects find their members`() throws {
        let text = "{" + (0..<5000).map { "\"k\($0)\":\($0)" }.joined(separator: ",") + "}"
        let value = try JSONValue.parse(text)
        #expect(value["k4999"]?.int == 4999)
        #expect(value["k5000"] == nil)
    }

    @Test func `members can be set, replaced and removed`() {
        var object = JSONObject((0..<20).map { ("k\($0)", JSONValue.int($0)) })
        object["k3"] = nil
        object["k4"] = "new"
        object["k20"] = true
        #expect(object.count == 20)
        #expect(object["k3"] == nil)
        #expect(object["k4"]?.string == "new")
        #expect(object.keys.last == "k20")
        #expect(object["k19"]?.int == 19)
    }

    @Test func `damaged documents never end the process`() {
        let whole = Array(#"{"a":[1,2.5e-3,{"b":"c\u00e9\n"}],"d":[[],{}],"e":null,"f":true}"#.utf8)
        var state: UInt64 = 42
        func next(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
        var read = 0
        for _ in 0..<20_000 {
            var bytes = whole
            for _ in 0...next(4) { bytes[next(bytes.count)] = UInt8(next(256)) }
            if (try? JSONValue.parse(bytes)) != nil { read += 1 }
        }
        #expect(read > 0 && read < 20_000)
    }

    @Test func `a string ends at its first quote, however long it is, and takes no control byte`()
        throws
    {
        for length in 0..<50 {
            for place in 0...length {
                let (a, b) = (
                    String(repeating: "a", count: place),
                    String(repeating: "é", count: length - place)
                )
                #expect(try JSONValue.parse("[\"\(a)\(b)\",\"\"]") == [.string(a + b), ""])
                #expect(try JSONValue.parse("\"\(a)\\\"\(b)\"") == .string(a + "\"" + b))
                #expect(throws: JSONError.self) { try JSONValue.parse("\"\(a)\u{1F}\(b)\"") }
                #expect(throws: JSONError.self) { try JSONValue.parse("\"\(a)\(b)") }
            }
        }
    }

    @Test func `styles of writing`() throws {
        let value: JSONValue = ["b": [1, "é"], "a": [:]]
        var style = JSONStyle.pretty
        #expect(value.text(style) == "{\n  \"b\": [\n    1,\n    \"é\"\n  ],\n  \"a\": {}\n}")
        style = JSONStyle()
        style.sortKeys = true
        style.asciiOnly = true
        #expect(value.text(style) == #"{"a":{},"b":[1,"\u00e9"]}"#)
    }
}
