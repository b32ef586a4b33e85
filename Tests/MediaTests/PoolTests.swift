import Foundation
import MediaLink
import Media
import Synchronization
import Testing
import Vision

/// Lines for the operator.
final class Lines: Sendable {
    private let state = Mutex<[String]>([])
    var all: [String] { state.withLock { $0 } }
    func add(_ line: String) { state.withLock { $0.append(line) } }
}

enum Fixture {
    static let folder = URL(filePath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().appending(path: "Fixtures/media")

    static func data(_ name: String) throws -> Data {
        try Data(contentsOf: folder.appending(path: name))
    }

    static func base64(_ name: String) throws -> MediaSource {
        .base64(try data(name).base64EncodedString())
    }

    /// The executable beside the tests.
    static var decoder: String {
        let own =
            (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
        return URL(filePath: own).deletingLastPathComponent().appending(path: "torchgate-media")
            .path
    }

    static func settings(_ change: (inout MediaRoomSettings) -> Void = { _ in })
        -> MediaRoomSettings
    {
        var settings = MediaRoomSettings()
        settings.decoder.executable = decoder
        settings.fetch.refusalSeconds = 0
        change(&settings)
        return settings
    }

    static let rule = ImageRule(
        layout: PatchLayout(patch: 14),
        budget: PixelBudget(min: 3136, max: 50176)
    )
    static let clip = VideoRule(
        family: .qwen3VL,
        layout: PatchLayout(patch: 16),
        budget: PixelBudget(min: 4096, max: 65536)
    )
}

@Suite struct PoolTests {
    private func room(
        _ lines: Lines = Lines(),
        _ change: (inout MediaRoomSettings) -> Void = { _ in }
    )
        -> MediaRoom
    { MediaRoom(Fixture.settings(change)) { lines.add($0) } }

    private func prepare(_ room: MediaRoom, _ orders: [MediaOrder]) throws(MediaRoom.Failure)
        -> [PreparedMedia]
    { try room.prepare(orders, caller: "k", permissions: []) }

    @Test func `images and clips of one request come back in order, sealed`() throws {
        let room = room()
        let names = ["rgb.png", "cmyk.jpg", "1.png", "grey.jpg", "animated.gif"]
        var orders = try names.map { MediaOrder(try Fixture.base64($0), .image(Fixture.rule)) }
        orders.append(MediaOrder(try Fixture.base64("h264.mp4"), .video(Fixture.clip)))
        let media = try prepare(room, orders)
        #expect(
            media.map(\.decoded.result.format) == ["png", "jpeg", "png", "jpeg", "gif", "h264"]
        )
        for one in media {
            let result = one.decoded.result
            let file = try #require(one.decoded.pixels.duplicate())
            defer { close(file) }
            var info = stat()
            #expect(fstat(file, &info) == 0 && info.st_size == result.bytes)
            #expect(pwrite(file, "x", 1, 0) == -1 && ftruncate(file, 0) == -1)
        }
        #expect(media[5].decoded.result.choice != nil)
    }

    @Test func `a bad medium is told by its place and leaves the others alone`() throws {
        let lines = Lines()
        let room = room(lines)
        let good = MediaOrder(try Fixture.base64("rgb.png"), .image(Fixture.rule))
        for (name, code) in [
            ("truncated.jpg", MediaFailure.Code.invalid), ("picture.svg", .unsupported),
            ("page.jpg", .unsupported), ("bomb.png", .tooLarge), ("empty.png", .invalid),
        ] {
            let bad = MediaOrder(try Fixture.base64(name), .image(Fixture.rule))
            do {
                _ = try prepare(room, [good, bad, good])
                Issue.record("\(name) was taken")
            } catch {
                #expect(error.place == 1)
                guard case .refused(let failure) = error.error else {
                    Issue.record("\(error)")
                    continue
                }
                #expect(
                    failure.code == code || name == "picture.svg" || name == "page.jpg",
                    "\(name): \(failure)"
                )
            }
        }
        #expect(try prepare(room, [good]).count == 1)
        #expect(lines.all.isEmpty)
    }

    @Test func `nothing runs before it is needed, then the spares are there`() throws {
        let room = room()
        #expect(room.spareCount == 0)
        room.warm()
        let end = Date(timeIntervalSinceNow: 5)
        while room.spareCount < 2, Date() < end { usleep(2000) }
        #expect(room.spareCount == 2)
    }

    @Test func `spares end when nobody needs them, and come back`() throws {
        let room = room { $0.decoder.idleSeconds = 0.3 }
        func settle(_ count: Int) -> Bool {
            let end = Date(timeIntervalSinceNow: 5)
            while room.spareCount != count, Date() < end { usleep(2000) }
            return room.spareCount == count
        }
        room.warm()
        #expect(settle(2))
        #expect(settle(0))
        let order = MediaOrder(try Fixture.base64("rgb.png"), .image(Fixture.rule))
        #expect(try prepare(room, [order]).count == 1)
        #expect(settle(2))
    }

