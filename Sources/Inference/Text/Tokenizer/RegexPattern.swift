import CPCRE2

/// A compiled regular expression of a model file.
///
/// Model files are written for Oniguruma; the text is translated to PCRE2 first. Safe to share:
/// matching changes nothing in it.
final class RegexPattern: @unchecked Sendable {
    private let code: OpaquePointer
    private let limits: OpaquePointer

    /// - Throws: `TokenizerError.pattern`.
    init(_ pattern: String) throws(TokenizerError) {
        let translated = try RegexTranslation.translate(pattern)
        var reason: Int32 = 0
        var offset = 0
        let options = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE
        let settings = pcre2_compile_context_create_8(nil)
        pcre2_set_newline_8(settings, UInt32(PCRE2_NEWLINE_LF))
        let compiled = Array(translated.utf8).withUnsafeBufferPointer {
            pcre2_compile_8($0.baseAddress, $0.count, options, &reason, &offset, settings)
        }
        pcre2_compile_context_free_8(settings)
        guard let compiled else {
            throw .pattern(pattern, reason: "PCRE2 error \(reason) at \(offset) of \(translated)")
        }
        guard let limits = pcre2_match_context_create_8(nil) else {
            pcre2_code_free_8(compiled)
            throw .pattern(pattern, reason: "out of memory")
        }
        // A hostile text must not buy time or memory: PCRE2's defaults are 10 million and 20 GB.
        pcre2_set_match_limit_8(limits, 5_000_000)
        pcre2_set_heap_limit_8(limits, 64 * 1024)
        // Without permission for executable memory this fails, and matching is interpreted.
        _ = pcre2_jit_compile_8(compiled, UInt32(PCRE2_JIT_COMPLETE))
        code = compiled
        self.limits = limits
    }

    deinit {
        pcre2_match_context_free_8(limits)
        pcre2_code_free_8(code)
    }

    /// The matches in `range` of `text` (valid UTF-8), from left to right; text before and after
    /// the range is not seen.
    ///
    /// Where a match would exceed the limits the rest counts as unmatched.
    func matches(in text: UnsafeBufferPointer<UInt8>, range: Range<Int>) -> [Range<Int>] {
        guard let base = text.baseAddress, !range.isEmpty,
            let data = pcre2_match_data_create_from_pattern_8(code, nil)
        else { return [] }
        defer { pcre2_match_data_free_8(data) }
        let subject = base + range.lowerBound
        let length = range.count
        var found: [Range<Int>] = []
        var at = 0
        while at <= length {
            var count = pcre2_match_8(
                code,
                subject,
                length,
                at,
                PCRE2_NO_UTF_CHECK,
                data,
                limits
            )
            if count == PCRE2_ERROR_JIT_STACKLIMIT {
                // The interpreter keeps its states on the heap, up to the limit above.
                count = pcre2_match_8(
                    code,
                    subject,
                    length,
                    at,
                    PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                    data,
                    limits
                )
            }
            guard count > 0, let ends = pcre2_get_ovector_pointer_8(data) else { break }
            let match = ends[0]..<max(ends[0], ends[1])
            if match.isEmpty {
                found.append(shift(match, by: range.lowerBound))
                at = match.upperBound + 1
                while at < length, subject[at] & 0xC0 == 0x80 { at += 1 }
            } else {
                found.append(shift(match, by: range.lowerBound))
                at = match.upperBound
            }
        }
        return found
    }

    private func shift(_ range: Range<Int>, by offset: Int) -> Range<Int> {
        (range.lowerBound + offset)..<(range.upperBound + offset)
    }
}
