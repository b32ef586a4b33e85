internal import CLinux
internal import Glibc

/// Starts programs, and hands words to the system calls that do.
package enum Spawn {
    /// Where a program reads and writes.
    package struct Streams: Sendable {
        /// Standard input, output and error.
        package var input: Int32, output: Int32, error: Int32

        /// Descriptors of ours.
        package init(input: Int32, output: Int32, error: Int32) {
            (self.input, self.output, self.error) = (input, output, error)
        }
    }

    /// Starts `words[0]` in a session of its own; everything but its streams is closed there.
    /// - Parameters:
    ///   - words: path and arguments.
    ///   - environment: `NAME=value` words.
    ///   - streams: its standard input, output and error.
    ///   - nice: added to the priority.
    ///   - parentDeathSignal: what it gets when we end; 0: nothing.
    /// - Returns: its process; nil where it cannot be started, with `errno` as `execve` set it.
    package static func start(
        _ words: [String],
        environment: [String],
        streams: Streams,
        nice: Int32 = 0,
        parentDeathSignal: Int32 = 0
    ) -> Int32? {
        let pid = withCStrings(words) { argv in
            withCStrings(environment) { envp in
                tg_spawn(
                    argv,
                    envp,
                    streams.input,
                    streams.output,
                    streams.error,
                    nil,
                    0,
                    nice,
                    parentDeathSignal
                )
            }
        }
        return pid > 0 ? pid : nil
    }

    /// Lends the words as a null-terminated array of C strings; errno of `body` survives.
    package static func withCStrings<R>(
        _ words: [String],
        _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> R
    ) -> R {
        let list = UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
            .allocate(capacity: words.count + 1)
        list.initialize(repeating: nil, count: words.count + 1)
        for (place, word) in words.enumerated() { list[place] = strdup(word) }
        let result = body(list)
        let kept = errno
        for place in words.indices { free(list[place]) }
        list.deallocate()
        errno = kept
        return result
    }
}