    @Test func `processes that are killed while they wait leave no zombies and are replaced`()
        throws
    {
        // No other test's processes have this number among their arguments.
        let mark = (1 << 30) + 4096
        func living() -> [pid_t] {
            let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
            return names.compactMap { pid_t($0) }.filter { pid in
                let words = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline") ?? Data()
                return words.split(separator: 0).contains { $0.elementsEqual("\(mark)".utf8) }
            }
        }
        func wait(_ met: () -> Bool) -> Bool {
            let end = Date(timeIntervalSinceNow: 5)
            while !met(), Date() < end { usleep(2000) }
            return met()
        }
        let room = room { $0.decoder.addressSpace = mark }
        room.warm()
        try #require(wait { room.spareCount == 2 })
        let first = living()
        #expect(first.count == 3)
        for pid in first { kill(pid, SIGKILL) }
        // Wakes the keeper, which else looks every few seconds.
        let isMended = wait {
            room.warm()
            return first.allSatisfy { kill($0, 0) == -1 } && room.spareCount == 2
        }
        #expect(isMended)
        #expect(living().count == 3)
    }

    @Test func `many requests share few processes`() throws {
        let room = room(Lines()) { settings in
            settings.decoder.most = 3
            settings.decoder.spares = 1
        }
        let order = MediaOrder(try Fixture.base64("rgb.png"), .image(Fixture.rule))
        let failures = Mutex(0)
        DispatchQueue.concurrentPerform(iterations: 24) { _ in
            do { _ = try prepare(room, [order, order]) } catch { failures.withLock { $0 += 1 } }
        }
        #expect(failures.withLock { $0 } == 0)
    }

    @Test func `a decoder that cannot start, hangs or dies costs its request only`() throws {
        let order = MediaOrder(try Fixture.base64("rgb.png"), .image(Fixture.rule))
        func program(_ text: String) throws -> String {
            let script = FileManager.default.temporaryDirectory.appending(path: "media-\(UUID())")
            try Data("#!/bin/sh\n\(text)\n".utf8).write(to: script)
            #expect(chmod(script.path, 0o700) == 0)
            return script.path
        }
        let decoder = "exec '\(Fixture.decoder)' \"$@\""
        for (program, expected) in [
            ("/nonexistent", MediaError.busy), ("/bin/false", .busy),
            (try program("exec sleep 60"), .busy),
            (try program("\(decoder) --probe file"), .invalid("the media could not be decoded")),
            (try program("\(decoder) --probe time"), .tooLarge("decoding takes longer than 1 s")),
        ] {
            let lines = Lines()
            let room = room(lines) { settings in
                settings.decoder.executable = program
                settings.decoder.seconds = 1
            }
            do {
                _ = try prepare(room, [order])
                Issue.record("\(program) decoded")
            } catch { #expect(error == MediaRoom.Failure(place: 0, error: expected)) }
        }
    }

    @Test func `a decoder's crash or the template's end costs no later medium`() throws {
        let mark = FileManager.default.temporaryDirectory.appending(path: "media-\(UUID())")
        let script = FileManager.default.temporaryDirectory.appending(path: "media-\(UUID())")
        // The first template's copies die on their job; its successors are sound.
        let text = """
            #!/bin/sh
            [ -e '\(mark.path)' ] && exec '\(Fixture.decoder)' "$@"
            : >'\(mark.path)'
            exec '\(Fixture.decoder)' "$@" --probe socket

            """
        try Data(text.utf8).write(to: script)
        #expect(chmod(script.path, 0o700) == 0)
        let room = room { $0.decoder.executable = script.path }
        let order = MediaOrder(try Fixture.base64("rgb.png"), .image(Fixture.rule))
        #expect(throws: MediaRoom.Failure.self) { try prepare(room, [order]) }
        for _ in 0..<4 { #expect(try prepare(room, [order]).count == 1) }
    }

    @Test func `pixels of all requests together are bounded, and given back`() throws {
        let room = room(Lines()) { $0.totalPixelBytes = 200_000 }
        let order = MediaOrder(try Fixture.base64("rgb.png"), .image(Fixture.rule))
        for _ in 0..<3 {
            let first = try prepare(room, [order])
            let bytes = first[0].decoded.result.bytes
            let many = Array(repeating: order, count: 200_000 / bytes)
            #expect(throws: MediaRoom.Failure.self) { try prepare(room, many) }
            withExtendedLifetime(first) {}
        }
    }

    @Test func `limits of the settings reach the decoder`() throws {
        let room = room(Lines()) { $0.decoder.limits.pixels = 10 }
        #expect(throws: MediaRoom.Failure.self) {
            try prepare(room, [MediaOrder(try Fixture.base64("rgb.png"), .image(nil))])
        }
    }
}
